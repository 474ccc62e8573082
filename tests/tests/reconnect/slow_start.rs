//! Servers that are not ready when they are connected to.

use std::time::Duration;

use etcd_tests::endpoints;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use futures_util::future::join_all;

use super::LIMIT;

#[tokio::test]
async fn a_server_that_answers_no_request_is_never_active() {
    // It answers PINGs, as a gRPC server does before etcd serves.
    let server = Scripted::start(|_: &Request| Reply::silence())
        .await
        .unwrap();
    let client = etcd_tests::builder([server.endpoint()]).build().unwrap();
    let tried = async || {
        assert_eq!(client.endpoints().active(), 0, "{}", client.endpoints());
        server.connections() == 3
    };
    wait::until("it was tried three times", LIMIT, tried)
        .await
        .unwrap();
    let error = client.wait_ready(false).get("k").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no reply from etcd"), "{text}");
}

/// Its first round trip is that of a process that was stopped, or has just started.
#[tokio::test]
async fn an_endpoint_that_was_slow_to_connect_is_used_again() {
    let near = Scripted::start(Request::usual).await.unwrap();
    let slow = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(slow.address()).await.unwrap();
    proxy.delay(Direction::Both, Duration::from_millis(100));
    let urls = [near.endpoint(), proxy.endpoint()];
    let client = etcd_tests::builder(urls).connect().await.unwrap();
    endpoints::active(&client, &proxy.endpoint(), LIMIT)
        .await
        .unwrap();
    proxy.delay(Direction::Both, Duration::ZERO);

    let used = async || {
        join_all((0..8).map(|_| client.get("k"))).await;
        slow.seen("/etcdserverpb.KV/Range") > 0
    };
    wait::until("it is used", LIMIT, used).await.unwrap();
}
