//! What the watchers on one stream share with the task that owns it. The task itself is in [`task`](super::task).

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::hub::{Common, StreamKey};
use super::queue::{Queue, QueueLimits};
use super::request::Watch;
use super::slot::Slot;
use super::state::Key;
use super::task::Task;
use crate::error::Error;
use crate::pool::{EndpointId, Pool};

/// What the task shares with the watchers on its stream.
#[derive(Debug)]
pub(super) struct Mux {
    content: Mutex<Content>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Content {
    slots: HashMap<Key, Arc<Slot>>,
    /// Those that want something of the task.
    touched: BTreeSet<Key>,
    last_key: Key,
    /// Where the stream leads, while there is one.
    endpoint: Option<EndpointId>,
    /// The task has ended.
    done: bool,
}

/// Starts a mux with its first watcher.
pub(super) fn start(
    pool: Arc<Pool>,
    common: Arc<Common>,
    stream: StreamKey,
    watch: Watch,
    start: i64,
) -> (Arc<Mux>, Arc<Slot>) {
    let mux = Arc::new(Mux {
        content: Mutex::default(),
        wake: Notify::new(),
    });
    let slot = mux.lock().add(watch, start, common.queue);
    tokio::spawn(Task::new(mux.clone(), pool, common, stream).run());
    (mux, slot)
}

impl Mux {
    /// One more watcher, unless the task has ended.
    pub(super) fn add(&self, watch: &Watch, start: i64, queue: QueueLimits) -> Option<Arc<Slot>> {
        let mut content = self.lock();
        let slot = (!content.done).then(|| content.add(watch.clone(), start, queue))?;
        self.wake.notify_one();
        Some(slot)
    }

    /// The watcher wants something.
    pub(super) fn touch(&self, key: Key) {
        self.lock().touched.insert(key);
        self.wake.notify_one();
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.lock().slots.values().cloned().collect()
    }

    pub(super) fn watchers_on(&self, endpoint: EndpointId) -> usize {
        let content = self.lock();
        if content.endpoint == Some(endpoint) {
            content.slots.len()
        } else {
            0
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's side.
impl Mux {
    /// Resolves when a watcher was added or touched since the last time.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Those that were touched, of those that are still there.
    pub(super) fn touched(&self) -> Vec<Arc<Slot>> {
        let mut content = self.lock();
        let touched = mem::take(&mut content.touched);
        touched
            .iter()
            .filter_map(|key| content.slots.get(key).cloned())
            .collect()
    }

    pub(super) fn slot(&self, key: Key) -> Option<Arc<Slot>> {
        self.lock().slots.get(&key).cloned()
    }

    pub(super) fn remove(&self, key: Key) -> Option<Arc<Slot>> {
        self.lock().slots.remove(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().slots.len()
    }

    pub(super) fn set_endpoint(&self, endpoint: Option<EndpointId>) {
        self.lock().endpoint = endpoint;
    }

    /// The task ends, unless a watcher has come meanwhile.
    pub(super) fn finish(&self) -> bool {
        let mut content = self.lock();
        content.done |= content.touched.is_empty();
        content.done
    }

    /// The task ends, and all watchers with it.
    pub(super) fn end_all(&self, error: &Error) {
        let mut content = self.lock();
        content.done = true;
        content.touched.clear();
        let slots = mem::take(&mut content.slots);
        drop(content);
        for slot in slots.into_values() {
            slot.end(Some(error.clone()));
        }
    }
}

impl Content {
    fn add(&mut self, watch: Watch, start: i64, queue: QueueLimits) -> Arc<Slot> {
        self.last_key += 1;
        let slot = Arc::new(Slot::new(
            self.last_key,
            watch,
            start,
            Queue::new(start, queue),
        ));
        self.slots.insert(self.last_key, slot.clone());
        self.touched.insert(self.last_key);
        slot
    }
}
