//! A key range as it is, and everything that happens to it from then on.
//!
//! **Problem.** To follow a range one has to read it, then watch from the revision after that read, and when history was
//! compacted while the watch could not be resumed, read again and work out what was missed.
//!
//! **Guarantee.** The first event is [`Event::Reset`] with every key-value pair of the range at one revision. After it come
//! all changes in the order of their revisions, each exactly once, across lost connections and failovers. If changes were
//! compacted before they could be delivered, the range is read again and exactly the difference is emitted, as
//! [`Event::Put`] and [`Event::Delete`]: whoever applies all events has the range.
//!
//! **Not guaranteed.** After such a second read, changes in between that no longer show are skipped. The difference does not
//! come in the order of revisions: first what was put, then what is gone, each in the order of the keys. A deletion known
//! only from the difference carries the revision of that read. How late events arrive is not bounded: an observer that is
//! cut off from the cluster waits.
//!
//! ```no_run
//! use etcd_recipes::observer::{Event, Observer};
//!
//! # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
//! let mut observer = Observer::prefix(&client, "svc/");
//! loop {
//!     match observer.try_next().await? {
//!         Event::Reset { kvs, revision } => println!("{} keys at revision {revision}", kvs.len()),
//!         Event::Put(kv) => println!("{:?} = {:?}", kv.key, kv.value),
//!         Event::Delete { key, .. } => println!("{key:?} is gone"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use etcd_core::proto::mvccpb::{self, KeyValue};
use etcd_core::{Batch, Client, Get, IntoBytes, KeyRange, Result, Watch, Watcher};

/// Something that happened to the observed range.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The range as it was at a revision. Comes first, once.
    Reset {
        /// Every key-value pair, in the order of the keys.
        kvs: Vec<KeyValue>,
        /// The revision of the read.
        revision: i64,
    },
    /// A key was created or changed.
    Put(KeyValue),
    /// A key was deleted, or its lease has ended.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the deletion, or of the read that found the key gone.
        revision: i64,
    },
    /// Nothing more will come up to this revision.
    Progress {
        /// The revision.
        revision: i64,
    },
}

/// Follows a key range; see the module.
///
/// It makes no request before it is first asked for an event. Dropping it ends its watch.
#[derive(Debug)]
pub struct Observer {
    client: Client,
    range: KeyRange,
    /// The keys that were emitted and not deleted since, with their last revision.
    known: BTreeMap<Bytes, i64>,
    /// The revision up to which everything was emitted; `None` before the first read.
    seen: Option<i64>,
    watcher: Option<Watcher>,
    ready: VecDeque<Event>,
}

impl Observer {
    /// Observes a key, or a range of keys.
    pub fn new(client: &Client, range: impl Into<KeyRange>) -> Self {
        Self {
            client: client.clone(),
            range: range.into(),
            known: BTreeMap::new(),
            seen: None,
            watcher: None,
            ready: VecDeque::new(),
        }
    }

    /// Observes all keys with a prefix.
    pub fn prefix(client: &Client, prefix: impl IntoBytes) -> Self {
        Self::new(client, KeyRange::prefix(prefix))
    }

    /// The revision up to which all events were handed out, and none after; `None` before the first, and while others that
    /// came with the last one wait to be handed out.
    pub fn revision(&self) -> Option<i64> {
        self.seen.filter(|_| self.ready.is_empty())
    }

    /// The next event. Cancel safe: no event is lost.
    ///
    /// # Errors
    /// What [`Client::get`] and [`Client::watch`] end with, other than compaction. Calling it again after an error goes on
    /// where it was.
    pub async fn try_next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            match (self.seen, &mut self.watcher) {
                (None, _) => self.read().await?,
                (Some(seen), None) => {
                    let watch =
                        Watch::from(self.range.clone()).start_revision(seen.saturating_add(1));
                    match self.client.watch(watch.progress_notify()).await {
                        Ok(watcher) => self.watcher = Some(watcher),
                        Err(error) if error.is_compacted() => self.read().await?,
                        Err(error) => return Err(error),
                    }
                }
                (Some(_), Some(watcher)) => match watcher.try_next().await {
                    Ok(Some(batch)) => self.take(batch),
                    Ok(None) => self.watcher = None,
                    Err(error) => {
                        self.watcher = None;
                        if !error.is_compacted() {
                            return Err(error);
                        }
                        tracing::warn!(range = ?self.range, %error, "observed range is read again");
                        self.read().await?;
                    }
                },
            }
        }
    }

    /// Reads the range: all of it the first time, later only what differs from what is known.
    async fn read(&mut self) -> Result<()> {
        let reply = self.client.get(Get::from(self.range.clone())).await?;
        let revision = reply.revision();
        let mut before = std::mem::take(&mut self.known);
        self.known = reply
            .kvs
            .iter()
            .map(|kv| (kv.key.clone(), kv.mod_revision))
            .collect();
        if self.seen.is_none() {
            self.ready.push_back(Event::Reset {
                kvs: reply.kvs,
                revision,
            });
        } else {
            for kv in reply.kvs {
                if before.remove(&kv.key) != Some(kv.mod_revision) {
                    self.ready.push_back(Event::Put(kv));
                }
            }
            let gone = before
                .into_keys()
                .map(|key| Event::Delete { key, revision });
            self.ready.extend(gone);
        }
        self.seen = Some(revision);
        Ok(())
    }

    fn take(&mut self, batch: Batch) {
        if batch.events.is_empty() {
            self.ready.push_back(Event::Progress {
                revision: batch.revision,
            });
        }
        for event in batch.events {
            let deleted = event.r#type() == mvccpb::event::EventType::Delete;
            let Some(kv) = event.kv else { continue };
            if deleted {
                self.known.remove(&kv.key);
                self.ready.push_back(Event::Delete {
                    key: kv.key,
                    revision: kv.mod_revision,
                });
            } else {
                self.known.insert(kv.key.clone(), kv.mod_revision);
                self.ready.push_back(Event::Put(kv));
            }
        }
        self.seen = self.seen.max(Some(batch.revision));
    }
}
