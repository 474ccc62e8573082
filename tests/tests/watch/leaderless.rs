//! A member that is cut off from the others still answers its clients, but has no news for them.

use std::time::Duration;

use etcd_core::{EndpointState, KeyRange};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;

use crate::LIMIT;
use crate::failover::Trio;
use crate::history::Recorder;

#[tokio::test]
async fn a_watch_leaves_a_member_without_leader_unless_it_wants_to_stay() {
    let cluster = Cluster::builder().members(3).partitionable().start();
    let trio = Trio::of(cluster.await.unwrap()).await;
    let served = trio.serve(false).await;
    let cut_off = trio.cluster.endpoint(served.member);
    let stays = trio.client.require_leader(false).endpoint(&cut_off);
    let stays = stays.watch(KeyRange::prefix("k/")).await.unwrap();
    let stays = Recorder::new(stays);
    served.write().await;
    trio.cluster.isolate(served.member).await.unwrap();

    // etcd ends the stream after three election timeouts, of a second each, without a leader.
    let (written, delivered) = served.write().await;
    let late = delivered.saturating_duration_since(written);
    println!("delivered {late:?} after it was written");
    assert!(late < Duration::from_secs(8), "{late:?}");
    let row = || trio.client.endpoints().rows()[served.member].clone();
    assert_eq!(row().watchers, 1, "the one that stays");
    wait::until("the member is not used", LIMIT, async || {
        matches!(row().state, EndpointState::Frozen { cause: Some(cause), .. } if cause.contains("leader"))
    })
    .await
    .unwrap();
    assert!(stays.revision() < served.watch.revision(), "fed silence");

    trio.cluster.heal();
    trio.active(3).await;
    served.write().await;
    let end = served.watch.revision();
    for watch in [&served.watch, &stays] {
        watch.check(&cut_off, end).await;
    }
}
