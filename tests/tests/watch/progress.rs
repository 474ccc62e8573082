//! Progress notifications: a watch of keys that do not change does not fall behind.

use std::time::{Duration, Instant};

use etcd_core::{Compact, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use tokio::time::timeout;

use crate::{LIMIT, client, events, next, text, up_to};

const ASK_AGAIN: Duration = Duration::from_millis(50);

#[tokio::test]
async fn progress_on_request_moves_the_resume_revision_without_an_event() {
    let (client, prefix) = client().await;
    let mut watcher = client.watch(prefix.key("quiet")).await.unwrap();
    let start = watcher.next_revision();
    let written = client.put(prefix.key("busy"), "").await.unwrap().revision();
    wait::until("the resume revision has moved", LIMIT, async || {
        watcher.request_progress();
        watcher.next_revision() > written
    })
    .await
    .unwrap();
    assert!(watcher.next_revision() > start);

    // It was told to nobody, because nobody asked to be told.
    let put = client.put(prefix.key("quiet"), "1").await.unwrap();
    let batch = next(&mut watcher).await;
    assert_eq!((batch.revision, batch.events.len()), (put.revision(), 1));
}

#[tokio::test]
async fn progress_on_request_is_told_to_a_watch_that_wants_it() {
    let (client, prefix) = client().await;
    let watch = Watch::key(prefix.key("quiet")).progress_notify();
    let mut watcher = client.watch(watch).await.unwrap();
    let written = client.put(prefix.key("busy"), "").await.unwrap().revision();
    let asked = Instant::now();
    // The server does not answer while the stream has yet to be sent something: then it is asked again.
    let batch = loop {
        watcher.request_progress();
        match timeout(ASK_AGAIN, watcher.try_next()).await {
            Ok(batch) => break batch.unwrap().unwrap(),
            Err(_) => assert!(asked.elapsed() < LIMIT),
        }
    };
    assert!(batch.events.is_empty());
    assert!(batch.revision >= written);
    assert_eq!(watcher.next_revision(), batch.revision + 1);
}

#[tokio::test]
async fn a_quiet_watch_outlives_a_compaction_of_what_it_was_told_of() {
    let cluster = Cluster::builder().progress_interval(Duration::from_millis(100));
    let cluster = cluster.start().await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let mut watcher = client
        .watch(Watch::key("quiet").progress_notify())
        .await
        .unwrap();
    let mut written = 0;
    for _ in 0..10 {
        written = direct.put("busy", "").await.unwrap().revision();
    }
    let batches = up_to(&mut watcher, written).await;
    assert!(batches.iter().all(|batch| batch.events.is_empty()));
    assert_eq!(watcher.next_revision(), written + 1);

    // Without the notifications it would have to resume before the compaction, and end.
    proxy.block(Direction::Both);
    direct.send(Compact::new(written)).await.unwrap();
    direct.put("quiet", "1").await.unwrap();
    proxy.reset_all();
    proxy.unblock(Direction::Both);
    let batches = up_to(&mut watcher, written + 1).await;
    assert_eq!(text("", &events(batches)), ["put quiet 1"]);
}
