//! etcd's own errors: its messages, what each means for a write, and whether a call that met it may go on.
//!
//! etcd's codes differ between its releases (`not capable` is `Unavailable` in 3.5 and `FailedPrecondition` in 3.6), and
//! some errors reach the wire as `Unknown` with their message intact. So the message decides, and the code only where
//! the message says nothing.

use std::fmt;
use std::sync::Arc;

use super::detail::{Line, known};
use super::{Code, Decision, Outcome};

/// What stands in front of every message of etcd's server, except some that come inside a watch.
const PREFIX: &str = "etcdserver: ";

macro_rules! messages {
    ($($name:ident $message:literal $code:ident $outcome:ident $decision:ident;)*) => {
        /// An error of etcd's server, named after its message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EtcdError {
            $(#[doc = concat!("`", $message, "`")] $name,)*
            /// Any other message, also of something between this client and etcd.
            Unrecognised,
        }

        impl EtcdError {
            /// Every error that has a message of its own: all but [`EtcdError::Unrecognised`]. A later release may have more.
            ///
            /// ```
            /// use etcd_core::EtcdError;
            /// assert!(EtcdError::ALL.iter().all(|error| error.message().is_some()));
            /// ```
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The message as etcd 3.7 writes it, without `etcdserver: `. `None` for [`EtcdError::Unrecognised`].
            #[must_use]
            pub const fn message(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($message),)*
                    Self::Unrecognised => None,
                }
            }

            /// The code that etcd 3.7 sends with it; other releases may send another one.
            #[must_use]
            pub const fn usual_code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)*
                    Self::Unrecognised => Code::Unknown,
                }
            }

            /// What it says about a write: [`Outcome::NotApplied`] where etcd raises it before it proposes the write, or
            /// where it refuses the write when it would apply it.
            #[must_use]
            pub const fn outcome(self) -> Outcome {
                match self {
                    $(Self::$name => Outcome::$outcome,)*
                    Self::Unrecognised => Outcome::Unknown,
                }
            }

            /// What a call that may be repeated does next. `None` if only the code can tell.
            pub(super) const fn decision(self) -> Option<Decision> {
                match self {
                    $(Self::$name => Some(Decision::$decision),)*
                    Self::Unrecognised => None,
                }
            }

            /// `message` is bare, without `etcdserver: `.
            fn of_message(message: &str) -> Self {
                match message {
                    $($message => Self::$name,)*
                    _ => Self::Unrecognised,
                }
            }
        }
    };
}

// Unknown although etcd failed: `database space exceeded` is also returned after the write was applied; `leader changed`,
// `server stopped` and every timeout leave the proposal in the log; a corrupt cluster has no one truth to go by.
messages! {
    KeyNotProvided "key is not provided" InvalidArgument NotApplied Fail;
    KeyNotFound "key not found" InvalidArgument NotApplied Fail;
    ValueProvided "value is provided" InvalidArgument NotApplied Fail;
    LeaseProvided "lease is provided" InvalidArgument NotApplied Fail;
    TooManyOps "too many operations in txn request" InvalidArgument NotApplied Fail;
    DuplicateKey "duplicate key given in txn request" InvalidArgument NotApplied Fail;
    InvalidClientApiVersion "invalid client api version" InvalidArgument NotApplied Fail;
    InvalidSortOption "invalid sort option" InvalidArgument NotApplied Fail;
    MemberBadUrls "given member URLs are invalid" InvalidArgument NotApplied Fail;
    RequestTooLarge "request is too large" InvalidArgument NotApplied Fail;
    UserEmpty "user name is empty" InvalidArgument NotApplied Reauthenticate;
    RoleEmpty "role name is empty" InvalidArgument NotApplied Fail;
    AuthFailed "authentication failed, invalid user ID or password" InvalidArgument NotApplied Fail;
    PermissionNotGiven "permission not given" InvalidArgument NotApplied Fail;
    InvalidAuthManagement "invalid auth management" InvalidArgument NotApplied Fail;
    AuthOldRevision "revision of auth store is old" InvalidArgument NotApplied Reauthenticate;
    WrongDowngradeVersionFormat "wrong downgrade target version format" InvalidArgument NotApplied Fail;
    InvalidDowngradeTargetVersion "invalid downgrade target version" InvalidArgument NotApplied Fail;
    Compacted "mvcc: required revision has been compacted" OutOfRange NotApplied Fail;
    FutureRevision "mvcc: required revision is a future revision" OutOfRange NotApplied Fail;
    LeaseTtlTooLarge "too large lease TTL" OutOfRange NotApplied Fail;
    NoSpace "mvcc: database space exceeded" ResourceExhausted Unknown Fail;
    TooManyRequests "too many requests" ResourceExhausted NotApplied AfterDelay;
    LeaseNotFound "requested lease not found" NotFound NotApplied Fail;
    MemberNotFound "member not found" NotFound NotApplied Fail;
    LeaseExists "lease already exists" FailedPrecondition NotApplied Fail;
    MemberExists "member ID already exist" FailedPrecondition NotApplied Fail;
    PeerUrlExists "Peer URLs already exists" FailedPrecondition NotApplied Fail;
    MemberNotEnoughStarted "re-configuration failed due to not enough started members" FailedPrecondition NotApplied Fail;
    MemberNotLearner "can only promote a learner member" FailedPrecondition NotApplied Fail;
    LearnerNotReady "can only promote a learner member which is in sync with leader" FailedPrecondition NotApplied Fail;
    TooManyLearners "too many learner members in cluster" FailedPrecondition NotApplied Fail;
    ClusterIdMismatch "cluster ID mismatch" FailedPrecondition NotApplied Fail;
    RootUserNotExist "root user does not exist" FailedPrecondition NotApplied Fail;
    RootRoleNotExist "root user does not have root role" FailedPrecondition NotApplied Fail;
    UserAlreadyExists "user name already exists" FailedPrecondition NotApplied Fail;
    UserNotFound "user name not found" FailedPrecondition NotApplied Fail;
    RoleAlreadyExists "role name already exists" FailedPrecondition NotApplied Fail;
    RoleNotFound "role name not found" FailedPrecondition NotApplied Fail;
    RoleNotGranted "role is not granted to the user" FailedPrecondition NotApplied Fail;
    PermissionNotGranted "permission is not granted to the role" FailedPrecondition NotApplied Fail;
    AuthNotEnabled "authentication is not enabled" FailedPrecondition NotApplied Fail;
    NotLeader "not leader" FailedPrecondition NotApplied Fail;
    NotCapable "not capable" FailedPrecondition NotApplied NextEndpoint;
    NotSupportedForLearner "rpc not supported for learner" FailedPrecondition NotApplied NextEndpoint;
    BadLeaderTransferee "bad leader transferee" FailedPrecondition NotApplied Fail;
    ClusterVersionUnavailable "cluster version not found during downgrade" FailedPrecondition NotApplied Fail;
    DowngradeInProcess "cluster has a downgrade job in progress" FailedPrecondition NotApplied Fail;
    NoInflightDowngrade "no inflight downgrade job" FailedPrecondition NotApplied Fail;
    NoLeader "no leader" Unavailable NotApplied NextEndpoint;
    LeaderChanged "leader changed" Unavailable Unknown SameEndpoint;
    Stopped "server stopped" Unavailable Unknown NextEndpoint;
    RequestTimedOut "request timed out" Unavailable Unknown NextEndpoint;
    RequestTimedOutLeaderFailure "request timed out, possibly due to previous leader failure" Unavailable Unknown NextEndpoint;
    RequestTimedOutConnectionLost "request timed out, possibly due to connection lost" Unavailable Unknown NextEndpoint;
    RequestTimedOutAppliedIndex "request timed out, waiting for the applied index took too long" Unavailable Unknown NextEndpoint;
    Unhealthy "unhealthy cluster" Unavailable NotApplied Fail;
    InvalidAuthToken "invalid auth token" Unauthenticated NotApplied Reauthenticate;
    PermissionDenied "permission denied" PermissionDenied NotApplied Fail;
    WatchCanceled "watch canceled" Canceled Unknown NextEndpoint;
    RequestCanceled "request canceled" Canceled Unknown NextEndpoint;
    DeadlineExceeded "context deadline exceeded" DeadlineExceeded Unknown NextEndpoint;
    Corrupt "corrupt cluster" DataLoss Unknown Fail;
    // Raft's own, from a leader that is handing over. Not at once elsewhere: the other members still forward to that
    // leader, which drops what is forwarded without an answer.
    ProposalDropped "raft proposal dropped" Unknown NotApplied AfterDelay;
    // Of the server's own locks and elections, which are clients of the cluster themselves.
    LockSessionExpired "mutex: session is expired" Unknown NotApplied Fail;
    ElectionNoLeader "election: no leader" Unknown NotApplied Fail;
    ElectionNotLeader "election: not leader" Unknown NotApplied Fail;
}

impl EtcdError {
    /// What the operator can do, where the message alone does not say it.
    const fn advice(self) -> Option<&'static str> {
        match self {
            Self::NoSpace => Some("compact, defragment, then disarm the alarm"),
            Self::RequestTooLarge => Some("split it, or raise --max-request-bytes on every member"),
            Self::TooManyOps => Some("split it, or raise --max-txn-ops on every member"),
            Self::Compacted => Some("read again without a revision"),
            Self::UserEmpty => Some("the cluster wants credentials"),
            Self::AuthFailed => Some("no such user, or a wrong password: etcd does not say which"),
            Self::InvalidAuthToken => Some("it has expired, or is not one of this cluster's"),
            Self::PermissionDenied => Some("no role of the user permits it"),
            Self::Corrupt => Some("stop writing and look at the CORRUPT alarm"),
            _ => None,
        }
    }
}

/// An error status that a server answered with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerError {
    /// The endpoint that answered.
    pub endpoint: Arc<str>,
    /// The gRPC status code as it was sent.
    pub code: Code,
    /// Which of etcd's errors it is.
    pub kind: EtcdError,
    /// The whole message as it was sent. It may hold control characters; `Display` of this type escapes them.
    pub message: String,
    /// What is known about the write.
    pub outcome: Outcome,
}

impl ServerError {
    pub(super) fn new(endpoint: Arc<str>, code: Code, message: String) -> Self {
        let kind = recognise(&message).1;
        Self {
            endpoint,
            code,
            kind,
            message,
            outcome: kind.outcome(),
        }
    }

    /// The code is the one written in the reason, else the usual one of the message.
    pub(super) fn from_reason(endpoint: Arc<str>, reason: String) -> Self {
        let (code, kind) = recognise(&reason);
        let code = code.unwrap_or(kind.usual_code());
        Self {
            endpoint,
            code,
            kind,
            message: reason,
            outcome: kind.outcome(),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({})",
            self.endpoint,
            Line(&self.message),
            self.code
        )?;
        if let Some(advice) = self.kind.advice() {
            write!(f, "; {advice}")?;
        }
        f.write_str(known(self.outcome))
    }
}

impl std::error::Error for ServerError {}

/// Reads a message in any of its shapes: `rpc error: code = C desc = etcdserver: m`, `etcdserver: m` or `m`.
fn recognise(message: &str) -> (Option<Code>, EtcdError) {
    let in_words = message
        .strip_prefix("rpc error: code = ")
        .and_then(|rest| rest.split_once(" desc = "));
    let (code, message) = match in_words {
        Some((name, message)) => (Code::from_name(name), message),
        None => (None, message),
    };
    (
        code,
        EtcdError::of_message(message.strip_prefix(PREFIX).unwrap_or(message)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<str> {
        "http://a:2379".into()
    }

    /// Messages and codes per code as counted in etcd 3.7.1.
    #[test]
    fn the_table_holds_the_63_messages_of_etcd_and_those_of_raft_and_elections_once_each() {
        use Code::*;
        let count = |code| {
            EtcdError::ALL
                .iter()
                .filter(|e| e.usual_code() == code)
                .count()
        };
        let counts = [
            InvalidArgument,
            OutOfRange,
            ResourceExhausted,
            NotFound,
            FailedPrecondition,
            Unavailable,
        ]
        .map(count);
        assert_eq!(counts, [18, 3, 2, 2, 24, 8]);
        assert_eq!(
            [
                Unauthenticated,
                PermissionDenied,
                Canceled,
                DeadlineExceeded,
                DataLoss
            ]
            .map(count),
            [1, 1, 2, 1, 1]
        );
        let distinct: std::collections::HashSet<_> =
            EtcdError::ALL.iter().filter_map(|e| e.message()).collect();
        assert_eq!(distinct.len(), 63 + 4);
    }

    #[test]
    fn every_message_is_recognised_whatever_its_code_and_prefix() {
        for &expected in EtcdError::ALL {
            let message = expected.message().unwrap();
            for shape in [message.to_owned(), format!("etcdserver: {message}")] {
                let error = ServerError::new(endpoint(), Code::Unknown, shape.clone());
                assert_eq!(
                    (error.kind, error.code, &error.message),
                    (expected, Code::Unknown, &shape)
                );
                assert_eq!(
                    ServerError::from_reason(endpoint(), shape).code,
                    expected.usual_code()
                );
            }
        }
    }

    #[test]
    fn both_shapes_of_a_watch_cancel_reason_are_read() {
        let status = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
        let error = ServerError::from_reason(endpoint(), status.to_owned());
        assert_eq!(
            (error.kind, error.code),
            (EtcdError::InvalidAuthToken, Code::Unauthenticated)
        );
        assert_eq!(error.message, status);

        let refused = ServerError::from_reason(
            endpoint(),
            "rpc error: code = PermissionDenied desc = no".to_owned(),
        );
        assert_eq!(
            (refused.kind, refused.code),
            (EtcdError::Unrecognised, Code::PermissionDenied)
        );

        let bare = ServerError::from_reason(endpoint(), "mvcc: watcher range is empty".to_owned());
        assert_eq!(
            (bare.kind, bare.code),
            (EtcdError::Unrecognised, Code::Unknown)
        );
    }

    #[test]
    fn a_message_that_only_begins_or_ends_like_one_of_etcd_is_unrecognised() {
        for message in [
            "",
            "etcdserver: ",
            "no leader here",
            "etcdserver: no leader ",
            "xetcdserver: no leader",
            "No Leader",
        ] {
            let error = ServerError::new(endpoint(), Code::Unavailable, message.to_owned());
            assert_eq!(
                (error.kind, error.outcome),
                (EtcdError::Unrecognised, Outcome::Unknown),
                "{message:?}"
            );
        }
    }

    #[test]
    fn what_may_have_been_applied_is_unknown() {
        let unknown: Vec<_> = EtcdError::ALL
            .iter()
            .filter(|e| e.outcome() == Outcome::Unknown)
            .collect();
        use EtcdError::*;
        assert_eq!(
            unknown,
            [
                &NoSpace,
                &LeaderChanged,
                &Stopped,
                &RequestTimedOut,
                &RequestTimedOutLeaderFailure,
                &RequestTimedOutConnectionLost,
                &RequestTimedOutAppliedIndex,
                &WatchCanceled,
                &RequestCanceled,
                &DeadlineExceeded,
                &Corrupt,
            ]
        );
        assert_eq!(Unrecognised.outcome(), Outcome::Unknown);
    }
}
