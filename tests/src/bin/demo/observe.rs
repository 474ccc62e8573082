//! The watch that runs throughout.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use etcd_core::{Client, Error, Watch, Watcher};
use tokio::task::JoinHandle;

use crate::traffic::Done;

/// An event that was delivered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) revision: i64,
}

/// Everything that was delivered.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) seen: Vec<Seen>,
    /// When a batch was handed over; its start is that of the one before.
    pub(crate) batches: Vec<Done>,
    /// Everything up to this revision was delivered.
    pub(crate) revision: i64,
    /// Why the watch ended, which it should not.
    pub(crate) ended: Option<String>,
}

pub(crate) struct Observed {
    events: Arc<Mutex<Events>>,
    task: JoinHandle<()>,
}

impl Observed {
    pub(crate) async fn start(client: &Client, prefix: &str) -> Result<Observed> {
        let watcher = client.watch(Watch::prefix(prefix.to_owned())).await?;
        let events = Arc::new(Mutex::new(Events::default()));
        let task = tokio::spawn(collect(watcher, events.clone()));
        Ok(Observed { events, task })
    }

    /// When the last batch was delivered.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.lock().batches.last().map(|batch| batch.end)
    }

    /// Waits until everything up to `revision` was delivered, and ends the watch.
    pub(crate) async fn finish(self, revision: i64, limit: Duration) -> Result<Events> {
        let delivered = async || {
            let events = self.lock();
            events.revision >= revision || events.ended.is_some()
        };
        // What is missing after the limit is found, and counted as lost, by the comparison that follows.
        let _ =
            etcd_tests::wait::until("the watch has delivered everything", limit, delivered).await;
        self.task.abort();
        if self.task.await.is_err_and(|error| error.is_panic()) {
            bail!("the task that reads the watch panicked");
        }
        Ok(std::mem::take(&mut *lock(&self.events)))
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        lock(&self.events)
    }
}

async fn collect(mut watcher: Watcher, events: Arc<Mutex<Events>>) {
    let mut last = Instant::now();
    let ended = loop {
        let batch = match watcher.try_next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => break "it was cancelled".to_owned(),
            Err(error) => break explain(&error),
        };
        let mut events = lock(&events);
        events.revision = batch.revision;
        for kv in batch.events.into_iter().filter_map(|event| event.kv) {
            events.seen.push(Seen {
                key: String::from_utf8_lossy(&kv.key).into_owned(),
                revision: kv.mod_revision,
            });
        }
        events.batches.push(Done {
            start: last,
            end: Instant::now(),
        });
        last = Instant::now();
    };
    lock(&events).ended = Some(ended);
}

fn explain(error: &Error) -> String {
    error.to_string()
}

fn lock(events: &Mutex<Events>) -> MutexGuard<'_, Events> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}
