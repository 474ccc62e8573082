//! How the rest of the crate makes errors.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError, FileFailed,
    InvalidOption, LoginFailed, Outcome, ServerError, TimedOut, TooLarge, Unreachable, Unsupported,
};

impl Error {
    pub(crate) fn config(option: &'static str, reason: impl Into<String>) -> Self {
        Error::Config(Arc::new(InvalidOption {
            option,
            reason: reason.into(),
        }))
    }

    pub(crate) fn invalid_request(reason: impl Into<Arc<str>>) -> Self {
        Error::InvalidRequest(reason.into())
    }

    pub(crate) fn no_active_endpoint(endpoints: Vec<EndpointReport>) -> Self {
        Error::NoActiveEndpoint(Arc::new(Unreachable {
            endpoints,
            outcome: Outcome::NotApplied,
        }))
    }

    /// `waiting_for` completes the sentence "after 8 s waiting for …"; `endpoints` may be empty.
    pub(crate) fn timeout(
        elapsed: Duration,
        waiting_for: &'static str,
        outcome: Outcome,
        endpoint: Option<Arc<str>>,
        endpoints: Vec<EndpointReport>,
    ) -> Self {
        Error::Timeout(Arc::new(TimedOut {
            elapsed,
            waiting_for,
            outcome,
            endpoint,
            endpoints,
        }))
    }

    /// `cause` is an error or a text.
    pub(crate) fn connection(
        endpoint: impl Into<Arc<str>>,
        outcome: Outcome,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Connection(Arc::new(ConnectionLost {
            endpoint: endpoint.into(),
            outcome,
            cause: Arc::from(cause.into()),
        }))
    }

    /// The status in a reply's trailers, its message already percent-decoded.
    pub(crate) fn from_status(
        endpoint: impl Into<Arc<str>>,
        code: Code,
        message: impl Into<String>,
    ) -> Self {
        Error::Server(Arc::new(ServerError::new(
            endpoint.into(),
            code,
            message.into(),
        )))
    }

    /// The `cancel_reason` of a watch response: a bare message, or a status in words.
    pub(crate) fn from_cancel_reason(
        endpoint: impl Into<Arc<str>>,
        reason: impl Into<String>,
    ) -> Self {
        Error::Server(Arc::new(ServerError::from_reason(
            endpoint.into(),
            reason.into(),
        )))
    }

    /// `reason` is the server's answer, or what it would pass over.
    pub(crate) fn unsupported(
        endpoint: impl Into<Arc<str>>,
        rpc: &'static str,
        version: Option<Arc<str>>,
        reason: impl Into<String>,
    ) -> Self {
        Error::Unsupported(Arc::new(Unsupported {
            endpoint: endpoint.into(),
            rpc,
            version,
            reason: reason.into(),
            outcome: Outcome::NotApplied,
        }))
    }

    /// The same error, of a call of `rpc` to an endpoint of `version`: the answer `Unimplemented`, unless it is one of etcd's
    /// own errors, says that the endpoint lacks it.
    pub(crate) fn of_rpc(self, rpc: &'static str, version: Option<&Arc<str>>) -> Self {
        match &self {
            Error::Server(e)
                if e.code == Code::Unimplemented && e.kind == EtcdError::Unrecognised =>
            {
                let endpoint = e.endpoint.clone();
                Self::unsupported(endpoint, rpc, version.cloned(), &*e.message)
            }
            _ => self,
        }
    }

    pub(crate) fn protocol(endpoint: impl Into<Arc<str>>, reason: impl Into<String>) -> Self {
        Error::Protocol(Arc::new(BadReply {
            endpoint: endpoint.into(),
            reason: reason.into(),
        }))
    }

    /// A unary reply over the receive limit, in bytes.
    pub(crate) fn reply_too_large(endpoint: impl Into<Arc<str>>, limit: usize) -> Self {
        Error::TooLarge(Arc::new(TooLarge {
            endpoint: endpoint.into(),
            limit,
            is_reply: true,
        }))
    }

    /// One revision of a watch over `max_revision_bytes`.
    pub(crate) fn revision_too_large(endpoint: impl Into<Arc<str>>, limit: usize) -> Self {
        Error::TooLarge(Arc::new(TooLarge {
            endpoint: endpoint.into(),
            limit,
            is_reply: false,
        }))
    }

    pub(crate) fn cluster_changed(
        endpoint: impl Into<Arc<str>>,
        expected: u64,
        found: u64,
    ) -> Self {
        Error::ClusterChanged(Arc::new(ClusterChanged {
            endpoint: endpoint.into(),
            expected,
            found,
        }))
    }

    /// `user: None`: it was the token provider's part. Of a request that was never sent, whatever became of the login.
    pub(crate) fn login(
        user: Option<Arc<str>>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Login(Arc::new(LoginFailed {
            user,
            cause: Arc::from(cause.into()),
        }))
    }

    /// `doing` completes the sentence "cannot … the file".
    pub(crate) fn file(path: &Path, doing: &'static str, cause: io::Error) -> Self {
        Error::File(Arc::new(FileFailed {
            path: path.to_owned(),
            doing,
            cause,
        }))
    }

    /// The same error, of a call whose earlier attempt may have been applied.
    pub(crate) fn after(mut self, earlier: Outcome) -> Self {
        let outcome = match &mut self {
            Error::NoActiveEndpoint(e) => &mut Arc::make_mut(e).outcome,
            Error::Timeout(e) => &mut Arc::make_mut(e).outcome,
            Error::Connection(e) => &mut Arc::make_mut(e).outcome,
            Error::Server(e) => &mut Arc::make_mut(e).outcome,
            Error::Unsupported(e) => &mut Arc::make_mut(e).outcome,
            Error::Closed { outcome } => outcome,
            Error::Config(_)
            | Error::InvalidRequest(_)
            | Error::Protocol(_)
            | Error::TooLarge(_)
            | Error::ClusterChanged(_)
            | Error::Login(_)
            | Error::File(_)
            | Error::Compacted { .. }
            | Error::Lagged { .. }
            | Error::LeaseLost { .. } => return self,
        };
        if earlier == Outcome::Unknown {
            *outcome = Outcome::Unknown;
        }
        self
    }
}
