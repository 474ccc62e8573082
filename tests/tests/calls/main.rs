//! How calls are made and how they end: time limits, views, dropped futures, closed and dropped clients, large messages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod close;
mod deadline;
mod dropped;
mod large;
mod views;

use std::time::Duration;

use etcd_core::proto::etcdserverpb::{PutRequest, RangeRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, EndpointState};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::runtime::Handle;

const PUT: &str = PutRequest::PATH;
const RANGE: &str = RangeRequest::PATH;
/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// How many tasks live in this test's runtime.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A healthy member.
async fn healthy(member: u64) -> Scripted {
    let builder = Scripted::builder().member(member);
    builder.start(Request::usual).await.unwrap()
}

/// A member that serves clients that connect, and never answers a put or a read.
async fn silent() -> Scripted {
    Scripted::start(|request| match request.path.as_str() {
        PUT | RANGE => Reply::silence(),
        _ => request.usual(),
    })
    .await
    .unwrap()
}

/// Until each endpoint has failed, and the client knows why.
async fn all_failed(client: &Client) {
    let failed = |state: &EndpointState| match state {
        EndpointState::Connecting { cause } | EndpointState::Frozen { cause, .. } => {
            cause.is_some()
        }
        _ => false,
    };
    wait::until("every endpoint has failed", LIMIT, async || {
        client
            .endpoints()
            .rows()
            .iter()
            .all(|row| failed(&row.state))
    })
    .await
    .unwrap();
}
