//! What is dropped leaves nothing behind: no watcher and no stream on the server, no task here.

use etcd_core::Watch;
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;

use crate::LIMIT;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn gauge(cluster: &Cluster, name: &str) -> usize {
    cluster.metric(0, name, &[]).await.unwrap() as usize
}

/// Waits until the member has so many watchers and streams, and this runtime so many tasks.
async fn left(cluster: &Cluster, watchers: usize, streams: usize, alive: usize) {
    let now = async || {
        (
            gauge(cluster, "etcd_debugging_mvcc_watcher_total").await,
            gauge(cluster, "etcd_debugging_mvcc_watch_stream_total").await,
            tasks(),
        )
    };
    let left = (watchers, streams, alive);
    let done = wait::until("nothing is left", LIMIT, async || now().await == left).await;
    assert!(done.is_ok(), "{:?}, not {left:?}", now().await);
}

#[tokio::test]
async fn dropped_watchers_futures_and_clients_leave_nothing_behind() {
    let cluster = Cluster::start(1).await.unwrap();
    let none = tasks();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    client.put("k", "").await.unwrap();
    let first = client.watch("k").await.unwrap();
    first.cancel().await.unwrap();
    left(&cluster, 0, 0, tasks()).await;
    // With both connections open and no stream on either.
    let idle = tasks();

    let watch = client.watch("k").await.unwrap();
    let with_stream = tasks();
    assert!(with_stream > idle, "the stream's task is counted");
    let more = try_join_all((0..10).map(|_| client.watch("k")))
        .await
        .unwrap();
    left(&cluster, 11, 1, with_stream).await;
    drop(more);
    left(&cluster, 1, 1, with_stream).await;
    drop(watch);
    left(&cluster, 0, 0, idle).await;

    // Futures that were polled once, and one that never was.
    for _ in 0..20 {
        drop(client.watch("k").now_or_never());
        drop(
            client
                .watch(Watch::key("k").start_revision(1))
                .now_or_never(),
        );
    }
    drop(client.watch("k"));
    left(&cluster, 0, 0, idle).await;

    // The client first, then the watcher that kept its connections.
    let mut watch = client.watch("k").await.unwrap();
    let writer = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    drop(client);
    writer.put("k", "1").await.unwrap();
    assert_eq!(watch.try_next().await.unwrap().unwrap().events.len(), 1);
    drop((watch, writer));
    left(&cluster, 0, 0, none).await;
}

#[tokio::test]
async fn thousands_of_watches_that_come_and_go_leave_nothing_behind() {
    let cluster = Cluster::start(1).await.unwrap();
    let none = tasks();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    // While another one keeps the stream open; and with streams that come and go with them.
    let lasting = client.watch("k").await.unwrap();
    let busy = tasks();
    for _ in 0..1_000 {
        drop(client.watch("k").await.unwrap());
    }
    left(&cluster, 1, 1, busy).await;
    drop(lasting);
    for _ in 0..2_000 {
        drop(client.watch("k").await.unwrap());
    }
    left(&cluster, 0, 0, busy - 1).await;
    client.put("k", "1").await.unwrap();
    drop(client);
    left(&cluster, 0, 0, none).await;
}
