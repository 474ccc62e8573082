//! Error statuses: which calls they end, and which go on.

use std::time::{Duration, Instant};

use etcd_core::{Code, Error, EtcdError, Outcome};
use etcd_tests::scripted::Reply;

use crate::{PUT, RANGE, client, first, pair, seen};

/// How often the server sees a call whose first answer is that status, and what a write knows when it ends so.
struct Row {
    code: u32,
    message: &'static str,
    reads: usize,
    writes: usize,
    outcome: Outcome,
}

const fn row(
    code: u32,
    message: &'static str,
    [reads, writes]: [usize; 2],
    outcome: Outcome,
) -> Row {
    Row {
        code,
        message,
        reads,
        writes,
        outcome,
    }
}

use Outcome::{NotApplied, Unknown};

const ROWS: [Row; 20] = [
    row(14, "etcdserver: no leader", [2, 2], NotApplied),
    row(8, "etcdserver: too many requests", [2, 2], NotApplied),
    row(2, "raft proposal dropped", [2, 2], NotApplied),
    row(14, "etcdserver: not capable", [2, 2], NotApplied),
    row(
        14,
        "etcdserver: rpc not supported for learner",
        [2, 2],
        NotApplied,
    ),
    row(14, "etcdserver: leader changed", [2, 1], Unknown),
    row(14, "etcdserver: server stopped", [2, 1], Unknown),
    row(14, "etcdserver: request timed out", [2, 1], Unknown),
    row(
        14,
        "etcdserver: request timed out, possibly due to connection lost",
        [2, 1],
        Unknown,
    ),
    row(1, "context canceled", [2, 1], Unknown),
    row(14, "something between us and etcd", [2, 1], Unknown),
    row(
        8,
        "etcdserver: mvcc: database space exceeded",
        [1, 1],
        Unknown,
    ),
    row(15, "etcdserver: corrupt cluster", [1, 1], Unknown),
    row(13, "some other failure", [1, 1], Unknown),
    row(8, "grpc: received message larger than max", [1, 1], Unknown),
    row(12, "unknown method Put", [1, 1], NotApplied),
    row(7, "etcdserver: permission denied", [1, 1], NotApplied),
    row(
        5,
        "etcdserver: requested lease not found",
        [1, 1],
        NotApplied,
    ),
    row(
        11,
        "etcdserver: mvcc: required revision has been compacted",
        [1, 1],
        NotApplied,
    ),
    row(3, "etcdserver: key is not provided", [1, 1], NotApplied),
];

#[tokio::test]
async fn each_status_ends_a_call_or_has_it_sent_again() {
    for Row {
        code,
        message,
        reads,
        writes,
        outcome,
    } in ROWS
    {
        let server = first(move |_| Reply::status(code, message)).await;
        let client = client(&server).await;
        let check = |error: Error| {
            assert_eq!(error.code(), Some(Code::from_number(code)), "{message}");
            assert_eq!(error.outcome(), outcome, "{message}");
            assert!(error.to_string().contains(message), "{error}");
        };
        match client.put("k", "v").await {
            Ok(_) => assert_eq!(writes, 2, "{message}"),
            Err(error) => check(error),
        }
        match client.get("k").await {
            Ok(_) => assert_eq!(reads, 2, "{message}"),
            Err(error) => check(error),
        }
        assert_eq!(
            (server.seen(RANGE), server.seen(PUT)),
            (reads, writes),
            "{message}"
        );
    }
}

/// An error after an attempt that may have been applied says so, whatever it says itself.
#[tokio::test]
async fn an_unknown_first_attempt_makes_the_whole_call_unknown() {
    let server = crate::server(|request| match request.nth {
        1 => Reply::rst(h2::Reason::INTERNAL_ERROR),
        _ => Reply::status(7, "etcdserver: permission denied"),
    })
    .await;
    let client = client(&server).await.idempotent();
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::PermissionDenied));
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(server.seen(PUT), 2);
}

#[tokio::test]
async fn a_member_without_a_leader_passes_calls_on_to_another() {
    for write in [false, true] {
        let (servers, client) = pair(|_| Reply::status(14, "etcdserver: no leader")).await;
        let path = if write {
            client.put("k", "v").await.unwrap();
            PUT
        } else {
            client.get("k").await.unwrap();
            RANGE
        };
        assert_eq!(seen(&servers, path), [1, 1]);
    }
}

/// Its load would not get less by asking another member at once.
#[tokio::test]
async fn an_overloaded_member_gets_time_before_another_is_asked() {
    let (servers, client) = pair(|_| Reply::status(8, "etcdserver: too many requests")).await;
    let start = Instant::now();
    client.put("k", "v").await.unwrap();
    // 25 ms, of which jitter takes a fifth.
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!(seen(&servers, PUT), [1, 1]);
}

/// The time limit ends them, not a number of attempts, and the error is what the server said last.
#[tokio::test]
async fn refusals_that_do_not_pass_are_asked_for_again_until_the_time_is_over() {
    let limit = Duration::from_secs(2);
    for (code, message, kind) in [
        (14, "etcdserver: no leader", EtcdError::NoLeader),
        (
            8,
            "etcdserver: too many requests",
            EtcdError::TooManyRequests,
        ),
    ] {
        let server = crate::server(move |_| Reply::status(code, message)).await;
        let client = client(&server).await.timeout(limit);
        let error = client.put("k", "v").await.unwrap_err();
        // On a machine that is very busy the last attempt may be under way.
        let said = (error.etcd(), error.outcome()) == (Some(kind), Outcome::NotApplied);
        assert!(said || error.is_timeout(), "{error}");
        // With growing delays, 25 ms to 800 ms, each of which jitter shortens by up to a fifth.
        let seen = server.seen(PUT);
        assert!((3..=10).contains(&seen), "{message}: {seen} attempts");
    }
}

/// In HEADERS alone, without a message before: etcd refuses most requests so.
#[tokio::test]
async fn the_message_of_a_refusal_arrives_whole() {
    let long = "long ".repeat(20_000);
    for message in [
        "etcdserver: über 100 % — „schön“, 日本語",
        "two\nlines\tand a bell \u{7}",
        "%41 is not A, and %zz is nothing",
        "",
        &long,
    ] {
        let sent = message.to_owned();
        let server = first(move |_| Reply::status(9, &sent)).await;
        let client = client(&server).await;
        let error = client.put("k", "v").await.unwrap_err();
        let Error::Server(answer) = &error else {
            panic!("{error}");
        };
        assert_eq!(answer.code, Code::FailedPrecondition);
        assert!(answer.message == message, "{:?}", answer.message);
        assert!(!error.to_string().contains(['\n', '\u{7}']), "{error}");
        client.put("k", "v").await.unwrap();
        assert_eq!(server.connections(), 1);
    }
}
