//! A connection that was slow when it was made, as to a member that was stopped or has just started.

use std::time::Duration;

use etcd_core::Client;
use etcd_tests::endpoints;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Request, Scripted};
use etcd_tests::wait;
use futures_util::future::join_all;

use super::LIMIT;

#[tokio::test]
async fn an_endpoint_that_was_slow_to_connect_is_used_again() {
    let near = Scripted::start(Request::usual).await.unwrap();
    let slow = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(slow.address()).await.unwrap();
    proxy.delay(Direction::Both, Duration::from_millis(100));
    let urls = [near.endpoint(), proxy.endpoint()];
    let client = Client::builder().endpoints(urls).connect().await.unwrap();
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
