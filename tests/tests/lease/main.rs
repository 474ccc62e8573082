//! Leases: granted, kept alive while members fail, and known to be lost before etcd lets them go.
//!
//! | file | about |
//! |---|---|
//! | [`grant`] | granting, renewing once, revoking; what etcd says of a lease |
//! | [`keep`] | a lease kept alive, and every way in which that ends |
//! | [`many`] | many leases of one client, and what is left of them |
//! | [`failover`] | three members of which one dies or hangs |
//! | [`cut`] | connections that are lost or blocked, through the proxy |
//! | [`stopped`] | a process that is stopped for longer than its lease lives |
//! | [`scripted`] | a server that refuses, falls silent, or ends its streams |
//!
//! Tests that break nothing share one member, or the user's cluster (`ETCD_ENDPOINTS`).

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cut;
mod failover;
mod grant;
mod keep;
mod many;
mod scripted;
mod stopped;

use std::time::{Duration, Instant};

use etcd_core::{Client, Lease, LeaseId, LostReason, Put};
use etcd_tests::cluster::{Cluster, Prefix, Target};
use etcd_tests::wait;
use tokio::time::timeout;

/// For conditions that come true at once, or within a time to live, on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How late a busy machine may be with what is due at a certain time.
const LATE: Duration = Duration::from_millis(1_500);
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// Puts a key that goes when the lease goes.
async fn attach(client: &Client, key: &str, lease: impl Into<LeaseId>) {
    client.send(Put::new(key, "v").lease(lease)).await.unwrap();
}

async fn has_key(client: &Client, key: &str) -> bool {
    client.get(key).await.unwrap().into_first().is_some()
}

/// Whether etcd has the lease.
async fn exists(client: &Client, id: LeaseId) -> bool {
    let reply = client.time_to_live(id, false).await;
    if let Err(error) = &reply {
        assert!(error.is_lease_not_found(), "{error}");
    }
    reply.is_ok()
}

/// Waits until etcd has ended the lease, and returns when that was seen.
async fn gone(client: &Client, id: LeaseId) -> Instant {
    wait::until("the lease is gone", LIMIT, async || {
        !exists(client, id).await
    })
    .await
    .unwrap();
    Instant::now()
}

/// Why the lease is lost, and when that was known.
async fn lost(lease: &Lease) -> (LostReason, Instant) {
    let reason = within(lease.lost()).await;
    assert!(!lease.is_valid(), "{lease:?}");
    (reason, Instant::now())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap()
}

/// Looks at `leases` all the time for as long as `span`: each can be relied on.
async fn valid_for(span: Duration, leases: &[Lease]) {
    let start = Instant::now();
    while start.elapsed() < span {
        let lost = leases.iter().find(|lease| !lease.is_valid());
        assert!(lost.is_none(), "after {:?}: {lost:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many LeaseKeepAlive streams member `i` has.
async fn streams(cluster: &Cluster, i: usize) -> u64 {
    let metrics = cluster.metrics(i).await.unwrap();
    let count = |name| {
        let of = |line: &&str| line.starts_with(name) && line.contains("\"LeaseKeepAlive\"");
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        metrics.lines().filter(of).map(value).sum::<f64>() as u64
    };
    count("grpc_server_started_total{") - count("grpc_server_handled_total{")
}
