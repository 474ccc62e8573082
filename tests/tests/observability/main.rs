//! What a client tells of itself: spans, events and metrics, under the names that the documentation promises.
//!
//! Each test has a runtime of one thread, in which everything that it does tells what it tells to that test alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod calls;
mod capture;
mod connect;
mod states;

use std::time::Duration;

use etcd_core::Client;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(40);
const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";

/// Members that answer one path as `script` says, and a client for which both are active.
async fn two(path: &'static str, script: fn() -> Reply) -> ([Scripted; 2], Client) {
    let start = |member| {
        let answer = move |request: &Request| {
            if request.path == path {
                script()
            } else {
                request.usual()
            }
        };
        Scripted::builder().member(member).start(answer)
    };
    let servers = [start(1).await.unwrap(), start(2).await.unwrap()];
    let endpoints = servers.each_ref().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).connect().await.unwrap();
    wait::until("both are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    (servers, client)
}
