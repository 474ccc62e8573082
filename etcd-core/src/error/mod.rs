//! What can go wrong, sorted by what the caller can do about it.
//!
//! [`Error`] has one variant per cause. Its `Display` is one line for an operator: where, what happened, what is known
//! about a write, and what to do where there is something to do. Text that came from a server is kept whole in the
//! value and has its control characters escaped when it is displayed.

mod code;
mod decide;
mod detail;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod make;
mod name;
mod server;
mod tls;

use std::sync::Arc;

pub use code::Code;
pub(crate) use decide::{Decision, decide};
pub(crate) use detail::Cause;
pub use detail::{
    BadReply, ClusterChanged, ConnectionLost, EndpointReport, FileFailed, InvalidOption,
    LoginFailed, LostReason, TimedOut, TooLarge, Unreachable, Unsupported,
};
pub use server::{EtcdError, ServerError};
pub use tls::TlsError;

/// The result of anything this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is known about a write that ended in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write did not happen and will not happen: it is safe to send it again.
    NotApplied,
    /// The write may have happened, or may still happen. Read before writing again.
    Unknown,
}

impl Outcome {
    /// What is known after two attempts at one write.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Outcome::Unknown {
            self
        } else {
            other
        }
    }
}

/// Why a call, a watch or a lease failed.
///
/// Cloning is cheap: the loss of one connection is told to every call that was using it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option or an endpoint cannot be used. The text names the option.
    #[error(transparent)]
    Config(Arc<InvalidOption>),

    /// The request was refused by this client (empty key, too many operations, too large). Nothing was sent.
    #[error("request refused before it was sent: {}", detail::Line(.0))]
    InvalidRequest(Arc<str>),

    /// No endpoint could take the call. Lists every endpoint with its state and the last cause of its failure.
    #[error(transparent)]
    NoActiveEndpoint(Arc<Unreachable>),

    /// A time limit passed: of the call, or of one attempt.
    #[error(transparent)]
    Timeout(Arc<TimedOut>),

    /// The connection could not be made, or was lost.
    #[error(transparent)]
    Connection(Arc<ConnectionLost>),

    /// etcd, or something between, answered with an error status.
    #[error(transparent)]
    Server(Arc<ServerError>),

    /// The endpoint's etcd lacks this RPC or what was asked of it, as older releases do. It was not done.
    ///
    /// Found out anew for each endpoint and call: where the members are of several releases, as during a rolling upgrade,
    /// the call goes to one that can, unless the view is bound to one endpoint.
    #[error(transparent)]
    Unsupported(Arc<Unsupported>),

    /// The reply was not what the protocol allows: undecodable, a field missing, an HTTP status other than 200.
    #[error(transparent)]
    Protocol(Arc<BadReply>),

    /// What the server sent is larger than a limit of this client.
    #[error(transparent)]
    TooLarge(Arc<TooLarge>),

    /// The endpoint belongs to another cluster than the one this client has talked to so far.
    #[error(transparent)]
    ClusterChanged(Arc<ClusterChanged>),

    /// No token could be got: etcd does not accept the user and the password, or the token provider failed. The call itself
    /// was not sent.
    #[error(transparent)]
    Login(Arc<LoginFailed>),

    /// A file could not be read or written.
    #[error(transparent)]
    File(Arc<FileFailed>),

    /// The watch ended because the revision it needed next has been compacted.
    #[error(
        "the watch ended: the revisions before {revision} have been compacted; read again, then watch from the revision after that read"
    )]
    Compacted {
        /// The oldest revision that can still be read, 0 if the server did not say.
        revision: i64,
    },

    /// The watch ended because its reader fell too far behind and it was asked to end in that case.
    #[error("the watch ended: its reader is at revision {delivered}, the cluster at {current}")]
    Lagged {
        /// The last revision handed to the reader.
        delivered: i64,
        /// The newest revision that the watch has seen.
        current: i64,
    },

    /// The lease is gone, or can no longer be trusted to be there.
    #[error("lease {id:x} is lost: {reason}")]
    LeaseLost {
        /// The id of the lease.
        id: i64,
        /// Why it is lost.
        reason: LostReason,
    },

    /// The client was closed, or the runtime that it was made in was shut down.
    #[error("the client is closed{}", detail::known(*.outcome))]
    Closed {
        /// What is known about the write that was under way, if one was.
        outcome: Outcome,
    },
}

impl Error {
    /// What is known about the write that ended in this error. It says nothing of value about a read.
    ///
    /// | error | outcome |
    /// |---|---|
    /// | `Config`, `InvalidRequest`, `Login`, `File`, `Compacted`, `Lagged`, `LeaseLost` | `NotApplied`: nothing was sent |
    /// | `NoActiveEndpoint`, `Timeout`, `Connection`, `Closed` | `NotApplied` until the request may have reached a server, then `Unknown` |
    /// | `Unsupported` | `NotApplied` |
    /// | `Server` | by etcd's message, see [`EtcdError::outcome`]; `Unknown` for any other message |
    /// | `Protocol`, `TooLarge`, `ClusterChanged` | `Unknown` |
    ///
    /// Where a call was attempted more than once, `Unknown` of any attempt makes the whole call `Unknown`.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Config(_)
            | Error::InvalidRequest(_)
            | Error::Login(_)
            | Error::File(_)
            | Error::Compacted { .. }
            | Error::Lagged { .. }
            | Error::LeaseLost { .. } => Outcome::NotApplied,
            Error::Protocol(_) | Error::TooLarge(_) | Error::ClusterChanged(_) => Outcome::Unknown,
            Error::NoActiveEndpoint(e) => e.outcome,
            Error::Timeout(e) => e.outcome,
            Error::Connection(e) => e.outcome,
            Error::Server(e) => e.outcome,
            Error::Unsupported(e) => e.outcome,
            Error::Closed { outcome } => *outcome,
        }
    }

    /// The endpoint that the error is about, where it is about one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Error::Timeout(e) => e.endpoint.as_deref(),
            Error::Connection(e) => Some(&e.endpoint),
            Error::Server(e) => Some(&e.endpoint),
            Error::Unsupported(e) => Some(&e.endpoint),
            Error::Protocol(e) => Some(&e.endpoint),
            Error::TooLarge(e) => Some(&e.endpoint),
            Error::ClusterChanged(e) => Some(&e.endpoint),
            Error::Login(e) => e.refusal()?.endpoint(),
            Error::Config(_)
            | Error::InvalidRequest(_)
            | Error::NoActiveEndpoint(_)
            | Error::File(_)
            | Error::Compacted { .. }
            | Error::Lagged { .. }
            | Error::LeaseLost { .. }
            | Error::Closed { .. } => None,
        }
    }

    /// The gRPC status code that the server answered with, [`Code::Unimplemented`] for [`Error::Unsupported`]. Codes differ
    /// between releases of etcd; prefer [`Error::etcd`].
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Unsupported(_) => Some(Code::Unimplemented),
            _ => self.server().map(|e| e.code),
        }
    }

    /// Which of etcd's own errors the server answered with, recognised by its message.
    /// [`EtcdError::Unrecognised`] if it is none of them, `None` if it was no answer of a server.
    #[must_use]
    pub fn etcd(&self) -> Option<EtcdError> {
        self.server().map(|e| e.kind)
    }

    fn server(&self) -> Option<&ServerError> {
        match self {
            Error::Server(e) => Some(e),
            Error::Login(e) => e.refusal()?.server(),
            _ => None,
        }
    }

    /// What is wrong about TLS with the endpoint, or with the first of the endpoints of which that is known.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsError> {
        let endpoints = match self {
            Error::Connection(e) => return e.cause.downcast_ref(),
            Error::NoActiveEndpoint(e) => &e.endpoints,
            Error::Timeout(e) => &e.endpoints,
            _ => return None,
        };
        endpoints.iter().find_map(|endpoint| endpoint.tls.as_ref())
    }

    /// The revision asked for has been compacted, in a read, a compaction or a watch.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Error::Compacted { .. }) || self.etcd() == Some(EtcdError::Compacted)
    }

    /// The revision asked for does not exist yet on the member that answered.
    #[must_use]
    pub fn is_future_revision(&self) -> bool {
        self.etcd() == Some(EtcdError::FutureRevision)
    }

    /// A key that must exist for this request does not (`ignore_value`, `ignore_lease`).
    #[must_use]
    pub fn is_key_not_found(&self) -> bool {
        self.etcd() == Some(EtcdError::KeyNotFound)
    }

    /// etcd does not know the lease: it never existed, expired, or was revoked.
    #[must_use]
    pub fn is_lease_not_found(&self) -> bool {
        matches!(
            self,
            Error::LeaseLost {
                reason: LostReason::NotFound,
                ..
            }
        ) || self.etcd() == Some(EtcdError::LeaseNotFound)
    }

    /// A lease with the chosen id exists already.
    #[must_use]
    pub fn is_lease_already_exists(&self) -> bool {
        self.etcd() == Some(EtcdError::LeaseExists)
    }

    /// The member that answered knows no leader.
    #[must_use]
    pub fn is_no_leader(&self) -> bool {
        self.etcd() == Some(EtcdError::NoLeader)
    }

    /// The user may not do this.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.etcd() == Some(EtcdError::PermissionDenied)
            || self.code() == Some(Code::PermissionDenied)
    }

    /// The token is missing or stale: `invalid auth token`, `revision of auth store is old` or `user name is empty`. A client
    /// with credentials has tried others, which were refused as well.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(
            self.etcd(),
            Some(EtcdError::InvalidAuthToken | EtcdError::AuthOldRevision | EtcdError::UserEmpty)
        )
    }

    /// It took too long: a limit of this client ([`Error::Timeout`]), or one of the server's (`request timed out…`).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Timeout(_))
            || matches!(
                self.etcd(),
                Some(
                    EtcdError::RequestTimedOut
                        | EtcdError::RequestTimedOutLeaderFailure
                        | EtcdError::RequestTimedOutConnectionLost
                        | EtcdError::RequestTimedOutAppliedIndex
                        | EtcdError::DeadlineExceeded
                )
            )
    }

    /// The database has reached its quota; somebody must compact, defragment and disarm the alarm.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        self.etcd() == Some(EtcdError::NoSpace)
    }

    /// The member has more requests in hand than it can commit.
    #[must_use]
    pub fn is_too_many_requests(&self) -> bool {
        self.etcd() == Some(EtcdError::TooManyRequests)
    }

    /// The endpoint's etcd lacks what was asked of it; a newer one may have it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Error::Unsupported(_))
    }

    /// The client was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed { .. })
    }
}

#[cfg(test)]
mod tests;
