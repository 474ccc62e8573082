//! Watches: what is delivered, also when members and connections fail, and what is left behind.
//!
//! | module | about |
//! |---|---|
//! | [`events`], [`large`], [`progress`] | what a watch delivers; the shared cluster, or the user's (`ETCD_ENDPOINTS`) |
//! | [`resume`] | lost connections, through the proxy |
//! | [`failover`], [`leaderless`] | members that die, hang, restart or are cut off |
//! | [`many`], [`slow`] | a thousand watchers; readers that do not read |
//! | [`cancel`], [`leak`] | the end of a watch, counted on the server and in the runtime |
//! | [`refuse`], [`streams`], [`hostile`] | refusals, and servers that say what etcd would not; scripted |
//! | [`history`], [`traffic`], [`member`] | the checker, the writers it is used with, and a scripted member |
//!
//! What a watch costs in memory is measured in a process of its own, `tests/tests/watch_memory.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod cancel;
mod events;
mod failover;
mod history;
mod hostile;
mod large;
mod leaderless;
mod leak;
mod many;
mod member;
mod progress;
mod refuse;
mod resume;
mod slow;
mod streams;
mod traffic;

use std::time::Duration;

use etcd_core::proto::mvccpb::Event;
use etcd_core::{Batch, Client, Error, Watcher};
use etcd_tests::cluster::{Prefix, Target};
use tokio::time::timeout;

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// The next batch.
async fn next(watcher: &mut Watcher) -> Batch {
    let batch = timeout(LIMIT, watcher.try_next()).await;
    batch
        .expect("no batch comes")
        .unwrap()
        .expect("the watch has ended")
}

/// All batches until everything up to `revision` is there.
async fn up_to(watcher: &mut Watcher, revision: i64) -> Vec<Batch> {
    let mut batches = vec![next(watcher).await];
    while batches[batches.len() - 1].revision < revision {
        batches.push(next(watcher).await);
    }
    batches
}

/// How the watch ends, when everything that came before has been read; `None`: quietly.
async fn end(watcher: &mut Watcher) -> Option<Error> {
    loop {
        match timeout(LIMIT, watcher.try_next())
            .await
            .expect("it does not end")
        {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// All events of some batches.
fn events(batches: Vec<Batch>) -> Vec<Event> {
    batches.into_iter().flat_map(|batch| batch.events).collect()
}

/// Events as text: `put a 1`, `delete a`, without the prefix of their keys.
fn text(prefix: &str, events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let kv = event.kv.as_ref().unwrap();
        let key = kv.key_str().unwrap().strip_prefix(prefix).unwrap();
        if event.is_delete() {
            format!("delete {key}")
        } else {
            format!("put {key} {}", kv.value_str().unwrap())
        }
    };
    events.iter().map(line).collect()
}
