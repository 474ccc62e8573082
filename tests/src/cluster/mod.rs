//! Real etcd clusters on loopback ports, to be killed, stopped and restarted.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use etcd_tests::cluster::Cluster;
//!
//! let cluster = Cluster::start(3).await?;
//! let leader = cluster.wait_leader().await?;
//! cluster.kill(leader).await?; // SIGKILL
//! assert_ne!(cluster.wait_leader().await?, leader);
//! cluster.restart(leader)?;
//! cluster.wait_ready(leader).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Suites that kill nothing take a [`Target`] instead: one member for the whole test binary, or the user's own cluster.

mod builder;
mod join;
mod member;
mod partition;
mod query;
mod target;
mod version;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

pub use self::builder::Builder;
use self::member::{Janitor, Process, ended, excerpt};
use self::partition::{Isolated, Relays};
pub use self::target::{Prefix, Target};
pub use self::version::next_binary;
use crate::ports::Port;
use crate::{http, lock, tls};

/// How long a member may take to serve, on a machine that is busy with other test binaries.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a member may take over a graceful end.
const TERMINATE_LIMIT: Duration = Duration::from_secs(30);
/// How long a member may take to answer one of the harness's own requests.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A running etcd cluster of this test's own.
///
/// Members are named by index, from 0.  Dropping the cluster kills every member, stopped ones too, and removes all files;
/// the same happens when the test process is killed.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: processes first, then their files, then the janitor, who finds nothing left to do.
    members: Vec<Member>,
    relays: Option<Relays>,
    dir: TempDir,
    _janitor: Janitor,
    builder: Builder,
}

#[derive(Debug)]
struct Member {
    /// Clients are served with TLS.
    tls: bool,
    client: Port,
    peer: Port,
    binary: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Cluster {
    /// Starts a cluster of `members` members and waits until each of them serves and knows a leader.
    ///
    /// # Errors
    /// When a member ends or is not ready within 60 s; the error has its log, shortened.
    pub async fn start(members: usize) -> Result<Cluster> {
        Self::builder().members(members).start().await
    }

    /// A cluster with settings: one member, etcd's default flags but for fsync (off) and log level (warn).
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// How many members the cluster has, running or not.
    #[expect(clippy::len_without_is_empty, reason = "a cluster is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The client URL of every member, `http://127.0.0.1:port` (`https` with TLS).
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|i| self.endpoint(i)).collect()
    }

    /// The client URL of member `i`.
    ///
    /// # Panics
    /// Like every method that takes an index: when there is no member `i`.
    pub fn endpoint(&self, i: usize) -> String {
        self.members[i].client_url()
    }

    /// The client address of member `i`, as `127.0.0.1:port`: what a [`Proxy`](crate::proxy::Proxy) connects to.
    pub fn address(&self, i: usize) -> String {
        self.members[i].host()
    }

    /// The directory with all data and logs (`m0.log`, `m1.log`, …); it goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills member `i` with SIGKILL, stopped or not, and returns when it is gone.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&self, i: usize) -> Result<()> {
        self.end(i, Signal::KILL).await
    }

    /// Ends member `i` with SIGTERM, as an operator would: it hands over leadership and closes its streams.
    ///
    /// # Errors
    /// When it is not running, or has not ended after 30 s (a stopped member does not).
    pub async fn terminate(&self, i: usize) -> Result<()> {
        self.end(i, Signal::TERM).await
    }

    /// Stops member `i` with SIGSTOP, and returns when it has stopped: its sockets stay open, nothing answers.
    ///
    /// # Errors
    /// When it is not running, or has not stopped after 5 s.
    pub fn pause(&self, i: usize) -> Result<()> {
        lock(&self.members[i].process)
            .as_mut()
            .context("the member is not running")?
            .stop()
    }

    /// Lets a member that was paused go on (SIGCONT).
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self, i: usize) -> Result<()> {
        self.members[i].signal(Signal::CONT)
    }

    /// Starts member `i` again on its old ports and data, killing it first if it runs. Does not wait: see
    /// [`wait_ready`](Self::wait_ready).
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn restart(&self, i: usize) -> Result<()> {
        self.members[i].start()
    }

    /// Waits until member `i` serves and knows a leader.
    ///
    /// # Errors
    /// When it has ended, or is not ready within 60 s; the error has its log, shortened.
    pub async fn wait_ready(&self, i: usize) -> Result<()> {
        let member = &self.members[i];
        member.until_answers(member.client_url(), "/health").await
    }

    /// Cuts member `i` off from the others, and no other one. Clients reach it as before; it soon knows no leader.
    ///
    /// # Errors
    /// When it does not say who it is within 1 s, or the cluster was not started
    /// [`partitionable`](Builder::partitionable).
    pub async fn isolate(&self, i: usize) -> Result<()> {
        let relays = self.relays.as_ref().context("not partitionable")?;
        let id = self.member_id(i).await?;
        relays.isolate(Some(Isolated { index: i, id }));
        Ok(())
    }

    /// Ends [`isolate`](Self::isolate).
    pub fn heal(&self) {
        self.relays.iter().for_each(|relays| relays.isolate(None));
    }

    async fn end(&self, i: usize, signal: Signal) -> Result<()> {
        let member = &self.members[i];
        member.signal(signal)?;
        let exited = || {
            Ok(lock(&member.process)
                .as_mut()
                .map_or(Ok(None), Process::exited)?
                .is_some())
        };
        ended(exited, TERMINATE_LIMIT)
            .await
            .with_context(|| format!("member {i}"))?;
        lock(&member.process).take();
        Ok(())
    }
}

impl Member {
    fn host(&self) -> String {
        self.client.address().to_string()
    }

    fn client_url(&self) -> String {
        format!("{}://{}", tls::scheme(self.tls), self.host())
    }

    fn start(&self) -> Result<()> {
        let mut process = lock(&self.process);
        process.take();
        *process = Some(Process::start(&self.binary, &self.args, &self.log)?);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        lock(&self.process)
            .as_mut()
            .context("the member is not running")?
            .signal(signal)
    }

    /// Waits until GET `path` of one of the member's URLs is answered with 200.
    async fn until_answers(&self, url: String, path: &'static str) -> Result<()> {
        let start = Instant::now();
        loop {
            self.check_running()?;
            match http::get_async(url.clone(), path, ANSWER_LIMIT).await {
                Ok(_) => return Ok(()),
                Err(cause) if start.elapsed() > START_LIMIT => {
                    let log = excerpt(&self.log);
                    return Err(cause.context(format!("no {path} within {START_LIMIT:?}:\n{log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn check_running(&self) -> Result<()> {
        let Some(status) = lock(&self.process)
            .as_mut()
            .context("the member is not running")?
            .exited()?
        else {
            return Ok(());
        };
        bail!(
            "{} ended with {status}:\n{}",
            self.binary.display(),
            excerpt(&self.log)
        )
    }
}
