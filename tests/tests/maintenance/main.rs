//! What operators ask: of one member, of each in turn, and of the one that leads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod alarms;
mod downgrade;
mod members;
mod save;
mod snapshot;

use std::time::Duration;

use etcd_core::{Client, Error, EtcdError};
use etcd_tests::cluster::Cluster;

/// For conditions that come true soon on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A client of all members.
async fn client(cluster: &Cluster) -> Client {
    let endpoints = cluster.endpoints();
    let client = etcd_tests::builder(endpoints).connect();
    client.await.unwrap()
}

fn etcd(error: &Error) -> EtcdError {
    error.etcd().unwrap_or_else(|| panic!("{error}"))
}
