//! Whether a call that failed goes on, and where: the whole retry rule, as data.

use super::{Code, Error, Outcome};

/// What a call does after a failed attempt. The caller of [`decide`] looks after the deadline and the retry budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The error is the call's result.
    Fail,
    /// Try again at once, the same endpoint will do.
    SameEndpoint,
    /// Try at once on an endpoint that has not failed this call yet; when all have, after a delay.
    NextEndpoint,
    /// Try another endpoint after a delay.
    AfterDelay,
    /// Try at once on an endpoint that has not been asked yet; when all have, the error is the result.
    Elsewhere,
    /// Get a new token, then try again.
    Reauthenticate,
}

/// `may_repeat`: the call is a read, or the caller declared it idempotent. Any other call goes on only if the error
/// proves that it was not applied.
pub(crate) fn decide(error: &Error, may_repeat: bool) -> Decision {
    if !may_repeat && error.outcome() == Outcome::Unknown {
        return Decision::Fail;
    }
    match error {
        Error::Connection(_) | Error::Timeout(_) => Decision::NextEndpoint,
        Error::Server(e) => e.kind.decision().unwrap_or_else(|| by_code(e.code)),
        // A gateway's error page, or a member that cannot be understood: others may do better, but not by being hammered.
        Error::Protocol(_) => Decision::AfterDelay,
        // Another member may be of another version.
        Error::Unsupported(_) => Decision::Elsewhere,
        Error::Config(_)
        | Error::InvalidRequest(_)
        | Error::NoActiveEndpoint(_)
        | Error::TooLarge(_)
        | Error::ClusterChanged(_)
        | Error::Login(_)
        | Error::File(_)
        | Error::Compacted { .. }
        | Error::Lagged { .. }
        | Error::LeaseLost { .. }
        | Error::Closed { .. } => Decision::Fail,
    }
}

impl Error {
    /// Was a request refused for the token that it showed, or for showing none?
    pub(crate) fn wants_token(&self) -> bool {
        decide(self, true) == Decision::Reauthenticate
    }
}

/// For a message that is none of etcd's.
fn by_code(code: Code) -> Decision {
    match code {
        // A member that shuts down answers `context canceled`, proxies time out with their own words.
        Code::Unavailable | Code::Canceled | Code::DeadlineExceeded => Decision::NextEndpoint,
        Code::Unauthenticated => Decision::Reauthenticate,
        Code::OK
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Decision::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EtcdError;

    fn server(message: &str) -> Error {
        Error::from_status("http://a:2379", Code::Unknown, message)
    }

    /// Each error's decision for a read, and for a write.
    fn expect<const N: usize>(rows: [(Error, Decision, Decision); N]) {
        for (error, read, write) in rows {
            let decided = (decide(&error, true), decide(&error, false));
            assert_eq!(decided, (read, write), "{error}");
        }
    }

    #[test]
    fn reads_go_on_after_transient_answers_and_writes_only_if_not_applied() {
        use Decision::*;
        let previous = "etcdserver: request timed out, possibly due to previous leader failure";
        let learner = "etcdserver: rpc not supported for learner";
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        let old = "etcdserver: revision of auth store is old";
        expect([
            (server("etcdserver: leader changed"), SameEndpoint, Fail),
            (server("etcdserver: server stopped"), NextEndpoint, Fail),
            (server("etcdserver: request timed out"), NextEndpoint, Fail),
            (server(previous), NextEndpoint, Fail),
            (server("etcdserver: no leader"), NextEndpoint, NextEndpoint),
            (server(learner), NextEndpoint, NextEndpoint),
            (
                server("etcdserver: not capable"),
                NextEndpoint,
                NextEndpoint,
            ),
            (server("raft proposal dropped"), AfterDelay, AfterDelay),
            (
                server("etcdserver: too many requests"),
                AfterDelay,
                AfterDelay,
            ),
            (
                server("etcdserver: invalid auth token"),
                Reauthenticate,
                Reauthenticate,
            ),
            (server(old), Reauthenticate, Reauthenticate),
            (
                server("etcdserver: user name is empty"),
                Reauthenticate,
                Reauthenticate,
            ),
            (
                server("etcdserver: mvcc: database space exceeded"),
                Fail,
                Fail,
            ),
            (server("etcdserver: permission denied"), Fail, Fail),
            (server(compacted), Fail, Fail),
            (server("etcdserver: requested lease not found"), Fail, Fail),
        ]);
    }

    #[test]
    fn reads_go_on_after_lost_connections_and_unclear_answers_and_writes_only_if_not_applied() {
        use Decision::*;
        let connection = |outcome| Error::connection("e", outcome, "reset by peer");
        let status = |code, message| Error::from_status("e", code, message);
        let outcome = Outcome::NotApplied;
        let large = "grpc: received message larger than max";
        expect([
            (connection(Outcome::Unknown), NextEndpoint, Fail),
            (connection(outcome), NextEndpoint, NextEndpoint),
            (status(Code::Unavailable, "who knows"), NextEndpoint, Fail),
            (
                status(Code::Canceled, "context canceled"),
                NextEndpoint,
                Fail,
            ),
            (status(Code::ResourceExhausted, large), Fail, Fail),
            (Error::protocol("e", "HTTP status 502"), AfterDelay, Fail),
            (
                Error::unsupported("e", "/s/M", None, "unknown method M"),
                Elsewhere,
                Elsewhere,
            ),
            (Error::invalid_request("key is empty"), Fail, Fail),
            (Error::reply_too_large("e", 1), Fail, Fail),
            (Error::Closed { outcome }, Fail, Fail),
        ]);
    }

    #[test]
    fn no_write_is_repeated_after_an_error_that_leaves_its_outcome_open() {
        for kind in EtcdError::ALL {
            let error = server(kind.message().unwrap());
            if error.outcome() == Outcome::Unknown {
                assert_eq!(decide(&error, false), Decision::Fail, "{error}");
            }
        }
        let earlier = server("etcdserver: no leader").after(Outcome::Unknown);
        assert_eq!(decide(&earlier, false), Decision::Fail);
    }
}
