//! How a cluster is started: its settings, flags, ports and certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::member::{Janitor, default_binary};
use super::partition::Relays;
use super::{Cluster, Member};
use crate::ports::Port;
use crate::tls::{self, Authority};

/// How to start a [`Cluster`].
#[derive(Debug, Clone)]
pub struct Builder {
    members: usize,
    pub(super) args: Vec<String>,
    binary: Option<PathBuf>,
    client_ports: Vec<u16>,
    partitionable: bool,
    pub(super) progress_interval: Option<Duration>,
    pub(super) tls: bool,
    client_cert_auth: bool,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            members: 1,
            args: Vec::new(),
            binary: None,
            client_ports: Vec::new(),
            partitionable: false,
            progress_interval: None,
            tls: tls::by_default(),
            client_cert_auth: false,
        }
    }

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

    /// Whether clients are served with TLS, by a certificate of [`Authority::shared`]; members speak plaintext among each other. As the
    /// environment says ([`tls::by_default`]), unless told.
    pub fn tls(mut self, yes: bool) -> Self {
        self.tls = yes;
        self
    }

    /// Serves clients with TLS, and only those that have a certificate of [`Authority::shared`].
    pub fn client_cert_auth(mut self) -> Self {
        self.client_cert_auth = true;
        self.tls(true)
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
        if self.tls {
            write_certificates(dir.path())?;
        }
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
            tls: self.tls,
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
            let peer = format!("http://{}", member.peer.address());
            member.until_answers(peer, "/members").await?;
        }
        for i in 0..cluster.len() {
            cluster.wait_ready(i).await?;
        }
        Ok(cluster)
    }

    pub(super) fn flags(
        &self,
        i: usize,
        client: &Port,
        peer: &Port,
        known: &[SocketAddr],
        token: &str,
        dir: &Path,
    ) -> Vec<String> {
        let client = format!("{}://{}", tls::scheme(self.tls), client.address());
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
            .chain(self.tls_flags(dir))
            .chain(self.args.iter().cloned())
            .collect()
    }

    fn tls_flags(&self, dir: &Path) -> Vec<String> {
        let flag = |name, file| format!("--{name}={}", dir.join(file).display());
        let mut flags = Vec::new();
        if self.tls {
            flags.extend([flag("cert-file", CERT), flag("key-file", KEY)]);
        }
        if self.client_cert_auth {
            flags.extend([flag("trusted-ca-file", CA), "--client-cert-auth".to_owned()]);
        }
        flags
    }
}

const CA: &str = "ca.pem";
const CERT: &str = "server.pem";
const KEY: &str = "server-key.pem";

fn write_certificates(dir: &Path) -> Result<()> {
    let authority = Authority::shared()?;
    let server = authority.identity()?;
    fs::write(dir.join(CA), authority.pem())?;
    fs::write(dir.join(CERT), server.cert)?;
    fs::write(dir.join(KEY), server.key)?;
    Ok(())
}
