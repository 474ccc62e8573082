//! Many leases of one client, and what is left of them.

use std::collections::HashSet;

use etcd_core::{Client, Lease};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;
use futures_util::future::join_all;
use tokio::runtime::Handle;

use crate::{LIMIT, secs, streams, valid_for};

async fn leases(client: &Client, count: usize, ttl: u64) -> Vec<Lease> {
    let grants = join_all((0..count).map(|_| client.lease(secs(ttl)))).await;
    grants.into_iter().map(Result::unwrap).collect()
}

/// Whether etcd has all of them.
async fn has_all(client: &Client, leases: &[Lease]) -> bool {
    let there: HashSet<_> = client.leases().await.unwrap().into_iter().collect();
    leases.iter().all(|lease| there.contains(&lease.id()))
}

#[tokio::test]
async fn a_hundred_leases_share_one_stream_and_leave_nothing_behind() {
    let cluster = Cluster::start(1).await.unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    // A grant that takes more than a quarter of the TTL is followed by a renewal of its own.
    let leases = leases(&client, 100, 8).await;
    valid_for(secs(9), &leases).await;
    assert!(has_all(&client, &leases).await);
    let started = [("grpc_method", "LeaseKeepAlive")];
    let started = cluster.metric(0, "grpc_server_started_total", &started);
    assert_eq!(started.await.unwrap(), 1.0);
    assert_eq!(streams(&cluster, 0).await, 1);

    let last = client.lease(secs(2)).await.unwrap();
    drop(leases);
    valid_for(secs(3), std::slice::from_ref(&last)).await;
    assert_eq!(streams(&cluster, 0).await, 1);
    let kept = tasks();
    drop(last);
    wait::until("the stream is gone", LIMIT, async || {
        streams(&cluster, 0).await == 0
    })
    .await
    .unwrap();
    wait::until("the keeper's task is gone", LIMIT, async || {
        tasks() == kept - 1
    })
    .await
    .unwrap();
    drop(client);
    wait::until("no task is left", LIMIT, async || tasks() == before)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_thousand_leases_are_kept() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let leases = leases(&client, 1_000, 4).await;
    valid_for(secs(8), &leases).await;
    assert!(has_all(&client, &leases).await);
    assert_eq!(streams(&cluster, 0).await, 1);
    assert_eq!(client.halt_all(), 1_000);
}
