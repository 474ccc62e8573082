//! Snapshots as streams: beside everything else, and bounded where the caller says so.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::SnapshotResponse;
use etcd_core::{Error, Get, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use crate::{LIMIT, client};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

fn chunk() -> Reply {
    Reply::headers().then(Reply::part(&SnapshotResponse {
        blob: vec![7; 512].into(),
        remaining_bytes: 512,
        ..Default::default()
    }))
}

async fn server(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Scripted {
    let script = move |request: &Request| match request.path.as_str() {
        SNAPSHOT => reply(request),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_is_a_stream_of_chunks() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    client.put("k", "v").await.unwrap();
    let mut snapshot = client.snapshot().await.unwrap();
    let first = snapshot.try_next().await.unwrap().unwrap();
    assert_eq!(snapshot.progress().received, first.len() as u64);
    let announced = snapshot.progress().remaining;
    let rest: Vec<_> = TryStreamExt::try_collect(&mut snapshot).await.unwrap();
    let rest: usize = rest.iter().map(|chunk: &bytes::Bytes| chunk.len()).sum();
    assert_eq!(rest as u64, announced);
    assert_eq!(snapshot.try_next().await.unwrap(), None);
}

/// Every snapshot stands still when its window is full, and together they hold more than a whole connection may.
#[tokio::test]
async fn snapshots_that_nobody_reads_hold_up_neither_calls_nor_watches() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let big = vec![0; 1 << 20];
    for i in 0..8 {
        client.put(format!("k{i}"), &big).await.unwrap();
    }
    let mut watcher = client.watch("watched").await.unwrap();
    let mut snapshots = Vec::new();
    for _ in 0..16 {
        snapshots.push(client.snapshot().await.unwrap());
    }
    // The server's first 64 MiB are on their way: a watch on the same connection would not get another byte.
    for i in 0..64 {
        client.put("watched", i.to_string()).await.unwrap();
        let batch = timeout(Duration::from_secs(10), watcher.try_next()).await;
        assert!(!batch.unwrap().unwrap().unwrap().events.is_empty());
        client.get(Get::prefix("k").limit(4)).await.unwrap();
    }
    let late = client.watch(Watch::prefix("k").start_revision(1)).await;
    let (mut late, mut events) = (late.unwrap(), 0);
    while events < 8 {
        let batch = timeout(Duration::from_secs(10), late.try_next()).await;
        events += batch.unwrap().unwrap().unwrap().events.len();
    }
    for snapshot in snapshots {
        let chunks: Vec<_> = snapshot.try_collect().await.unwrap();
        let bytes: usize = chunks.iter().map(|chunk: &bytes::Bytes| chunk.len()).sum();
        assert!(bytes > 8 << 20);
    }
}

#[tokio::test]
async fn a_time_limit_of_the_view_ends_a_snapshot_that_stands_still() {
    let server = server(|_| chunk()).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let started = Instant::now();
    let limit = Duration::from_millis(500);
    let mut snapshot = client.timeout(limit).snapshot().await.unwrap();
    assert!(snapshot.try_next().await.unwrap().is_some());
    let late = timeout(LIMIT, snapshot.try_next()).await.unwrap();
    let error = late.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.endpoint(), Some(&*server.endpoint()));
    assert!(started.elapsed() >= limit);
    assert_eq!(snapshot.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn until_the_first_bytes_have_come_another_member_is_tried() {
    let down = server(|_| Reply::status(14, "etcdserver: server stopped")).await;
    let lost = server(|_| Reply::rst(2u32)).await;
    let good = server(|_| chunk()).await;
    // Of two members the nearer one is taken, so that the good one is asked last.
    let far = Proxy::start(good.endpoint()).await.unwrap();
    far.delay(Direction::Both, Duration::from_millis(40));
    let endpoints = [down.endpoint(), lost.endpoint(), far.endpoint()];
    let client = etcd_tests::builder(&endpoints).connect();
    let client = client.await.unwrap();
    for endpoint in endpoints {
        client
            .endpoint(endpoint)
            .timeout(LIMIT)
            .get("connected")
            .await
            .unwrap();
    }
    for _ in 0..5 {
        let mut snapshot = client.snapshot().await.unwrap();
        assert!(snapshot.try_next().await.unwrap().is_some());
    }
    assert_eq!(good.seen(SNAPSHOT), 5);
    assert!(down.seen(SNAPSHOT) > 0 && lost.seen(SNAPSHOT) > 0);
    // A view of one member asks no other.
    let pinned = client.endpoint(down.endpoint());
    let pinned = pinned.timeout(Duration::from_millis(500));
    let error = pinned.snapshot().await.unwrap_err();
    assert_eq!(error.endpoint(), Some(&*down.endpoint()), "{error}");
    assert_eq!(good.seen(SNAPSHOT), 5);
}

#[tokio::test]
async fn a_snapshot_ends_when_the_client_is_closed_and_is_reset_when_it_is_dropped() {
    let server = server(|_| chunk()).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    drop(client.snapshot().await.unwrap());
    etcd_tests::wait::until("the server sees the reset", LIMIT, async || {
        server.resets().len() == 1
    })
    .await
    .unwrap();
    let mut snapshot = client.snapshot().await.unwrap();
    assert!(snapshot.try_next().await.unwrap().is_some());
    client.close();
    let error = snapshot.try_next().await.unwrap_err();
    assert!(error.is_closed(), "{error}");
    let error = client.snapshot().await.unwrap_err();
    assert!(error.is_closed(), "{error}");
}

#[tokio::test]
async fn nobody_to_take_a_snapshot_of_is_an_error_within_the_time_limit() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let client = etcd_tests::builder([address]).build().unwrap();
    let waits = client.timeout(Duration::from_millis(300));
    let error = timeout(LIMIT, waits.snapshot()).await.unwrap();
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    let error = client.wait_ready(false).snapshot().await.unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
}
