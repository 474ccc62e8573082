//! The observer: a range as it is, then every change of it in order and once, whatever happens to members and connections.
//!
//! | file | about |
//! |---|---|
//! | [`follow`] | what is emitted, and that nothing is left behind |
//! | [`relist`] | history that was compacted before it could be delivered |
//! | [`faults`] | members that die, connections that break, futures that are dropped |
//!
//! What an observer must have emitted is read from etcd's own history afterwards, by the generated stub on tonic's channel:
//! by nothing of what is tested here.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod faults;
mod follow;
mod relist;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_core::proto::etcdserverpb::watch_client::WatchClient;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use etcd_core::proto::mvccpb;
use etcd_core::{Client, Get, KeyRange};
use etcd_recipes::observer::{Event, Observer};
use etcd_tests::cluster::{Prefix, Target};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

/// For whatever comes at once, or after an election, on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// A change of one key: the value it has since, or `None` when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    revision: i64,
    key: String,
    value: Option<String>,
}

impl Change {
    fn put(revision: i64, key: impl Into<String>, value: &str) -> Self {
        let (key, value) = (key.into(), Some(value.to_owned()));
        Self {
            revision,
            key,
            value,
        }
    }

    fn delete(revision: i64, key: impl Into<String>) -> Self {
        let (key, value) = (key.into(), None);
        Self {
            revision,
            key,
            value,
        }
    }

    fn of(kv: &mvccpb::KeyValue) -> Self {
        Self::put(kv.mod_revision, text(&kv.key), &text(&kv.value))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What an event changes; `None` for progress.
fn change(event: Event) -> Option<Change> {
    match event {
        Event::Put(kv) => Some(Change::of(&kv)),
        Event::Delete { key, revision } => Some(Change::delete(revision, text(&key))),
        Event::Progress { .. } => None,
        other => unreachable!("{other:?} after the first event"),
    }
}

async fn next(observer: &mut Observer) -> Event {
    timeout(LIMIT, observer.try_next()).await.unwrap().unwrap()
}

/// The first event: what is there, and the revision of that.
async fn reset(observer: &mut Observer) -> (Vec<Change>, i64) {
    let Event::Reset { kvs, revision } = next(observer).await else {
        unreachable!("the first event is another one");
    };
    (kvs.iter().map(Change::of).collect(), revision)
}

/// The next change.
async fn changed(observer: &mut Observer) -> Change {
    loop {
        if let Some(change) = change(next(observer).await) {
            return change;
        }
    }
}

/// All changes up to and with the put of the key `last`.
async fn until(observer: &mut Observer, last: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        let change = changed(observer).await;
        let done = change.key == last;
        changes.push(change);
        if done {
            return changes;
        }
    }
}

/// The history of a range from a revision on, up to and with the put of the key `last`, as the member at `endpoint` has it.
async fn history(endpoint: &str, range: &KeyRange, from: i64, last: &str) -> Vec<Change> {
    let mut stub = WatchClient::new(etcd_tests::tls::channel(endpoint).await.unwrap());
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: range.start().clone(),
            range_end: range.end().clone(),
            start_revision: from,
            ..WatchCreateRequest::default()
        })),
    };
    let requests = stream::iter([create]).chain(stream::pending());
    let mut responses = stub.watch(requests).await.unwrap().into_inner();
    let mut changes: Vec<Change> = Vec::new();
    while changes.last().is_none_or(|change| change.key != last) {
        let response = timeout(LIMIT, responses.message()).await.unwrap();
        let response = response.unwrap().unwrap();
        assert!(!response.canceled, "{response:?}");
        changes.extend(response.events.into_iter().map(|event| {
            let deleted = event.r#type() == mvccpb::event::EventType::Delete;
            let kv = event.kv.unwrap();
            if deleted {
                Change::delete(kv.mod_revision, text(&kv.key))
            } else {
                Change::of(&kv)
            }
        }));
    }
    changes
}

/// The last revision of every key, as changes told of it.
#[derive(Debug, Default)]
struct Replica(BTreeMap<String, i64>);

impl Replica {
    /// Applies a change, which must be one.
    fn apply(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let before = match change.value {
            Some(_) => self.0.insert(change.key.clone(), change.revision),
            None => self.0.remove(&change.key),
        };
        assert!(
            before < Some(change.revision),
            "{change:?} after {before:?}"
        );
        assert!(
            before.is_some() || change.value.is_some(),
            "{change:?} of nothing"
        );
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// What was told is what is there.
    async fn is_range(&self, client: &Client, prefix: &str) {
        let kvs = client.get(Get::prefix(prefix)).await.unwrap().kvs;
        let there = kvs.iter().map(|kv| (text(&kv.key), kv.mod_revision));
        assert_eq!(self.0, there.collect());
    }
}
