//! What ends what: runtimes that are shut down under watches and leases, and child processes.
//!
//! Clients that are closed or dropped are in `calls/close.rs`, a process that is stopped in `lease/stopped.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use etcd_core::{Client, Error, Lease, LostReason, Watcher};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::wait;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// What ends within this does not wait for a time limit or a time to live.
const PROMPT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(",")).await;
    (client.unwrap(), target.prefix())
}

/// A watch and a lease that are begun in `runtime`.
async fn begun_in(runtime: &Runtime, client: &Client, key: String) -> (Watcher, Lease) {
    let client = client.clone();
    let begin = async move {
        let watcher = client.watch(key).await.unwrap();
        (watcher, client.lease(TTL).await.unwrap())
    };
    runtime.spawn(begin).await.unwrap()
}

async fn prompt<T>(future: impl Future<Output = T>) -> T {
    timeout(PROMPT, future).await.unwrap()
}

fn assert_closed<T>(result: Result<T, Error>) {
    let error = result.err().unwrap();
    assert!(error.is_closed(), "{error}");
}

async fn have_ended(watcher: &mut Watcher, lease: &Lease) {
    assert_closed(prompt(watcher.try_next()).await);
    assert_eq!(prompt(lease.lost()).await, LostReason::Closed);
    assert!(!lease.is_valid());
}

#[tokio::test]
async fn when_its_runtime_is_shut_down_all_of_a_client_ends_as_closed() {
    let (direct, prefix) = client().await;
    let inner = runtime();
    let client = inner.spawn(async { client().await.0 }).await.unwrap();
    let (mut watcher, lease) = begun_in(&inner, &client, prefix.key("k")).await;
    inner.shutdown_background();
    have_ended(&mut watcher, &lease).await;
    assert_closed(prompt(client.get("k")).await);
    assert_closed(prompt(client.watch("k")).await);
    assert_closed(prompt(client.lease(TTL)).await);
    assert_closed(prompt(client.keep_alive_once(lease.id())).await);
    assert_closed(prompt(client.snapshot()).await);
    assert_closed(prompt(client.scan("k").try_next()).await);
    // Nobody has revoked it.
    direct.time_to_live(lease.id(), false).await.unwrap();
    direct.revoke(lease.id()).await.unwrap();
}

#[tokio::test]
async fn when_another_runtime_is_shut_down_the_client_goes_on() {
    let (client, prefix) = client().await;
    let other = runtime();
    let (mut watcher, lease) = begun_in(&other, &client, prefix.key("k")).await;
    other.shutdown_background();
    have_ended(&mut watcher, &lease).await;
    let mut watcher = client.watch(prefix.key("k")).await.unwrap();
    client.put(prefix.key("k"), "v").await.unwrap();
    let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
    assert_eq!(batch.unwrap().unwrap().events.len(), 1);
    // For longer than it lives without renewals.
    let short = client.lease(Duration::from_secs(2)).await.unwrap();
    let _ = timeout(Duration::from_secs(4), short.lost()).await;
    assert!(short.is_valid(), "{short:?}");
    client.revoke(lease.id()).await.unwrap();
}

#[tokio::test]
async fn a_child_process_inherits_no_connection() {
    let (client, prefix) = client().await;
    let _watcher = client.watch(prefix.key("k")).await.unwrap();
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    // Until then it may be a copy of this process.
    let runs = async || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n";
    wait::until("it runs", LIMIT, runs).await.unwrap();
    let sockets = |pid: u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let is_socket = |link: &PathBuf| link.to_string_lossy().starts_with("socket:");
        links.filter(is_socket).count()
    };
    let (ours, inherited) = (sockets(std::process::id()), sockets(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ours >= 2, "{ours}");
    assert_eq!(inherited, 0);
}
