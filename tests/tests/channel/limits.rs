//! Time limits, of the view and of the request.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::SnapshotRequest;
use etcd_core::proto::etcdserverpb::SnapshotResponse;
use etcd_core::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_core::{Error, Outcome};
use etcd_tests::scripted::{Reply, Scripted};
use etcd_tests::tls;
use tokio::time::timeout;
use tonic::{Code, Request};

use crate::{LIMIT, PUT, SNAPSHOT, cause, connect, kv, put, until};

const SHORT: Duration = Duration::from_millis(300);

/// Answers no put, and a snapshot without end.
async fn server() -> Scripted {
    let chunk = Reply::part(&SnapshotResponse {
        blob: vec![7; 1024].into(),
        ..Default::default()
    });
    let endless = (0..2_000).fold(Reply::headers(), move |reply, _| {
        reply.then(Reply::delay(Duration::from_millis(1), chunk.clone()))
    });
    let script = move |request: &etcd_tests::scripted::Request| match request.path.as_str() {
        PUT => Reply::silence(),
        SNAPSHOT => endless.clone(),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

fn with_limit<T>(request: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(limit);
    request
}

#[tokio::test]
async fn the_shorter_of_the_two_time_limits_ends_a_call() {
    let server = server().await;
    let client = connect(&server).await;
    let rows = [
        (None, Some(SHORT)),
        (Some(SHORT), None),
        (Some(LIMIT), Some(SHORT)),
        (Some(SHORT), Some(LIMIT)),
    ];
    for (n, (view, own)) in rows.into_iter().enumerate() {
        let client = view.map_or(client.clone(), |limit| client.timeout(limit));
        let request = match own {
            Some(limit) => with_limit(put("k", "v"), limit),
            None => Request::new(put("k", "v")),
        };
        let started = Instant::now();
        let status = timeout(LIMIT / 2, kv(&client).put(request)).await.unwrap();
        let status = status.unwrap_err();
        assert!(started.elapsed() >= SHORT);
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let Error::Timeout(late) = cause(&status) else {
            panic!("{status}");
        };
        assert_eq!(late.waiting_for, "the reply");
        assert_eq!(late.endpoint.as_deref(), Some(&*server.endpoint()));
        assert_eq!(cause(&status).outcome(), Outcome::Unknown);
        until("the stream is reset", async || {
            server.resets().len() == n + 1
        })
        .await;
        // The server knows the request's own limit.
        let told = server.requests(PUT)[n].metadata("grpc-timeout").is_some();
        assert_eq!(told, own.is_some());
    }
}

#[tokio::test]
async fn a_stream_that_always_has_more_ends_with_its_time_limit() {
    let server = server().await;
    let client = connect(&server).await;
    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let request = with_limit(SnapshotRequest {}, SHORT);
    let mut snapshot = stub.snapshot(request).await.unwrap().into_inner();
    let mut chunks = 0;
    let status = loop {
        match timeout(LIMIT, snapshot.message()).await.unwrap() {
            Ok(Some(_)) => chunks += 1,
            Ok(None) => panic!("ended well after {chunks}"),
            Err(status) => break status,
        }
    };
    assert!(chunks > 0);
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(cause(&status).is_timeout());
    until("the stream is reset", async || server.resets().len() == 1).await;
}

#[tokio::test]
async fn a_call_that_finds_no_endpoint_in_time_was_not_sent() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let builder = tls::builder([&address]);
    let client = builder.request_timeout(SHORT).build().unwrap();
    let own = with_limit(put("k", "v"), SHORT);
    // Without a limit of its own, the client's is for finding an endpoint.
    for request in [own, Request::new(put("k", "v"))] {
        let status = timeout(LIMIT, kv(&client).put(request)).await.unwrap();
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert_eq!(cause(&status).outcome(), Outcome::NotApplied);
        assert!(status.message().contains(&address), "{status}");
    }
}

#[tokio::test]
async fn the_clients_own_time_limit_does_not_end_a_call_that_was_sent() {
    let answer = |request: &etcd_tests::scripted::Request| match request.path.as_str() {
        PUT => Reply::delay(3 * SHORT, request.usual()),
        _ => request.usual(),
    };
    let server = Scripted::start(answer).await.unwrap();
    let builder = tls::builder([server.endpoint()]);
    let client = builder.request_timeout(SHORT).connect().await.unwrap();
    kv(&client).put(put("k", "v")).await.unwrap();
}
