//! The values of all options, with their defaults, and what they must not be.

use std::sync::Arc;
use std::time::Duration;

use super::{LONGEST, Open};
use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::net::connect::{Connector, Dialler};
use crate::net::ping::PingOptions;
use crate::net::{CurrentToken, Headers, Names, Tcp};
use crate::pool::{Balance, PoolOptions, Version};
use crate::tls::{Context, Tls};

/// The options of a client, all with a value.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) name: Arc<str>,
    pub(crate) credentials: Credentials,
    pub(crate) tls: Option<Tls>,
    pub(crate) dial_timeout: Duration,
    pub(crate) dns_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) tcp: Tcp,
    pub(crate) dialler: Option<Dialler>,
    pub(crate) tls_handshake_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) read_attempt_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) receive_limit: usize,
    pub(crate) ping: PingOptions,
    pub(crate) headers: Headers,
    pub(crate) min_server_version: Option<Arc<str>>,
    pub(crate) watch_queue_revisions: usize,
    pub(crate) watch_queue_bytes: usize,
    pub(crate) max_revision_bytes: usize,
    pub(crate) balance: Balance,
    pub(crate) open: Open,
    pub(crate) auto_sync: Duration,
    pub(crate) monotonic_reads: bool,
    pub(crate) health_check_interval: Duration,
    pub(crate) health_watch: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "etcd".into(),
            credentials: Credentials::default(),
            tls: None,
            dial_timeout: Duration::from_secs(5),
            dns_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            tcp: Tcp::default(),
            dialler: None,
            tls_handshake_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(8),
            read_attempt_timeout: Duration::from_secs(3),
            limits: Limits::default(),
            receive_limit: 64 << 20,
            ping: PingOptions::default(),
            headers: Headers::default(),
            min_server_version: None,
            watch_queue_revisions: 1024,
            watch_queue_bytes: 16 << 20,
            max_revision_bytes: 64 << 20,
            balance: Balance::default(),
            open: Open::default(),
            auto_sync: Duration::ZERO,
            monotonic_reads: false,
            health_check_interval: Duration::from_secs(15),
            health_watch: false,
        }
    }
}

impl Options {
    pub(crate) fn pool(&self, tls: Option<Arc<Context>>) -> PoolOptions {
        PoolOptions {
            connector: Connector {
                dns_timeout: self.dns_timeout,
                tcp: self.tcp.clone(),
                dialler: self.dialler.clone(),
                names: Names::default(),
                connect_timeout: self.connect_timeout,
                tls_timeout: self.tls_handshake_timeout,
                tls,
            },
            dial_timeout: self.dial_timeout,
            connect_timeout: self.connect_timeout,
            ping: self.ping,
            receive_limit: self.receive_limit,
            headers: self.headers.clone(),
            token: CurrentToken::default(),
            balance: self.balance,
            health_interval: self.health_check_interval,
            health_watch: self.health_watch,
            min_version: self.min_server_version.as_deref().and_then(Version::parse),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let durations = [
            ("dial_timeout", self.dial_timeout),
            ("dns_timeout", self.dns_timeout),
            ("connect_timeout", self.connect_timeout),
            ("tls_handshake_timeout", self.tls_handshake_timeout),
            ("request_timeout", self.request_timeout),
            ("read_attempt_timeout", self.read_attempt_timeout),
            ("keep_alive_interval", self.ping.keep_alive_interval),
            ("keep_alive_timeout", self.ping.keep_alive_timeout),
            ("suspect_after", self.ping.suspect_after),
            ("dead_after", self.ping.dead_after),
        ];
        if let Some((option, _)) = durations.into_iter().find(|(_, value)| value.is_zero()) {
            return Err(Error::config(option, "must be longer than zero"));
        }
        if let Some((option, _)) = durations.into_iter().find(|(_, value)| *value > LONGEST) {
            return Err(Error::config(option, "must not be longer than a year"));
        }
        let intervals = [
            ("auto_sync", self.auto_sync),
            ("health_check_interval", self.health_check_interval),
        ];
        if let Some((option, _)) = intervals.into_iter().find(|(_, value)| *value > LONGEST) {
            return Err(Error::config(option, "must not be longer than a year"));
        }
        if self.balance == Balance::Pinned && matches!(self.open, Open::Majority | Open::All) {
            return Err(Error::config(
                "open",
                "with Balance::Pinned there is only one connection",
            ));
        }
        if let Some((option, wrong)) = self.tcp.wrong() {
            return Err(Error::config(option, wrong));
        }
        let sizes = [
            ("receive_limit", self.receive_limit),
            ("watch_queue_revisions", self.watch_queue_revisions),
            ("watch_queue_bytes", self.watch_queue_bytes),
            ("max_revision_bytes", self.max_revision_bytes),
        ];
        if let Some((option, _)) = sizes.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::config(option, "must be larger than zero"));
        }
        if let Some(wrong) = self.headers.wrong() {
            return Err(Error::config("header", wrong));
        }
        match &self.min_server_version {
            Some(text) if Version::parse(text).is_none() => {
                let why = format!("`{text}` is no version such as 3.5 or 3.5.21");
                Err(Error::config("min_server_version", why))
            }
            _ => Ok(()),
        }
    }
}
