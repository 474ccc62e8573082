//! Large messages, and many at once.

use std::time::Duration;

use bytes::Bytes;
use etcd_core::proto::etcdserverpb::PutRequest;
use etcd_core::{Client, Get};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Request, Scripted};
use futures_util::future::join_all;

use crate::PUT;

/// Not compressible into a mistake: every byte depends on its place.
fn value(len: usize, seed: usize) -> Bytes {
    (0..len).map(|i| ((i * 31 + seed) % 251) as u8).collect()
}

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
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

const INITIAL_WINDOW_SIZE: u16 = 4;

/// The server takes a thousand bytes of each request at a time, so the large one needs 1,400 round trips. The small ones take
/// their turns in between.
#[tokio::test]
async fn a_large_put_does_not_delay_small_calls() {
    let builder = Scripted::builder().setting(INITIAL_WINDOW_SIZE, 1_000);
    let server = builder.start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let large = tokio::spawn(client.put("large", value(1_400_000, 0)));
    for n in 0..20 {
        client.put("small", "v").await.unwrap();
        client.get("small").await.unwrap();
        assert!(!large.is_finished(), "{n}");
    }
    large.await.unwrap().unwrap();
    let puts = server.requests(PUT);
    let last: PutRequest = puts.last().unwrap().decode().unwrap();
    assert!(puts.len() == 21 && last.value == value(1_400_000, 0));
}

#[tokio::test]
async fn thousands_of_calls_at_once_share_one_connection() {
    let target = Target::get().await.unwrap();
    let prefix = target.prefix();
    let address = &target.endpoints()[0];
    let proxy = Proxy::start(address).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    client.put(prefix.key("k"), "v").await.unwrap();
    let patient = client.timeout(Duration::from_secs(60));
    let gets = (0..5_000).map(|_| patient.get(prefix.key("k")));
    for got in join_all(gets).await {
        assert_eq!(got.unwrap().first().unwrap().value, "v");
    }
    assert_eq!(proxy.accepted(), 1);
}
