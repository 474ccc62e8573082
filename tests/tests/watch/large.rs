//! Much at once: large values, responses in fragments, a long history.

use std::time::Instant;

use bytes::Bytes;
use etcd_core::proto::etcdserverpb::WatchCreateRequest;
use etcd_core::{Client, Delete, KeyRange, Put, Txn, Watch};
use etcd_tests::cluster::Cluster;

use crate::history::bare;
use crate::{client, events, next, up_to};

/// The largest value for which a put, with its key, is still below etcd's default limit for requests by a good measure.
const LARGE: usize = 999_999;

/// `length` bytes that differ from those of another `seed` everywhere.
fn value(seed: u8, length: usize) -> Bytes {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

#[tokio::test]
async fn values_of_any_size_arrive_as_they_were_written() {
    let (client, prefix) = client().await;
    let mut watcher = client.watch(prefix.key("k")).await.unwrap();
    let sizes = [0, 1, 127, 16_383, 16_384, 16_385, 65_536, 500_000, LARGE];
    let mut last = 0;
    for (seed, size) in sizes.into_iter().enumerate() {
        let put = client.put(prefix.key("k"), value(seed as u8, size)).await;
        last = put.unwrap().revision();
    }
    let got = events(up_to(&mut watcher, last).await);
    assert_eq!(got.len(), sizes.len());
    for (seed, event) in got.into_iter().enumerate() {
        let expected = value(seed as u8, sizes[seed]);
        assert!(event.kv.unwrap().value == expected, "{} bytes", sizes[seed]);
    }
}

/// Four large values, and the revision of the deletion of all four.
async fn delete_of_four(client: &Client, prefix: &str) -> (Vec<Bytes>, i64) {
    let values: Vec<_> = (0..4).map(|seed| value(seed, LARGE)).collect();
    for (n, value) in values.iter().enumerate() {
        client.put(format!("{prefix}{n}"), value).await.unwrap();
    }
    let deleted = client.delete(Delete::prefix(prefix)).await.unwrap();
    (values, deleted.revision())
}

#[tokio::test]
async fn a_revision_that_the_server_sends_in_fragments_is_one_batch() {
    let (client, prefix) = client().await;
    let watch = Watch::prefix(&*prefix).no_put().prev_kv();
    let mut live = client.watch(watch.clone().fragment()).await.unwrap();
    let (values, revision) = delete_of_four(&client, &prefix).await;
    let replay = watch.start_revision(revision);
    let replayed = client.watch(replay.clone().fragment()).await.unwrap();
    let whole = client.watch(replay).await.unwrap();

    let endpoint = client.endpoints().rows()[0].endpoint.clone();
    let range = KeyRange::prefix(&*prefix);
    let create = WatchCreateRequest {
        key: range.start().clone(),
        range_end: range.end().clone(),
        start_revision: revision,
        prev_kv: true,
        fragment: true,
        ..WatchCreateRequest::default()
    };
    let responses = bare(&endpoint, create, |response| {
        !response.events.is_empty() && !response.fragment
    });
    let fragments = responses
        .await
        .iter()
        .filter(|response| response.fragment)
        .count();
    assert!(fragments > 0, "the server does send it in fragments");

    // What another watch has of it too is compared with what was written, so a mistake in both is not missed.
    let mut got = next(&mut live).await;
    while got.events.is_empty() {
        got = next(&mut live).await;
    }
    for mut watcher in [replayed, whole] {
        assert!(next(&mut watcher).await == got);
    }
    assert_eq!((got.revision, got.events.len()), (revision, 4));
    let before = got
        .events
        .into_iter()
        .map(|event| event.prev_kv.unwrap().value);
    assert!(before.eq(values));
}

/// Writes `count` events of `size` bytes, in transactions.
async fn write_history(client: &Client, count: usize, size: usize) -> (i64, i64) {
    let value = value(1, size);
    let (mut first, mut last) = (0, 0);
    for chunk in 0..count / 100 {
        let key = |n: usize| format!("{:06}", chunk * 100 + n);
        let puts = (0..100).map(|n| Put::new(key(n), &value));
        let put = client.txn(puts.fold(Txn::new(), Txn::then)).await.unwrap();
        last = put.revision();
        if chunk == 0 {
            first = last;
        }
    }
    (first, last)
}

#[tokio::test]
async fn a_catch_up_of_28_megabytes_arrives_whole_and_in_order() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let (first, last) = write_history(&client, 100_000, 256).await;
    let start = Instant::now();
    let mut watcher = client.watch(Watch::all().start_revision(1)).await.unwrap();
    let batches = up_to(&mut watcher, last).await;
    println!("{} batches in {:?}", batches.len(), start.elapsed());
    for pair in batches.windows(2) {
        assert!(pair[0].revision < pair[1].events[0].kv.as_ref().unwrap().mod_revision);
    }
    let expected = value(1, 256);
    for (n, event) in events(batches).into_iter().enumerate() {
        let kv = event.kv.unwrap();
        assert_eq!(kv.key_str().unwrap(), format!("{n:06}"));
        assert_eq!(kv.mod_revision, first + n as i64 / 100);
        assert!(kv.value == expected);
    }
}
