//! Traffic: tasks that put unique values, and tasks that read what was put.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use etcd_core::{Client, Error, Outcome};
use tokio::task::JoinHandle;

use crate::say::say;

pub(crate) const WRITERS: usize = 8;
pub(crate) const READERS: usize = 8;
/// Between two calls of a task: the point is not how much the machine can do.
const PAUSE: Duration = Duration::from_millis(4);
/// A put that a leader took with it is answered by nobody: etcd gives up after 7 s, the demo's writers sooner.
pub(crate) const PUT_LIMIT: Duration = Duration::from_millis(1500);
/// How many errors are shown as they come; all are counted.
const SHOWN: usize = 6;

/// How a put ended. The key is the value, too.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) key: String,
    pub(crate) end: PutEnd,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PutEnd {
    /// At this revision.
    Acknowledged(i64),
    Failed(Outcome),
}

/// A call that succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// All that was done.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) puts: Vec<Put>,
    pub(crate) writes: Vec<Done>,
    pub(crate) reads: Vec<Done>,
    pub(crate) read_errors: usize,
    /// Reads that returned something else than what was put.
    pub(crate) wrong_reads: usize,
}

/// Running traffic.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Log>>,
}

struct Shared {
    client: Client,
    prefix: Arc<str>,
    stop: AtomicBool,
    errors: AtomicUsize,
    /// The newest acknowledged key of each writer, for readers to read.
    newest: [Mutex<Option<String>>; WRITERS],
}

impl Traffic {
    pub(crate) fn start(client: &Client, prefix: &Arc<str>) -> Traffic {
        let shared = Arc::new(Shared {
            client: client.clone(),
            prefix: prefix.clone(),
            stop: AtomicBool::new(false),
            errors: AtomicUsize::new(0),
            newest: Default::default(),
        });
        let writers = (0..WRITERS).map(|i| tokio::spawn(shared.clone().write(i)));
        let mut tasks: Vec<_> = writers.collect();
        tasks.extend((0..READERS).map(|i| tokio::spawn(shared.clone().read(i))));
        Traffic { shared, tasks }
    }

    /// Ends the traffic when the calls under way have ended.
    pub(crate) async fn stop(self) -> Result<Log> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Log::default();
        for task in self.tasks {
            let log = task.await?;
            all.puts.extend(log.puts);
            all.writes.extend(log.writes);
            all.reads.extend(log.reads);
            all.read_errors += log.read_errors;
            all.wrong_reads += log.wrong_reads;
        }
        Ok(all)
    }
}

impl Shared {
    async fn write(self: Arc<Self>, writer: usize) -> Log {
        let mut log = Log::default();
        let client = self.client.timeout(PUT_LIMIT);
        while !self.stop.load(Ordering::Relaxed) {
            let key = format!("{}{writer}/{:06}", self.prefix, log.puts.len());
            let start = Instant::now();
            let end = match client.put(key.clone(), key.clone()).await {
                Ok(reply) => {
                    log.writes.push(Done {
                        start,
                        end: Instant::now(),
                    });
                    *self.newest(writer) = Some(key.clone());
                    PutEnd::Acknowledged(reply.revision())
                }
                Err(error) => {
                    self.show("put", start, &error);
                    PutEnd::Failed(error.outcome())
                }
            };
            log.puts.push(Put { key, end });
            tokio::time::sleep(PAUSE).await;
        }
        log
    }

    async fn read(self: Arc<Self>, reader: usize) -> Log {
        let mut log = Log::default();
        while !self.stop.load(Ordering::Relaxed) {
            let key = self.newest(reader % WRITERS).clone();
            if let Some(key) = key {
                let start = Instant::now();
                match self.client.get(key.clone()).await {
                    Ok(reply) => {
                        log.reads.push(Done {
                            start,
                            end: Instant::now(),
                        });
                        let right = reply.first().is_some_and(|kv| kv.value == key);
                        log.wrong_reads += usize::from(!right);
                    }
                    Err(error) => {
                        self.show("get", start, &error);
                        log.read_errors += 1;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        log
    }

    fn newest(&self, writer: usize) -> std::sync::MutexGuard<'_, Option<String>> {
        self.newest[writer]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, call: &str, start: Instant, error: &Error) {
        let number = self.errors.fetch_add(1, Ordering::Relaxed);
        if number < SHOWN {
            say!(
                "  a {call} failed after {:.3} s: {error}",
                start.elapsed().as_secs_f64()
            );
        } else if number == SHOWN {
            say!("  further errors are only counted");
        }
    }
}
