//! The builder: what a client is made from, each option with its default.

mod connecting;
mod endpoints;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::endpoints::Admission;
use crate::error::{Error, Result};
use crate::tls::{Context, Tls};

pub use self::endpoints::Open;
pub(crate) use self::values::Options;

/// What a client is made from. Made by [`Client::builder`]; ended by [`connect`](Self::connect) or [`build`](Self::build).
///
/// ```no_run
/// # async fn run() -> etcd_core::Result<()> {
/// use std::time::Duration;
/// let client = etcd_core::Client::builder()
///     .endpoints(["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"])
///     .name("billing")
///     .request_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    pub(crate) endpoints: Vec<String>,
    pub(crate) options: Options,
}

/// The longest of all times. The clock cannot be asked for any point in time, and nobody waits for longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            options: Options::default(),
        }
    }

    /// The cluster's client endpoints: `http://host:port`, `https://host:port`, `host:port` or `host` (port 2379), IPv6 in
    /// brackets; or a socket, `unix:/path` or `unixs:/path` (relative: `unix:path`). Each item may also be a comma-separated
    /// list. At least one is needed; duplicates are dropped.
    ///
    /// All connections of a client are encrypted, or none: with [`tls`](Self::tls), `host:port` stands for https and `unix:`
    /// for `unixs:`, and `http` is refused; without it, `https` and `unixs` are refused.
    #[doc(alias = "add_endpoint")]
    pub fn endpoints<E: AsRef<str>>(mut self, endpoints: impl IntoIterator<Item = E>) -> Self {
        self.endpoints.extend(
            endpoints
                .into_iter()
                .map(|endpoint| endpoint.as_ref().to_owned()),
        );
        self
    }

    /// The client's name in tables and logs. Default: `etcd`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into().into();
        self
    }

    /// The user that the client is, and its password. The client logs in when it needs a token, once for all calls, watches and
    /// leases, and again when etcd refuses the token: because it expired, or users, roles or the whole of authentication changed.
    /// While authentication is off on the cluster, it goes without. A password that etcd does not accept is tried again after
    /// half a second at the earliest, later every 10 s, however many calls ask for it.
    ///
    /// A user that etcd knows by the common name of the client's TLS certificate needs neither this nor a token. Default: none.
    #[doc(alias("user", "with_user", "username", "password"))]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options.credentials.user = Some(user.into().into());
        self.options.credentials.password = Some(password.into().into());
        self
    }

    /// Where tokens come from that others than etcd sign (`--auth-token jwt`), or that are kept elsewhere. Asked when a token is
    /// needed, and again when etcd refuses the one it gave: then it must give another one. It has no time limit but those of the
    /// calls that wait for it; its errors are theirs, as `Error::Login`, and after one it is left alone for half a second at
    /// least, 10 s at most. It is not asked by two at the same time. Excludes [`credentials`](Self::credentials). Default: none.
    ///
    /// ```no_run
    /// # async fn run() -> etcd_core::Result<()> {
    /// let client = etcd_core::Client::builder()
    ///     .endpoints(["localhost:2379"])
    ///     .token_provider(|| tokio::fs::read_to_string("/run/secrets/etcd.jwt"))
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias("jwt", "Token", "with_token"))]
    pub fn token_provider<F, Fut, T, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.options.credentials.provide(provider);
        self
    }

    /// Lets password and token go over connections that are not encrypted, to other machines than this one: whoever is on the way
    /// can read them. Without it, a client with credentials and such an endpoint is not made. Default: refused.
    pub fn allow_plaintext_credentials(mut self) -> Self {
        self.options.credentials.allow_plaintext = true;
        self
    }

    /// How long [`connect`](Self::connect) waits for usable endpoints, and for a token; and the time limit of one attempt to
    /// connect to an endpoint, with all its phases. Default: 5 s.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.options.dial_timeout = timeout;
        self
    }

    /// Encrypts every connection. Default: none is.
    #[doc(alias = "with_tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// Time limit of a call, with queueing, connecting and retries; [`Client::timeout`] sets another for some calls. Calls
    /// that block by design (Lock, Campaign) and maintenance calls that take as long as they take (Defragment, Hash) have
    /// none. Default: 8 s, longer than the 7 s after which etcd itself gives up.
    #[doc(alias = "with_timeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// Time limit of one attempt of a point read, after which another endpoint is asked. Default: 3 s.
    pub fn read_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.options.read_attempt_timeout = timeout;
        self
    }

    /// The servers' `--max-txn-ops`; transactions with more operations are refused before they are sent. 0 leaves it to the
    /// server. Default: 128, as etcd's.
    pub fn max_txn_ops(mut self, operations: usize) -> Self {
        self.options.limits.max_txn_ops = operations;
        self
    }

    /// The servers' `--max-request-bytes`; larger requests are refused before they are sent. 0 leaves it to the server.
    /// Default: 1.5 MiB, as etcd's.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.options.limits.max_request_bytes = bytes;
        self
    }

    /// Largest reply of a call, in bytes as it is sent. Default: 64 MiB. What it takes in memory when it is decoded is about
    /// as much for a reply from etcd; a server that means harm can make it some fifty times as much, with nothing but empty
    /// pairs.
    #[doc(alias = "max_decoding_message_size")]
    pub fn receive_limit(mut self, bytes: usize) -> Self {
        self.options.receive_limit = bytes;
        self
    }

    /// Time between HTTP/2 PINGs on a connection with open streams or calls. etcd closes connections that PING more often
    /// than every 5 s. Default: 6 s.
    #[doc(alias = "with_keep_alive")]
    pub fn keep_alive_interval(mut self, interval: Duration) -> Self {
        self.options.ping.keep_alive_interval = interval;
        self
    }

    /// How long such a PING may stay unanswered before the connection is given up. Default: 3 s.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.options.ping.keep_alive_timeout = timeout;
        self
    }

    /// Silence, with calls under way, after which a connection is asked by a PING whether it still lives; the time is at least
    /// four round trips. After the same time again it is suspect: new calls and pending point reads go elsewhere.
    /// Default: 150 ms.
    pub fn suspect_after(mut self, silence: Duration) -> Self {
        self.options.ping.suspect_after = silence;
        self
    }

    /// How long the PING of a suspect connection may stay unanswered before the connection is given up and its pending writes
    /// end with [`Outcome::Unknown`](crate::Outcome::Unknown). Default: 3 s.
    pub fn dead_after(mut self, silence: Duration) -> Self {
        self.options.ping.dead_after = silence;
        self
    }

    /// What a watcher may hold for a reader that falls behind: revisions, and bytes of keys and values. Beyond that it is
    /// parked, and resumed when its reader has caught up. Default: 1,024 revisions, 16 MiB.
    pub fn watch_queue(mut self, revisions: usize, bytes: usize) -> Self {
        self.options.watch_queue_revisions = revisions;
        self.options.watch_queue_bytes = bytes;
        self
    }

    /// Bytes of keys and values that one revision of a watch may have. Default: 64 MiB.
    pub fn max_revision_bytes(mut self, bytes: usize) -> Self {
        self.options.max_revision_bytes = bytes;
        self
    }

    /// Adds a header to every request, for gateways and proxies on the way to etcd: ASCII metadata, in gRPC's words. It may be
    /// given more than once. Names that HTTP/2, gRPC or this client uses are refused when the client is made (`te`,
    /// `content-type`, `user-agent`, `token`, `hasleader`, `grpc-…`), and so are names that end in `-bin`. Default: none.
    #[doc(alias("metadata", "interceptor"))]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.options
            .headers
            .add(name.as_ref(), value.as_ref(), false);
        self
    }

    /// Adds a header whose value is secret: as [`header`](Self::header), but the value is printed nowhere, and HTTP/2 does not
    /// keep it in its compression tables.
    pub fn sensitive_header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.options
            .headers
            .add(name.as_ref(), value.as_ref(), true);
        self
    }

    /// The oldest etcd to talk to, such as `3.5` or `3.5.21`: an endpoint whose `Status` tells an older version is not used, and
    /// says so as the cause of its failure. It is asked again from time to time, and used once it was upgraded. An endpoint
    /// that tells no version is used. Default: any version.
    #[doc(alias("RejectOldCluster", "reject_old_cluster"))]
    pub fn min_server_version(mut self, version: impl Into<String>) -> Self {
        self.options.min_server_version = Some(version.into().into());
        self
    }

    /// Makes the client without waiting: it connects in the background, and calls wait for the first usable endpoint.
    ///
    /// # Errors
    /// `Error::Config` for a bad option or endpoint, for a password that everybody could read on its way, or outside a tokio
    /// runtime.
    pub fn build(self) -> Result<Client> {
        self.options.check()?;
        let tls = self.options.tls.clone().map(Context::new).transpose()?;
        let admission = Admission::new(tls.map(Arc::new), self.options.credentials.clone());
        let endpoints = admission.list(&self.endpoints)?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::config(
                "build",
                "a client must be made inside a tokio runtime",
            ));
        }
        Ok(Client::new(endpoints, self.options, admission))
    }

    /// Makes the client and waits, up to the dial timeout, until one endpoint has answered, or as many as
    /// [`open`](Self::open) says, and, with credentials, the client has logged in.
    ///
    /// # Errors
    /// Those of [`build`](Self::build); `Error::NoActiveEndpoint` naming every endpoint and its last failure, or
    /// `Error::Timeout` with the same when some answered, but too few; `Error::Login` when there are credentials and no token is
    /// to be had for them.
    ///
    /// Cancel safe: a client that was not returned is closed.
    pub async fn connect(self) -> Result<Client> {
        let (dial_timeout, open) = (self.options.dial_timeout, self.options.open);
        let client = self.build()?;
        if open == Open::Lazy {
            return Ok(client);
        }
        let started = Instant::now();
        client.wait_open(open, dial_timeout).await?;
        let rest = dial_timeout.saturating_sub(started.elapsed());
        client.log_in(rest).await?;
        Ok(client)
    }
}
