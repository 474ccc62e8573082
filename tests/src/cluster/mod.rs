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

mod join;
mod member;
mod partition;
mod query;
mod target;
mod version;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use self::member::{Janitor, Process, default_binary, ended, excerpt};
use self::partition::{Isolated, Relays};
pub use self::target::{Prefix, Target};
pub use self::version::next_binary;
use crate::ports::Port;
use crate::{http, lock};

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

/// How to start a [`Cluster`].
#[derive(Debug, Clone)]
pub struct Builder {
    members: usize,
    args: Vec<String>,
    binary: Option<PathBuf>,
    client_ports: Vec<u16>,
    partitionable: bool,
    progress_interval: Option<Duration>,
}

#[derive(Debug)]
struct Member {
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
        Builder {
            members: 1,
            args: Vec::new(),
            binary: None,
            client_ports: Vec::new(),
            partitionable: false,
            progress_interval: None,
        }
    }

    /// How many members the cluster has, running or not.
    #[expect(clippy::len_without_is_empty, reason = "a cluster is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The client URL of every member, `http://127.0.0.1:port`.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|i| self.endpoint(i)).collect()
    }

    /// The client URL of member `i`.
    ///
    /// # Panics
    /// Like every method that takes an index: when there is no member `i`.
    pub fn endpoint(&self, i: usize) -> String {
        format!("http://{}", self.members[i].host())
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
        member.until_answers(&member.client, "/health").await
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

impl Builder {
    /// How many members; 1 unless told.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// More etcd flags, for every member.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The etcd to run; unless told, the one the environment variable `ETCD_BIN` names, else the 3.7.2 that comes with the tests.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// The client ports that the members should have, in their order. A member whose port is taken, or that has none here, gets any.
    pub fn client_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.client_ports = ports.into_iter().collect();
        self
    }

    /// How often a member tells a watch that asks for it how far it has got: etcd's flag for that has had two names. 10 min unless told.
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = Some(interval);
        self
    }

    /// Puts relays between the members, so that one can be [isolated](Cluster::isolate). They work as long as the tokio runtime does
    /// in which the cluster is started.
    pub fn partitionable(mut self) -> Self {
        self.partitionable = true;
        self
    }

    /// Starts the cluster and waits until every member serves and knows a leader.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start(self) -> Result<Cluster> {
        ensure!(self.members > 0, "a cluster has at least one member");
        // Ports are reserved among test processes; another program can still be quicker.
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.attempt().await {
                Err(cause)
                    if attempts < 4 && format!("{cause:#}").contains("address already in use") => {}
                done => return done,
            }
        }
    }

    async fn attempt(&self) -> Result<Cluster> {
        let binary = self.binary.clone().map_or_else(default_binary, Ok)?;
        let builder = self.clone().for_binary(&binary)?;
        let dir = tempfile::Builder::new().prefix("etcd-tests-").tempdir()?;
        let janitor = Janitor::start(dir.path())?;
        let ports = (0..self.members)
            .map(|i| {
                let wanted = self.client_ports.get(i).copied();
                let client = wanted.map_or_else(Port::reserve, Port::prefer)?;
                Ok((client, Port::reserve()?))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut known: Vec<_> = ports.iter().map(|(_, peer)| peer.address()).collect();
        let mut relays = None;
        if self.partitionable {
            let started = Relays::start(&known).await?;
            known = (0..self.members).map(|i| started.address(i)).collect();
            relays = Some(started);
        }
        let token = dir.path().to_string_lossy().into_owned();
        let member = |(i, (client, peer)): (usize, (Port, Port))| Member {
            args: builder.flags(i, &client, &peer, &known, &token, dir.path()),
            log: dir.path().join(format!("m{i}.log")),
            binary: binary.clone(),
            client,
            peer,
            process: Mutex::new(None),
        };
        let members = ports.into_iter().enumerate().map(member).collect();
        let cluster = Cluster {
            members,
            relays,
            dir,
            _janitor: janitor,
            builder,
        };
        // One after the other: a new member first asks its peers whether it was ever a member, and would wait a whole second
        // for one that listens but does not answer yet, because it is asking the same.
        for member in &cluster.members {
            member.start()?;
            member.until_answers(&member.peer, "/members").await?;
        }
        for i in 0..cluster.len() {
            cluster.wait_ready(i).await?;
        }
        Ok(cluster)
    }

    fn flags(
        &self,
        i: usize,
        client: &Port,
        peer: &Port,
        known: &[SocketAddr],
        token: &str,
        dir: &Path,
    ) -> Vec<String> {
        let client = format!("http://{}", client.address());
        let peer = format!("http://{}", peer.address());
        let peers: Vec<_> = (0..)
            .zip(known)
            .map(|(i, at)| format!("m{i}=http://{at}"))
            .collect();
        let data = dir.join(format!("m{i}")).display().to_string();
        let flags = [
            ("name", format!("m{i}").as_str()),
            ("data-dir", &data),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            (
                "initial-advertise-peer-urls",
                &format!("http://{}", known[i]),
            ),
            ("initial-cluster", &peers.join(",")),
            ("initial-cluster-token", token),
            ("log-level", "warn"),
        ]
        .map(|(flag, value)| format!("--{flag}={value}"));
        let fsync = "--unsafe-no-fsync".to_owned();
        flags
            .into_iter()
            .chain([fsync])
            .chain(self.args.iter().cloned())
            .collect()
    }
}

impl Member {
    fn host(&self) -> String {
        self.client.address().to_string()
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

    /// Waits until GET `path` on one of the member's ports is answered with 200.
    async fn until_answers(&self, port: &Port, path: &'static str) -> Result<()> {
        let start = Instant::now();
        loop {
            self.check_running()?;
            match http::get_async(port.address().to_string(), path, ANSWER_LIMIT).await {
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
