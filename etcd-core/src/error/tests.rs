use std::error::Error as _;
use std::time::Duration;

use super::*;

const A: &str = "http://a:2379";

fn report(endpoint: &str, state: &'static str, cause: Option<&str>) -> EndpointReport {
    EndpointReport {
        endpoint: endpoint.into(),
        state,
        tls: None,
        cause: cause.map(str::to_owned),
    }
}

#[test]
fn an_error_is_small_shared_and_can_cross_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Error>();
    assert!(size_of::<Error>() <= 24, "{}", size_of::<Error>());
}

fn reads_as<const N: usize>(rows: [(Error, &str); N]) {
    for (error, line) in rows {
        assert_eq!(error.to_string(), line);
    }
}

#[test]
fn an_error_of_the_client_is_one_line_that_says_where_what_and_what_is_known() {
    let endpoints = || {
        vec![
            report(A, "Frozen", Some("connection\nrefused")),
            report("http://b:2379", "Connecting", None),
        ]
    };
    let outcome = Outcome::NotApplied;
    let reply = Error::timeout(
        Duration::from_secs(8),
        "the reply",
        Outcome::Unknown,
        Some(A.into()),
        vec![],
    );
    let short = Duration::from_millis(50);
    let active = Error::timeout(short, "an active endpoint", outcome, None, endpoints());
    let reason = LostReason::NotFound;
    reads_as([
        (
            Error::config("endpoints", "port 70000 is out of range"),
            "option endpoints: port 70000 is out of range",
        ),
        (
            Error::invalid_request("key is empty"),
            "request refused before it was sent: key is empty",
        ),
        (
            Error::no_active_endpoint(endpoints()),
            r"no endpoint can take calls: http://a:2379 Frozen (connection\nrefused), http://b:2379 Connecting; nothing was applied",
        ),
        (
            reply,
            "http://a:2379: timed out after 8.000s waiting for the reply; a write may have been applied",
        ),
        (
            active,
            r"timed out after 50.000ms waiting for an active endpoint: http://a:2379 Frozen (connection\nrefused), http://b:2379 Connecting; nothing was applied",
        ),
        (
            Error::LeaseLost { id: 0x1f, reason },
            "lease 1f is lost: etcd does not know it (expired or revoked)",
        ),
        (
            Error::Closed { outcome },
            "the client is closed; nothing was applied",
        ),
    ]);
}

#[test]
fn an_error_of_an_endpoint_is_one_line_that_says_where_what_and_what_is_known() {
    let io = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
    let message = "etcdserver: mvcc: database space exceeded";
    reads_as([
        (
            Error::connection(A, Outcome::Unknown, io),
            "http://a:2379: reset by peer; a write may have been applied",
        ),
        (
            Error::from_status(A, Code::ResourceExhausted, message),
            "http://a:2379: etcdserver: mvcc: database space exceeded (ResourceExhausted); compact, defragment, then disarm the alarm; a write may have been applied",
        ),
        (
            Error::protocol(A, "HTTP status 502"),
            "http://a:2379: bad reply: HTTP status 502; a write may have been applied",
        ),
        (
            Error::reply_too_large(A, 64),
            "http://a:2379: the reply is larger than 64 bytes; read large ranges with scan; a write may have been applied",
        ),
        (
            Error::revision_too_large(A, 64),
            "http://a:2379: the watch ended: one revision is larger than max_revision_bytes, 64",
        ),
        (
            Error::cluster_changed(A, 0xab, 0xcd),
            "http://a:2379: answered for cluster cd, not ab; check the endpoints",
        ),
        (
            Error::file(
                "/backup/db\n".as_ref(),
                "rename",
                std::io::Error::from(std::io::ErrorKind::PermissionDenied),
            ),
            r"/backup/db\n: cannot rename the file: permission denied",
        ),
    ]);
}

#[test]
fn text_from_a_server_cannot_forge_a_log_line() {
    let message = "no\r\nERROR forged\u{1b}[31m \u{2028}\u{202e}\u{7f} “ok” \\n";
    let error = Error::from_status(A, Code::Unknown, message);
    let line = error.to_string();
    assert!(
        line.contains(r"no\r\nERROR forged\u{1b}[31m \u{2028}\u{202e}\u{7f} “ok” \n"),
        "{line}"
    );
    let Error::Server(server) = &error else {
        panic!("{error}")
    };
    assert_eq!(server.message, message, "kept whole");
}

#[test]
fn the_outcome_follows_the_cause() {
    use Outcome::*;
    let rows = [
        (Error::config("endpoints", "none"), NotApplied),
        (Error::invalid_request("too many operations"), NotApplied),
        (Error::no_active_endpoint(vec![]), NotApplied),
        (
            Error::timeout(Duration::ZERO, "the reply", Unknown, None, vec![]),
            Unknown,
        ),
        (
            Error::timeout(Duration::ZERO, "a connection", NotApplied, None, vec![]),
            NotApplied,
        ),
        (Error::connection(A, NotApplied, "refused"), NotApplied),
        (Error::connection(A, Unknown, "reset"), Unknown),
        (
            Error::from_status(A, Code::Unavailable, "etcdserver: no leader"),
            NotApplied,
        ),
        (
            Error::from_status(A, Code::Unavailable, "etcdserver: request timed out"),
            Unknown,
        ),
        (
            Error::from_status(A, Code::Unimplemented, "unknown method"),
            Unknown,
        ),
        (Error::protocol(A, "no trailers"), Unknown),
        (Error::reply_too_large(A, 1), Unknown),
        (Error::cluster_changed(A, 1, 2), Unknown),
        (Error::Closed { outcome: Unknown }, Unknown),
    ];
    for (error, outcome) in rows {
        assert_eq!(error.outcome(), outcome, "{error}");
    }
}

#[test]
fn an_earlier_attempt_that_may_have_been_applied_makes_the_call_unknown() {
    let late = [
        Error::no_active_endpoint(vec![]),
        Error::timeout(
            Duration::ZERO,
            "a connection",
            Outcome::NotApplied,
            None,
            vec![],
        ),
        Error::connection(A, Outcome::NotApplied, "refused"),
        Error::from_status(A, Code::Unavailable, "etcdserver: no leader"),
        Error::unsupported(A, "/s/M", None, "unknown method M"),
        Error::Closed {
            outcome: Outcome::NotApplied,
        },
    ];
    for error in late {
        let kept = error.clone();
        assert_eq!(
            error.clone().after(Outcome::NotApplied).outcome(),
            Outcome::NotApplied,
            "{error}"
        );
        assert_eq!(
            error.after(Outcome::Unknown).outcome(),
            Outcome::Unknown,
            "{kept}"
        );
        assert_eq!(
            kept.outcome(),
            Outcome::NotApplied,
            "the shared original is untouched"
        );
    }
    let unknown = Error::connection(A, Outcome::Unknown, "reset");
    assert_eq!(
        unknown.after(Outcome::NotApplied).outcome(),
        Outcome::Unknown
    );
}

#[test]
fn errors_of_a_connection_and_of_a_file_keep_their_source() {
    let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let error = Error::connection(A, Outcome::NotApplied, io);
    let source = error
        .source()
        .and_then(|e| e.downcast_ref::<std::io::Error>());
    assert_eq!(
        source.map(std::io::Error::kind),
        Some(std::io::ErrorKind::ConnectionRefused)
    );
    assert_eq!(error.endpoint(), Some(A));

    let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = Error::file("db".as_ref(), "write", io);
    let source = error
        .source()
        .and_then(|e| e.downcast_ref::<std::io::Error>());
    assert_eq!(
        source.map(std::io::Error::kind),
        Some(std::io::ErrorKind::StorageFull)
    );
}

#[test]
fn an_rpc_that_is_not_implemented_is_unsupported_unless_etcd_has_a_word_for_it() {
    let version = Some(Arc::from("3.6.15"));
    let of = |code, message| Error::from_status(A, code, message).of_rpc("/s/M", version.as_ref());
    let unknown = of(Code::Unimplemented, "unknown method\nM");
    assert!(unknown.is_unsupported());
    assert_eq!(unknown.endpoint(), Some(A));
    assert_eq!(
        unknown.to_string(),
        r"http://a:2379: etcd 3.6.15 does not support this M: unknown method\nM; nothing was applied"
    );
    let known = of(Code::Unimplemented, "etcdserver: not capable");
    assert_eq!(known.etcd(), Some(EtcdError::NotCapable));
    assert!(!of(Code::Unknown, "unknown method M").is_unsupported());
}

#[test]
fn predicates_see_through_codes() {
    let of = |message| Error::from_status(A, Code::Unknown, message);
    assert!(of("etcdserver: mvcc: required revision has been compacted").is_compacted());
    assert!(Error::Compacted { revision: 7 }.is_compacted());
    assert!(of("etcdserver: mvcc: required revision is a future revision").is_future_revision());
    assert!(of("etcdserver: key not found").is_key_not_found());
    assert!(of("etcdserver: requested lease not found").is_lease_not_found());
    assert!(of("etcdserver: lease already exists").is_lease_already_exists());
    assert!(of("etcdserver: no leader").is_no_leader());
    assert!(of("etcdserver: permission denied").is_permission_denied());
    assert!(of("etcdserver: mvcc: database space exceeded").is_no_space());
    assert!(of("etcdserver: too many requests").is_too_many_requests());
    assert!(of("etcdserver: request timed out").is_timeout());
    assert!(
        Error::timeout(Duration::ZERO, "the reply", Outcome::Unknown, None, vec![]).is_timeout()
    );
    assert!(
        Error::Closed {
            outcome: Outcome::Unknown
        }
        .is_closed()
    );
    for stale in [
        "invalid auth token",
        "revision of auth store is old",
        "user name is empty",
    ] {
        assert!(of(stale).is_auth(), "{stale}");
    }
    assert!(!of("etcdserver: permission denied").is_auth());
    assert!(!of("etcdserver: authentication failed, invalid user ID or password").is_auth());
    assert!(!of("no leader?").is_no_leader());
}
