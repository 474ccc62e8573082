//! Bodies that end early, on either side: nothing is left behind, and nothing is sent twice.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use etcd_core::proto::etcdserverpb::lease_client::LeaseClient;
use etcd_core::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_core::proto::etcdserverpb::watch_client::WatchClient;
use etcd_core::proto::etcdserverpb::{
    LeaseKeepAliveRequest, SnapshotRequest, SnapshotResponse, WatchRequest, WatchResponse,
};
use etcd_core::{Error, Outcome};
use etcd_tests::scripted::{Incoming, Reply, Request, Scripted};
use etcd_tests::tls;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::client::GrpcService;

use crate::{LIMIT, PUT, SNAPSHOT, WATCH, cause, connect, kv, put, tasks, until};

/// Begins every snapshot and ends none; never answers a put.
async fn server() -> Scripted {
    let chunk = Reply::headers().then(Reply::part(&SnapshotResponse {
        blob: vec![7; 512].into(),
        ..Default::default()
    }));
    let script = move |request: &Request| match request.path.as_str() {
        SNAPSHOT => chunk.clone(),
        PUT => Reply::silence(),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

async fn incoming(server: &Scripted) -> Incoming {
    timeout(LIMIT, server.next_stream()).await.unwrap()
}

async fn resets(server: &Scripted, count: usize) {
    until("the server sees the reset", async || {
        server.resets().len() == count
    })
    .await;
    assert!(server.resets().iter().all(|reset| reset.code == 8));
}

#[tokio::test]
async fn a_reply_that_is_dropped_resets_its_stream() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let mut snapshot = stub
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(snapshot.message().await.unwrap().is_some());
    assert_eq!(server.resets(), []);
    drop(snapshot);
    resets(&server, 1).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_reply_resets_its_stream() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = kv(&client);
    let call = tokio::spawn(async move { stub.put(put("k", "v")).await });
    until("it is sent", async || server.seen(PUT) == 1).await;
    call.abort();
    resets(&server, 1).await;
}

#[tokio::test]
async fn a_stream_both_ways_that_is_dropped_is_reset_though_requests_may_follow() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = WatchClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel(4);
    requests.send(WatchRequest::default()).await.unwrap();
    let call = tokio::spawn(async move { stub.watch(ReceiverStream::new(stream)).await });
    let mut served = incoming(&server).await;
    served.send(&WatchResponse::default()).await;
    let mut watch = call.await.unwrap().unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    drop(watch);
    resets(&server, 1).await;
    // Whoever sends learns that nobody will hear it.
    timeout(LIMIT, requests.closed()).await.unwrap();
}

#[tokio::test]
async fn requests_are_sent_while_nobody_reads_the_replies() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = LeaseClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel(1);
    let call = timeout(LIMIT, stub.lease_keep_alive(ReceiverStream::new(stream)));
    let serve = async {
        let mut served = incoming(&server).await;
        served.reply(Reply::headers()).await;
        served
    };
    let (answers, mut served) = tokio::join!(call, serve);
    let _unread = answers.unwrap().unwrap();
    for id in 0..100 {
        requests.send(LeaseKeepAliveRequest { id }).await.unwrap();
        let seen = timeout(LIMIT, served.decode::<LeaseKeepAliveRequest>()).await;
        assert_eq!(seen.unwrap().unwrap().id, id);
    }
}

#[tokio::test]
async fn a_server_that_ends_a_stream_early_ends_its_requests_too() {
    let server = server().await;
    let client = connect(&server).await;
    // Connects what calls need before tasks are counted.
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    drop(stub.snapshot(SnapshotRequest {}).await.unwrap());
    resets(&server, 1).await;
    let before = tasks();

    let mut stub = WatchClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel::<WatchRequest>(4);
    let call = tokio::spawn(async move { stub.watch(ReceiverStream::new(stream)).await });
    let mut served = incoming(&server).await;
    served.reply(Reply::headers()).await;
    let mut watch = call.await.unwrap().unwrap().into_inner();
    assert!(tasks() > before);
    served
        .reply(Reply::trailers(14, "etcdserver: no leader"))
        .await;
    let status = watch.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "etcdserver: no leader");
    // Also while the ended reply is still there.
    timeout(LIMIT, requests.closed()).await.unwrap();
    until("its task has ended", async || tasks() <= before).await;
}

#[tokio::test]
async fn a_stream_that_the_server_resets_says_so_and_is_not_asked_for_again() {
    let script = |request: &Request| match request.path.as_str() {
        SNAPSHOT => Reply::rst_after_headers(2u32),
        PUT => Reply::rst(2u32),
        _ => request.usual(),
    };
    let server = Scripted::start(script).await.unwrap();
    let client = connect(&server).await;
    let status = kv(&client).put(put("k", "v")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(matches!(cause(&status), Error::Connection(_)));
    assert_eq!(cause(&status).outcome(), Outcome::Unknown);
    assert_eq!(cause(&status).endpoint(), Some(&*server.endpoint()));
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let mut snapshot = stub
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let status = snapshot.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("INTERNAL_ERROR"), "{status}");
    assert_eq!((server.seen(PUT), server.seen(SNAPSHOT)), (1, 1));
}

/// One piece, and then an error.
struct Fails(bool);

impl http_body::Body for Fails {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let first = !std::mem::replace(&mut self.0, true);
        let begun = Frame::data(Bytes::from_static(b"\0\0\0\0\x09half"));
        Poll::Ready(Some(if first {
            Ok(begun)
        } else {
            Err("out of paper")
        }))
    }
}

#[tokio::test]
async fn a_request_whose_body_fails_is_reset_and_its_error_is_the_callers_own() {
    let server = server().await;
    let client = connect(&server).await;
    let mut channel = client.channel().unwrap();
    let request = http::Request::builder()
        .uri(PUT)
        .body(Fails(false))
        .unwrap();
    let call = GrpcService::call(&mut channel, request);
    let error = timeout(LIMIT, call).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "out of paper");
    resets(&server, 1).await;
    assert_eq!(server.seen(PUT), 0);
}

#[tokio::test]
async fn streams_end_when_the_client_is_closed() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = WatchClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel::<WatchRequest>(4);
    let call = tokio::spawn(async move { stub.watch(ReceiverStream::new(stream)).await });
    let mut served = incoming(&server).await;
    assert_eq!(served.request().path, WATCH);
    served.reply(Reply::headers()).await;
    let mut watch = call.await.unwrap().unwrap().into_inner();
    client.close();
    let status = timeout(LIMIT, watch.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Cancelled, "{status}");
    assert!(cause(&status).is_closed());
    timeout(LIMIT, requests.closed()).await.unwrap();
}

#[tokio::test]
async fn a_channel_and_its_replies_keep_the_connections_and_their_last_one_closes_them() {
    let server = server().await;
    let before = tasks();
    let client = tls::connect(server.endpoint()).await.unwrap();
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    drop(client);
    let mut snapshot = stub
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    drop(stub);
    assert!(snapshot.message().await.unwrap().is_some());
    assert_eq!(server.open(), 2);
    drop(snapshot);
    until("nothing is left", async || {
        server.open() == 0 && tasks() <= before
    })
    .await;
}

/// A header field as HPACK has it that was never seen before and is not to be remembered.
fn field(name: &str, value: &str) -> Vec<u8> {
    let (name_len, value_len) = (name.len() as u8, value.len() as u8);
    let parts = [
        &[0, name_len][..],
        name.as_bytes(),
        &[value_len],
        value.as_bytes(),
    ];
    parts.concat()
}

#[tokio::test]
async fn details_of_a_status_that_are_malformed_do_no_harm() {
    let script = |request: &Request| match request.path.as_str() {
        PUT | SNAPSHOT => {
            let fields = [
                field("grpc-status", "9"),
                field("grpc-message", "no"),
                field("grpc-status-details-bin", "!!!"),
            ];
            let early = field(":status", "200");
            let (head, fields) = match request.path.as_str() {
                PUT => (Reply::default(), [early, fields.concat()].concat()),
                _ => (Reply::headers(), fields.concat()),
            };
            // HEADERS with END_STREAM and END_HEADERS.
            head.then(Reply::raw(1, 5, request.stream, fields))
        }
        _ => request.usual(),
    };
    let server = Scripted::start(script).await.unwrap();
    let client = connect(&server).await;
    let status = kv(&client).put(put("k", "v")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "no")
    );
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let mut snapshot = stub
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let status = snapshot.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "no")
    );
}
