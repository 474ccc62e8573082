//! Slow links.

use std::time::{Duration, Instant};

use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::while_active;

const ONE_WAY: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_link_with_300_ms_round_trip_raises_no_suspicion() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    proxy.delay(Direction::Both, ONE_WAY);
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let calls = async {
        // The first call after the connect, a pause, calls one after the other, and calls at once.
        client.put("k", "v").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            client.get("k").await.unwrap();
        }
        while began.elapsed() < Duration::from_secs(5) {
            let calls = join_all((0..8).map(|_| client.get("k"))).await;
            assert!(calls.iter().all(Result::is_ok), "{calls:?}");
        }
    };
    while_active(&client, &[proxy.endpoint()], calls).await;
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_link_that_becomes_slow_keeps_its_connection() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    client.put("k", "v").await.unwrap();
    proxy.delay(Direction::Both, ONE_WAY);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        client.get("k").await.unwrap();
    }
    assert_eq!(proxy.accepted(), 1);
}
