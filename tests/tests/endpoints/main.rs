//! The list of endpoints: how it is opened, changed, followed and used.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod balance;
mod change;
mod connecting;
mod health;
mod monotonic;
mod open;
mod sync;

use std::time::Duration;

use etcd_core::{Client, Error};
use etcd_tests::scripted::Scripted;
use etcd_tests::wait;

/// For what must happen, but may take its time on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

const PUT: &str = "/etcdserverpb.KV/Put";

/// The client's endpoints, in their order.
fn list(client: &Client) -> Vec<String> {
    let endpoints = client.endpoints();
    let rows = endpoints.rows().iter();
    rows.map(|row| row.endpoint.to_string()).collect()
}

/// The option that is wrong.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Config(wrong)) => wrong.option,
        other => panic!("{other:?}"),
    }
}

/// Servers that make believe to be members 1, 2, … of one cluster, which 1 leads.
async fn servers(count: u64) -> Vec<Scripted> {
    let mut servers = Vec::new();
    for id in 1..=count {
        let server = Scripted::builder().member(id);
        servers.push(server.start(|request| request.usual()).await.unwrap());
    }
    servers
}

async fn all_active(client: &Client) {
    let count = client.endpoints().rows().len();
    wait::until("all endpoints are active", LIMIT, async || {
        client.endpoints().active() == count
    })
    .await
    .unwrap();
}

/// No connection to the server is open.
async fn left(server: &Scripted) {
    wait::until("the connections are closed", LIMIT, async || {
        server.open() == 0
    })
    .await
    .unwrap();
}
