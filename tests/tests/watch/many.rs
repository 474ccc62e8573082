//! A thousand watchers share one stream, and creating them does not take a thousand round trips.

use std::time::{Duration, Instant};

use etcd_core::{Client, Watcher};
use etcd_tests::proxy::Direction;
use etcd_tests::wait;
use futures_util::future::try_join_all;

use crate::resume::{Setup, setup};
use crate::{LIMIT, next};

const MANY: usize = 1_000;

/// A round trip through the proxy takes twice as long.
const DELAY: Duration = Duration::from_millis(20);

/// What the member counts: streams for watches, watchers on them, and streams that were ever opened.
pub(crate) async fn counts(setup: &Setup) -> (usize, usize, usize) {
    let metric = async |name, labels: &[_]| {
        let value = setup.cluster.metric(0, name, labels).await;
        value.unwrap_or(0.0) as usize
    };
    (
        metric("etcd_debugging_mvcc_watch_stream_total", &[]).await,
        metric("etcd_debugging_mvcc_watcher_total", &[]).await,
        metric(
            "grpc_server_started_total",
            &[("grpc_service", "etcdserverpb.Watch")],
        )
        .await,
    )
}

async fn create(client: &Client) -> Vec<Watcher> {
    let watches = (0..MANY).map(|n| client.watch(format!("k/{n}")));
    try_join_all(watches).await.unwrap()
}

#[tokio::test]
async fn a_thousand_watchers_are_created_at_once_and_resumed_at_once_on_one_stream() {
    let setup = setup().await;
    let Setup {
        proxy,
        client,
        direct,
        ..
    } = &setup;
    proxy.delay(Direction::Both, DELAY);
    let begun = Instant::now();
    let mut watchers = create(client).await;
    let took = begun.elapsed();
    println!("created in {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(counts(&setup).await, (1, MANY, 1));

    proxy.reset_all();
    let cut = Instant::now();
    // Written while nothing is registered, or soon after: either way it must arrive.
    let puts = (0..MANY).map(|n| direct.put(format!("k/{n}"), n.to_string()));
    try_join_all(puts).await.unwrap();
    for (n, watcher) in watchers.iter_mut().enumerate() {
        let batch = next(watcher).await;
        assert_eq!(batch.events.len(), 1);
        assert_eq!(batch.events[0].kv.as_ref().unwrap().value, n.to_string());
    }
    let took = cut.elapsed();
    println!("resumed in {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    wait::until(
        "the member has forgotten the first stream",
        LIMIT,
        async || counts(&setup).await == (1, MANY, 2),
    )
    .await
    .unwrap();
    proxy.delay(Direction::Both, Duration::ZERO);
    assert_eq!(client.cancel_all_watches().await.unwrap(), MANY);
    assert_eq!(counts(&setup).await.1, 0);
}
