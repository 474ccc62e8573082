//! Workers that read and write while members fail, and a check of everything they were told.
//!
//! Every put has a key of its own, so that what etcd holds in the end shows for each of them whether it was applied, at which
//! revision, and how often. Every read asks, linearizably, for a key whose put was acknowledged before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use etcd_core::proto::mvccpb::KeyValue;
use etcd_core::{Client, Error, Get, Outcome};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{lock, wait};

/// The pause of a worker between two calls, to leave the machine to others.
const REST: Duration = Duration::from_millis(2);
/// From one put to the next of those that wait for no other.
const ARRIVALS: Duration = Duration::from_millis(50);

/// Workers under way.  Dropping it ends them.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    readers: JoinSet<Vec<Call>>,
    writers: JoinSet<Vec<Call>>,
    stop: watch::Sender<bool>,
}

/// What the workers of a [`Load`] were told.
#[derive(Debug)]
pub struct Report {
    /// The calls of the readers, in the order in which they ended.
    pub reads: Calls,
    /// The calls of the writers, in the order in which they ended.
    pub puts: Calls,
    prefix: String,
}

/// All calls of one kind.
#[derive(Debug)]
pub struct Calls(Vec<Call>);

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The key that was read or put.
    pub key: String,
    /// When it was made.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The revision of a put, the `mod_revision` that was read.
    pub result: Result<i64, Error>,
}

/// What became of the puts; made by [`Report::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Puts that were acknowledged.
    pub acknowledged: usize,
    /// Puts with `Outcome::Unknown` that were applied.
    pub unknown_applied: usize,
    /// Puts with `Outcome::Unknown` that were not applied.
    pub unknown_lost: usize,
    /// Puts with `Outcome::NotApplied`.
    pub not_applied: usize,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    prefix: String,
    /// The last acknowledged key.
    latest: Mutex<String>,
    reads: AtomicUsize,
    puts: AtomicUsize,
    stopped: watch::Receiver<bool>,
}

impl Load {
    /// Starts workers on keys under `prefix`, each with one call at a time. Beside them puts arrive at a steady rate whether or
    /// not those before have ended, so that what happened to calls of long ago does not hide what happens to new ones.
    ///
    /// A first put has succeeded when this returns.
    ///
    /// # Errors
    /// Those of that put.
    pub async fn start(
        client: &Client,
        prefix: &str,
        readers: usize,
        writers: usize,
    ) -> Result<Load> {
        let first = format!("{prefix}first");
        client.put(first.as_str(), first.as_str()).await?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            client: client.clone(),
            prefix: prefix.to_owned(),
            latest: Mutex::new(first),
            reads: AtomicUsize::new(0),
            puts: AtomicUsize::new(0),
            stopped,
        });
        let mut load = Load {
            readers: (0..readers).map(|_| shared.clone().read()).collect(),
            writers: (0..writers).map(|i| shared.clone().write(i)).collect(),
            shared: shared.clone(),
            stop,
        };
        load.writers.spawn(shared.arrive());
        Ok(load)
    }

    /// Waits until `reads` more reads and `puts` more puts have succeeded.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn more(&self, reads: usize, puts: usize, limit: Duration) -> Result<()> {
        let so_far = || {
            let shared = &self.shared;
            (
                shared.reads.load(Ordering::Relaxed),
                shared.puts.load(Ordering::Relaxed),
            )
        };
        let (reads, puts) = (so_far().0 + reads, so_far().1 + puts);
        let enough = async || so_far().0 >= reads && so_far().1 >= puts;
        wait::until("more calls have succeeded", limit, enough).await
    }

    /// Lets every worker end its call, and collects what they were told.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(true);
        Report {
            reads: Calls::new(self.readers).await,
            puts: Calls::new(self.writers).await,
            prefix: self.shared.prefix.clone(),
        }
    }
}

/// Makes `reads` reads at once, of the kind that any member answers by itself; the time that the slowest took.
///
/// # Errors
/// When one of them fails.
pub async fn slowest_read(client: &Client, reads: usize) -> Result<Duration> {
    let started = Instant::now();
    let read = || client.get(Get::key("k").serializable());
    try_join_all((0..reads).map(|_| read())).await?;
    Ok(started.elapsed())
}

impl Shared {
    async fn read(self: Arc<Self>) -> Vec<Call> {
        let mut calls = Vec::new();
        while !*self.stopped.borrow() {
            let key = lock(&self.latest).clone();
            let started = Instant::now();
            let read = self.client.get(key.as_str()).await;
            let result = read.map(|reply| reply.into_first().map_or(0, |kv| kv.mod_revision));
            if result.is_ok() {
                self.reads.fetch_add(1, Ordering::Relaxed);
            }
            calls.push(Call::new(key, started, result));
            tokio::time::sleep(REST).await;
        }
        calls
    }

    async fn write(self: Arc<Self>, writer: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        while !*self.stopped.borrow() {
            calls.push(self.put(format!("{writer}-{}", calls.len())).await);
            tokio::time::sleep(REST).await;
        }
        calls
    }

    async fn arrive(self: Arc<Self>) -> Vec<Call> {
        let mut calls = JoinSet::new();
        while !*self.stopped.borrow() {
            let (shared, name) = (self.clone(), format!("arrived-{}", calls.len()));
            calls.spawn(async move { shared.put(name).await });
            tokio::time::sleep(ARRIVALS).await;
        }
        calls.join_all().await
    }

    async fn put(&self, name: String) -> Call {
        let key = format!("{}{name}", self.prefix);
        let started = Instant::now();
        let put = self.client.put(key.as_str(), key.as_str()).await;
        let result = put.map(|reply| reply.header.map_or(0, |header| header.revision));
        if result.is_ok() {
            self.puts.fetch_add(1, Ordering::Relaxed);
            lock(&self.latest).clone_from(&key);
        }
        Call::new(key, started, result)
    }
}

impl Call {
    fn new(key: String, started: Instant, result: Result<i64, Error>) -> Call {
        let ended = Instant::now();
        Call {
            key,
            started,
            ended,
            result,
        }
    }

    /// From its start to its end.
    pub fn took(&self) -> Duration {
        self.ended - self.started
    }
}

impl Calls {
    async fn new(workers: JoinSet<Vec<Call>>) -> Calls {
        let mut calls: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
        calls.sort_by_key(|call| call.ended);
        Calls(calls)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Call> {
        self.0.iter()
    }

    /// The errors, each with its call.
    pub fn errors(&self) -> Vec<(&Call, &Error)> {
        let failed = self
            .iter()
            .filter_map(|call| Some((call, call.result.as_ref().err()?)));
        failed.collect()
    }

    /// The longest time in which none of them succeeded, though they were made throughout.
    pub fn longest_gap(&self) -> Duration {
        let succeeded = self.iter().filter(|call| call.result.is_ok());
        let ends: Vec<_> = succeeded.map(|call| call.ended).collect();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or(Duration::MAX)
    }

    /// The longest that one of them took, whatever its result.
    pub fn slowest(&self) -> Duration {
        self.iter().map(Call::took).max().unwrap_or_default()
    }
}

impl Report {
    /// Compares what the workers were told with what etcd holds now. To be called when no put can be under way any more, on
    /// a cluster whose members are all up.
    ///
    /// # Errors
    /// When a read that succeeded did not find its key, or a put was applied twice, or was not applied although it was
    /// acknowledged, or was applied although its error said that it was not, or is reported at another revision.
    pub async fn check(&self, client: &Client) -> Result<Tally> {
        for read in self.reads.iter() {
            ensure!(!matches!(read.result, Ok(0)), "stale read: {read:?}");
        }
        let found = client.get(Get::prefix(self.prefix.as_str())).await?.kvs;
        let found: HashMap<_, _> = found.iter().map(|kv| (&kv.key[..], kv)).collect();
        let mut tally = Tally::default();
        for put in self.puts.iter() {
            tally.add(put, found.get(put.key.as_bytes()).copied())?;
        }
        Ok(tally)
    }
}

impl Tally {
    fn add(&mut self, put: &Call, found: Option<&KeyValue>) -> Result<()> {
        if let Some(twice) = found.filter(|kv| kv.version != 1) {
            bail!("applied {} times: {put:?}", twice.version);
        }
        let count = match (&put.result, found) {
            (Ok(revision), Some(kv)) => {
                ensure!(kv.mod_revision == *revision, "{put:?} is {kv:?}");
                &mut self.acknowledged
            }
            (Ok(_), None) => bail!("lost although acknowledged: {put:?}"),
            (Err(error), found) => match (error.outcome(), found) {
                (Outcome::NotApplied, None) => &mut self.not_applied,
                (Outcome::NotApplied, Some(kv)) => bail!("{put:?} was applied: {kv:?}"),
                (Outcome::Unknown, Some(_)) => &mut self.unknown_applied,
                (Outcome::Unknown, None) => &mut self.unknown_lost,
            },
        };
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(result: Result<i64, Outcome>) -> Call {
        let result = result.map_err(|outcome| Error::Closed { outcome });
        Call::new("k".to_owned(), Instant::now(), result)
    }

    fn kv(version: i64, mod_revision: i64) -> KeyValue {
        KeyValue {
            version,
            mod_revision,
            ..Default::default()
        }
    }

    #[test]
    fn the_check_catches_every_lie_about_a_put() {
        use Outcome::{NotApplied, Unknown};
        let truths = [
            (Ok(7), Some(kv(1, 7))),
            (Err(NotApplied), None),
            (Err(Unknown), None),
            (Err(Unknown), Some(kv(1, 7))),
        ];
        let mut tally = Tally::default();
        for (result, found) in truths {
            tally.add(&put(result), found.as_ref()).unwrap();
        }
        let one_of_each = Tally {
            acknowledged: 1,
            unknown_applied: 1,
            unknown_lost: 1,
            not_applied: 1,
        };
        assert_eq!(tally, one_of_each);

        let lies = [
            (Ok(7), None),
            (Ok(7), Some(kv(1, 8))),
            (Ok(7), Some(kv(2, 7))),
            (Err(NotApplied), Some(kv(1, 7))),
            (Err(Unknown), Some(kv(2, 7))),
        ];
        for (result, found) in lies {
            let call = put(result);
            assert!(tally.add(&call, found.as_ref()).is_err(), "{call:?}");
        }
    }
}
