//! What a watch that is not read costs in memory. In a process of its own: what it measures is the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use etcd_core::{Client, Watch, Watcher};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of one value; as many of them as make 200 MB.
const SIZE: usize = 250_000;
const COUNT: usize = 800;

/// What an unread watcher may hold by default, with the same again for what the allocator keeps.
const ALLOWED: usize = 32 << 20;

/// The memory of this process that is in use, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Writes `COUNT` values; the revision of the last one.
async fn write(client: &Client) -> i64 {
    let mut last = 0;
    for n in 0..COUNT {
        let value = vec![n as u8; SIZE];
        last = client.put("k", value).await.unwrap().revision();
    }
    last
}

async fn watchers(cluster: &Cluster) -> f64 {
    let metric = cluster.metric(0, "etcd_debugging_mvcc_watcher_total", &[]);
    metric.await.unwrap()
}

/// Reads it all, piece by piece; how many bytes came at most at once.
async fn read(watcher: &mut Watcher, last: i64) -> usize {
    let (mut events, mut most) = (0, 0);
    while watcher.next_revision() <= last {
        let batch = watcher.try_next().await.unwrap().unwrap();
        let values = batch.events.iter().map(|event| event.kv.as_ref().unwrap());
        most = most.max(values.map(|kv| kv.value.len()).sum());
        events += batch.events.len();
    }
    assert_eq!(events, COUNT);
    most
}

#[tokio::test]
async fn an_unread_watch_holds_its_queue_and_not_the_200_megabytes_that_come() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let writer = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    // What a first value costs is not what is asked.
    let first = writer.put("k", vec![1; SIZE]).await.unwrap().revision() + 1;
    let mut live = client.watch("k").await.unwrap();

    let before = resident();
    let last = write(&writer).await;
    wait::until("it is parked", LIMIT, async || {
        watchers(&cluster).await == 0.0
    })
    .await
    .unwrap();
    let grown = resident().saturating_sub(before);
    println!("{} MB while it came", grown >> 20);
    assert!(grown < ALLOWED, "{grown} bytes");

    let mut replay = client
        .watch(Watch::key("k").start_revision(first))
        .await
        .unwrap();
    wait::until("it is parked", LIMIT, async || {
        watchers(&cluster).await == 0.0
    })
    .await
    .unwrap();
    let grown = resident().saturating_sub(before);
    println!("{} MB with a second one, of the past", grown >> 20);
    assert!(grown < 2 * ALLOWED, "{grown} bytes");

    for watcher in [&mut live, &mut replay] {
        let most = read(watcher, last).await;
        assert!(most <= 16 << 20, "{most} bytes at once");
    }
    let grown = resident().saturating_sub(before);
    println!("{} MB after both were read", grown >> 20);
    assert!(grown < 2 * ALLOWED, "{grown} bytes");
}
