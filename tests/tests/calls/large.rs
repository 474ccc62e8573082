//! Large messages, and many at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_core::{Client, Get};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::proxy::Proxy;
use futures_util::future::join_all;

/// Not compressible into a mistake: every byte depends on its place.
fn value(len: usize, seed: usize) -> Bytes {
    (0..len).map(|i| ((i * 31 + seed) % 251) as u8).collect()
}

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = Client::connect(target.endpoints().join(",")).await.unwrap();
    (client, target.prefix())
}

#[tokio::test]
async fn large_values_and_replies_of_many_megabytes_arrive_whole() {
    let (client, prefix) = client().await;
    let values: Vec<_> = (0..6).map(|n| value(1_400_000 + n, n)).collect();
    let puts = values
        .iter()
        .enumerate()
        .map(|(n, value)| client.put(prefix.key(n), value));
    for put in join_all(puts).await {
        put.unwrap();
    }
    let one = client.get(prefix.key(0)).await.unwrap().into_first();
    assert!(one.unwrap().value == values[0]);
    let all = client.get(Get::prefix(&*prefix)).await.unwrap();
    assert_eq!(all.kvs.len(), values.len());
    assert!(
        all.kvs
            .iter()
            .zip(&values)
            .all(|(kv, value)| kv.value == *value)
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Their frames take turns on the connection.
#[tokio::test]
async fn a_large_put_does_not_delay_small_calls() {
    let (client, prefix) = client().await;
    client.put(prefix.key("small"), "v").await.unwrap();
    let large = value(1_400_000, 0);
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let start = Instant::now();
        let mut put = tokio::spawn(client.put(prefix.key("large"), &large));
        let mut small = Vec::new();
        while !put.is_finished() {
            let start = Instant::now();
            client.get(prefix.key("small")).await.unwrap();
            small.push(start.elapsed());
        }
        (&mut put).await.unwrap().unwrap();
        puts.push(start.elapsed());
        gets.extend(small);
    }
    let (put, get) = (median(puts), median(gets));
    assert!(
        get * 3 < put,
        "a small call took {get:?}, a large one {put:?}"
    );
}

#[tokio::test]
async fn ten_thousand_calls_at_once_share_one_connection() {
    let target = Target::get().await.unwrap();
    let prefix = target.prefix();
    let address = target.endpoints()[0].trim_start_matches("http://");
    let proxy = Proxy::start(address).await.unwrap();
    let client = Client::connect(proxy.endpoint()).await.unwrap();
    client.put(prefix.key("k"), "v").await.unwrap();
    let gets = (0..10_000).map(|_| client.get(prefix.key("k")));
    for got in join_all(gets).await {
        assert_eq!(got.unwrap().first().unwrap().value, "v");
    }
    assert_eq!(proxy.accepted(), 1);
}
