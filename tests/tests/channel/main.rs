//! Generated stubs over the client's own connections: `client.channel()`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod bodies;
mod calls;
mod failover;
mod limits;
mod refuse;
mod streams;

use std::error::Error as _;
use std::time::Duration;

use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_core::proto::etcdserverpb::{PutRequest, RangeRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Channel, Client, Error};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::scripted::{Request, Scripted};
use etcd_tests::tls;
use etcd_tests::wait;
use tokio::runtime::Handle;
use tonic::Status;

const PUT: &str = PutRequest::PATH;
const RANGE: &str = RangeRequest::PATH;
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

async fn target() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = tls::connect(target.endpoints().join(",")).await.unwrap();
    (client, target.prefix())
}

/// A healthy member.
async fn healthy(member: u64) -> Scripted {
    let builder = Scripted::builder().member(member);
    builder.start(Request::usual).await.unwrap()
}

async fn connect(server: &Scripted) -> Client {
    tls::connect(server.endpoint()).await.unwrap()
}

fn kv(client: &Client) -> KvClient<Channel> {
    KvClient::new(client.channel().unwrap())
}

fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> PutRequest {
    PutRequest {
        key: key.into().into(),
        value: value.into().into(),
        ..Default::default()
    }
}

fn range(key: impl Into<String>) -> RangeRequest {
    RangeRequest {
        key: key.into().into(),
        ..Default::default()
    }
}

/// The client's own error behind a stub's.
fn cause(status: &Status) -> &Error {
    let source = status.source().unwrap_or_else(|| panic!("{status:?}"));
    source.downcast_ref().unwrap()
}

/// How many tasks live in this test's runtime.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    wait::until(what, LIMIT, condition).await.unwrap();
}
