//! Streams in the hands of a test, and the scripted server behind the proxy.

use std::time::Duration;

use bytes::Bytes;
use etcd_proto::etcdserverpb::watch_request::RequestUnion;
use etcd_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use etcd_proto::rpc::Unary;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::time::timeout;

use crate::client::{answer, connect, prefixed, put, request, send};

const LIMIT: Duration = Duration::from_secs(10);
const PUT: &str = PutRequest::PATH;
const WATCH: &str = "/etcdserverpb.Watch/Watch";

#[tokio::test]
async fn a_watch_stream_is_in_the_hands_of_the_test() {
    let server = Scripted::start(|_| Reply::abort()).await.unwrap();
    let (client, _) = connect(server.address()).await;
    let mut client = client.ready().await.unwrap();
    let (response, mut outbound) = client.send_request(request(WATCH), false).unwrap();
    let mut stream = timeout(LIMIT, server.next_stream()).await.unwrap();
    assert_eq!(
        (stream.request().path.as_str(), server.seen(WATCH)),
        (WATCH, 1)
    );

    // Two messages in one piece, then one in two pieces.
    let message = prefixed(&WatchRequest::default());
    outbound
        .send_data([message.clone(), message].concat().into(), false)
        .unwrap();
    let large = WatchRequest {
        request_union: Some(create("a key")),
    };
    let mut bytes = prefixed(&large);
    outbound.send_data(bytes.split_to(7), false).unwrap();
    outbound.send_data(bytes, false).unwrap();
    for expected in [WatchRequest::default(), WatchRequest::default(), large] {
        assert_eq!(
            timeout(LIMIT, stream.decode::<WatchRequest>())
                .await
                .unwrap()
                .unwrap(),
            expected
        );
    }

    let responses = [1, 2].map(|watch_id| WatchResponse {
        watch_id,
        ..WatchResponse::default()
    });
    for response in &responses {
        stream.send(response).await;
    }
    outbound.send_data(Bytes::new(), true).unwrap();
    assert_eq!(
        timeout(LIMIT, stream.message()).await.unwrap(),
        None,
        "the client has ended its side"
    );
    stream.reply(Reply::trailers(14, "going away")).await;
    let got = answer(response).await.unwrap();
    assert_eq!(
        got.body,
        responses.map(|response| prefixed(&response)).concat()
    );
    assert_eq!(got.trailers["grpc-status"], "14");
}

fn create(key: &str) -> RequestUnion {
    RequestUnion::CreateRequest(WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    })
}

#[tokio::test]
async fn a_stream_that_its_client_resets_or_loses_has_no_more_messages() {
    let server = Scripted::start(Request::usual).await.unwrap();
    for lose_connection in [false, true] {
        let (client, connection) = connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, outbound) = client.send_request(request(WATCH), false).unwrap();
        let mut stream = timeout(LIMIT, server.next_stream()).await.unwrap();
        if lose_connection {
            connection.abort();
        } else {
            drop((response, outbound));
        }
        assert_eq!(timeout(LIMIT, stream.message()).await.unwrap(), None);
    }
    assert_eq!(server.resets().len(), 1);
}

#[tokio::test]
async fn a_server_behind_a_proxy_sees_a_request_whose_reply_is_cut() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let (client, _) = connect(proxy.address()).await;
    put(&client, "k").await.unwrap();
    proxy.block(Direction::ToClient);
    let response = send(&client, PUT, prefixed(&PutRequest::default())).await;
    wait::until("it was seen", LIMIT, async || server.seen(PUT) == 2)
        .await
        .unwrap();
    proxy.reset_all();
    assert!(answer(response).await.unwrap_err().is_io());
}
