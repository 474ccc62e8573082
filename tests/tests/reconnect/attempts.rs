//! How often a member that is away is tried.

use std::time::{Duration, Instant};

use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Request, Scripted};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::LIMIT;

/// Accepts connections and closes each at once; when each of the first `count` came.
async fn attempts(listener: &TcpListener, count: usize) -> Vec<Instant> {
    let mut at = Vec::new();
    for _ in 0..count {
        drop(timeout(LIMIT, listener.accept()).await.unwrap().unwrap());
        at.push(Instant::now());
    }
    at
}

/// `at` are apart by `delays` in ms, of which jitter takes off a fifth at most; a busy machine adds something.
fn check(at: &[Instant], delays: &[u64]) {
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("{gaps:?}");
    for (gap, delay) in gaps.iter().zip(delays) {
        let (least, most) = (delay * 4 / 5, delay + 250);
        assert!(
            (least.into()..most.into()).contains(&gap.as_millis()),
            "{gaps:?}"
        );
    }
}

#[tokio::test]
async fn beside_an_active_endpoint_a_failing_one_is_tried_after_delays_that_double() {
    let cluster = Cluster::start(1).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failing = listener.local_addr().unwrap().to_string();
    let attempts = tokio::spawn(async move { attempts(&listener, 6).await });
    let client = etcd_tests::builder([cluster.endpoint(0), failing])
        .connect()
        .await
        .unwrap();
    let at = tokio::select! {
        at = attempts => at.unwrap(),
        // Calls must not make the attempts more frequent.
        () = read_for_ever(&client) => unreachable!(),
    };
    check(&at, &[200, 400, 800, 1_600, 3_200]);
}

#[tokio::test]
async fn without_an_active_endpoint_a_failing_one_is_tried_every_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = etcd_tests::builder([listener.local_addr().unwrap().to_string()])
        .build()
        .unwrap();
    let waiting = tokio::spawn(client.timeout(LIMIT).get("k"));
    let at = attempts(&listener, 7).await;
    check(&at, &[200, 400, 800, 1_000, 1_000, 1_000]);
    waiting.abort();
}

#[tokio::test]
async fn after_a_long_outage_the_client_is_back_within_2_s() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    proxy.refuse();
    proxy.reset_all();
    let read = tokio::spawn(client.timeout(LIMIT).get("k"));
    // Long enough for delays that double to be longer than the 2 s.
    sleep(Duration::from_secs(7)).await;
    assert!(!read.is_finished());

    proxy.accept().unwrap();
    let serving = Instant::now();
    read.await.unwrap().unwrap();
    assert!(
        serving.elapsed() < Duration::from_secs(2),
        "{:?}",
        serving.elapsed()
    );
}

async fn read_for_ever(client: &Client) {
    loop {
        client.get("k").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
