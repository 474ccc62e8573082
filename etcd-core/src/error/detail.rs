//! What the variants of [`Error`](super::Error) carry, and how it reads in a log.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Outcome, TlsError};

/// An option or an endpoint that cannot be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvalidOption {
    /// The option's name, as in the builder.
    pub option: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {}: {}", self.option, Line(&self.reason))
    }
}

/// One endpoint, as the pool saw it when a call had to be given up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointReport {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// Its state: `Connecting`, `Active`, `Suspect` or `Frozen`.
    pub state: &'static str,
    /// Its last failure, if it had one.
    pub cause: Option<String>,
    /// What was wrong about TLS, if that was the failure.
    pub tls: Option<TlsError>,
}

impl fmt::Display for EndpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.endpoint, self.state)?;
        match &self.cause {
            Some(cause) => write!(f, " ({})", Line(cause)),
            None => Ok(()),
        }
    }
}

/// Why an endpoint failed.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) text: Arc<str>,
    pub(crate) tls: Option<TlsError>,
}

/// Without the endpoint, which is known where the cause is kept.
impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        let text = match error {
            Error::Connection(lost) => lost.cause.to_string(),
            _ => error.to_string(),
        };
        Self {
            text: text.into(),
            tls: error.tls().cloned(),
        }
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            tls: None,
        }
    }
}

/// Every endpoint of the client, none of which could take the call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unreachable {
    /// Every endpoint, its state, and its last failure.
    pub endpoints: Vec<EndpointReport>,
    /// What is known about the write.
    pub outcome: Outcome,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no endpoint can take calls{}{}",
            List(&self.endpoints),
            known(self.outcome)
        )
    }
}

/// A time limit that passed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimedOut {
    /// How long the call, or this attempt of it, had been under way.
    pub elapsed: Duration,
    /// What it was waiting for: `an active endpoint`, `the reply`.
    pub waiting_for: &'static str,
    /// What is known about the write.
    pub outcome: Outcome,
    /// The endpoint it had been sent to, or was to be sent to, if one had been chosen.
    pub endpoint: Option<Arc<str>>,
    /// Every endpoint, its state, and its last failure, where that explains the delay.
    pub endpoints: Vec<EndpointReport>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(endpoint) = &self.endpoint {
            write!(f, "{endpoint}: ")?;
        }
        let (elapsed, endpoints) = (self.elapsed, List(&self.endpoints));
        write!(
            f,
            "timed out after {elapsed:.3?} waiting for {}{endpoints}{}",
            self.waiting_for,
            known(self.outcome)
        )
    }
}

/// A connection that could not be made, or was lost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionLost {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// What is known about the write.
    pub outcome: Outcome,
    /// What the operating system or the protocol said.
    pub cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, Line(&self.cause))?;
        let mut cause = self.cause.source();
        while let Some(error) = cause {
            write!(f, ": {}", Line(error))?;
            cause = error.source();
        }
        write!(f, "{}", known(self.outcome))
    }
}

/// What an endpoint's etcd lacks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unsupported {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// The path of the RPC, such as `/etcdserverpb.KV/RangeStream`.
    pub rpc: &'static str,
    /// The version that the endpoint told when it was connected, such as `3.6.15`; `None` if it told none, as some do only to
    /// a user who may see it.
    pub version: Option<Arc<str>>,
    /// What the server answered, or what this client did not send because the server would have passed over it.
    pub reason: String,
    /// What is known about the write: it was not applied here, but an earlier attempt elsewhere may have been.
    pub outcome: Outcome,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("of unknown version");
        write!(
            f,
            "{}: etcd {} does not support this {}: {}{}",
            self.endpoint,
            Line(version),
            self.rpc.rsplit('/').next().unwrap_or(self.rpc),
            Line(&self.reason),
            known(self.outcome)
        )
    }
}

/// A reply that the protocol does not allow.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BadReply {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// What is wrong with the reply.
    pub reason: String,
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: bad reply: {}{}",
            self.endpoint,
            Line(&self.reason),
            known(Outcome::Unknown)
        )
    }
}

/// Something that a server sent and that is larger than this client allows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TooLarge {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// The limit, in bytes.
    pub limit: usize,
    /// A unary reply; otherwise the events of one revision of a watch.
    pub(super) is_reply: bool,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (endpoint, limit) = (&self.endpoint, self.limit);
        if self.is_reply {
            let known = known(Outcome::Unknown);
            write!(
                f,
                "{endpoint}: the reply is larger than {limit} bytes; read large ranges with scan{known}"
            )
        } else {
            write!(
                f,
                "{endpoint}: the watch ended: one revision is larger than max_revision_bytes, {limit}"
            )
        }
    }
}

/// An endpoint of another cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterChanged {
    /// The endpoint's URL.
    pub endpoint: Arc<str>,
    /// The id of the cluster this client has talked to so far.
    pub expected: u64,
    /// The id of the cluster that answered.
    pub found: u64,
}

impl fmt::Display for ClusterChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            expected,
            found,
        } = self;
        write!(
            f,
            "{endpoint}: answered for cluster {found:x}, not {expected:x}; check the endpoints"
        )
    }
}

/// A login that brought no token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginFailed {
    /// The user; `None` if it was the token provider that failed.
    pub user: Option<Arc<str>>,
    /// What etcd answered ([`Error::Server`]), or what the provider said.
    pub cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl LoginFailed {
    /// The answer of etcd, if that was the reason. It stays the same until somebody changes something.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.cause.downcast_ref()
    }
}

impl fmt::Display for LoginFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "cannot log in as `{}`: ", Line(user))?,
            None => f.write_str("the token provider gave no token: ")?,
        }
        write!(f, "{}", Line(&self.cause))?;
        let mut cause = self.cause.source();
        while let Some(error) = cause {
            write!(f, ": {}", Line(error))?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A file that could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileFailed {
    /// The file.
    pub path: PathBuf,
    /// What was being done with it: `create`, `write`, `rename`.
    pub doing: &'static str,
    /// What the operating system said.
    pub cause: io::Error,
}

impl fmt::Display for FileFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, doing) = (self.path.display(), self.doing);
        write!(f, "{}: cannot {doing} the file: {}", Line(path), self.cause)
    }
}

/// Why a lease is lost, or is not kept alive any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostReason {
    /// No renewal was confirmed within the time to live: etcd may have dropped it already.
    Deadline,
    /// etcd does not have it: it expired there, or somebody revoked it.
    NotFound,
    /// It was revoked through its handle.
    Revoked,
    /// Keeping it alive was ended by `halt` or `halt_all`; the lease lives on until its time to live is over.
    Halted,
    /// Its handle was dropped; the lease lives on until its time to live is over.
    Dropped,
    /// The client was closed, or the runtime was shut down in which its leases were renewed; the lease lives on until its
    /// time to live is over.
    Closed,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LostReason::Deadline => "no renewal was confirmed within its time to live",
            LostReason::NotFound => "etcd does not know it (expired or revoked)",
            LostReason::Revoked => "it was revoked",
            LostReason::Halted => "keeping it alive was halted",
            LostReason::Dropped => "its handle was dropped",
            LostReason::Closed => "the client was closed",
        })
    }
}

impl std::error::Error for InvalidOption {}
impl std::error::Error for Unreachable {}
impl std::error::Error for TimedOut {}
impl std::error::Error for Unsupported {}
impl std::error::Error for BadReply {}
impl std::error::Error for TooLarge {}
impl std::error::Error for ClusterChanged {}
impl std::error::Error for FileFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
impl std::error::Error for LoginFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}
impl std::error::Error for ConnectionLost {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// What is known about the write, as the end of a line. It reads well for a read too, which the error cannot tell apart.
pub(super) fn known(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "; nothing was applied",
        Outcome::Unknown => "; a write may have been applied",
    }
}

/// The endpoints, as the continuation of a line.
struct List<'a>(&'a [EndpointReport]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, endpoint) in self.0.iter().enumerate() {
            write!(f, "{}{endpoint}", if i == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// Displays text that others wrote without letting it forge a log line: what could end or reorder a line is escaped.
pub(super) struct Line<T>(pub(super) T);

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaped(f), "{}", self.0)
    }
}

struct Escaped<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let reorders = matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || reorders {
                write!(self.0, "{}", c.escape_default())?
            } else {
                self.0.write_char(c)?
            }
        }
        Ok(())
    }
}
