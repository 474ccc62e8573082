//! Streams that are reset, and replies that are none.

use etcd_core::proto::etcdserverpb::PutResponse;
use etcd_core::{Error, Outcome};
use etcd_tests::scripted::{Reply, Request};
use h2::Reason;

use crate::{PUT, RANGE, client, first, pair, seen, sent_again, unknown_and_sent_once};

#[tokio::test]
async fn a_put_that_was_refused_before_anything_came_is_sent_again() {
    let server = first(|_| Reply::rst(Reason::REFUSED_STREAM)).await;
    sent_again(&server, &client(&server).await).await;

    let (servers, client) = pair(|_| Reply::rst(Reason::REFUSED_STREAM)).await;
    client.put("k", "v").await.unwrap();
    assert_eq!(seen(&servers, PUT), [1, 1], "elsewhere");
}

#[tokio::test]
async fn a_put_that_was_refused_after_headers_is_unknown() {
    let server = first(|_| Reply::rst_after_headers(Reason::REFUSED_STREAM)).await;
    unknown_and_sent_once(&server, &client(&server).await).await;
}

#[tokio::test]
async fn a_put_that_was_reset_for_any_other_reason_is_unknown() {
    for reason in [
        Reason::NO_ERROR,
        Reason::PROTOCOL_ERROR,
        Reason::INTERNAL_ERROR,
        Reason::STREAM_CLOSED,
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::HTTP_1_1_REQUIRED,
    ] {
        let server = first(move |_| Reply::rst(reason)).await;
        let error = unknown_and_sent_once(&server, &client(&server).await).await;
        assert!(matches!(error, Error::Connection(_)), "{error}");
        assert_eq!(server.connections(), 1, "the connection is still good");
    }
}

/// Replies that gRPC does not allow, each with the words for what is wrong with it.
fn no_replies() -> Vec<(&'static str, Reply)> {
    let message = PutResponse::default();
    let part = || Reply::part(&PutResponse::default());
    vec![
        ("HTTP status 503", Reply::http_status(503)),
        ("without a grpc-status", Reply::http_status(200)),
        (
            "without a grpc-status",
            Reply::headers().then(part()).then(Reply::end()),
        ),
        (
            "without a message",
            Reply::headers().then(Reply::trailers(0, "")),
        ),
        (
            "more than one message",
            Reply::headers()
                .then(part())
                .then(part())
                .then(Reply::trailers(0, "")),
        ),
        (
            "inside a message",
            Reply::headers()
                .then(Reply::data(&b"\0\0\0\0\x09half"[..]))
                .then(Reply::trailers(0, "")),
        ),
        ("compressed", Reply::compressed(&message)),
    ]
}

#[tokio::test]
async fn a_put_whose_reply_is_none_is_unknown() {
    for (what, reply) in no_replies() {
        let server = first(move |_| reply.clone()).await;
        let error = unknown_and_sent_once(&server, &client(&server).await).await;
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(server.connections(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_read_whose_reply_is_none_is_asked_again() {
    for (what, reply) in no_replies() {
        let server = first(move |_| reply.clone()).await;
        let client = client(&server).await;
        client
            .get("k")
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(server.seen(RANGE), 2, "{what}");
    }
    let server = first(|_| Reply::rst(Reason::INTERNAL_ERROR)).await;
    client(&server).await.get("k").await.unwrap();
    assert_eq!(server.seen(RANGE), 2);
}

#[tokio::test]
async fn an_idempotent_put_is_sent_again_whatever_became_of_the_first() {
    let resets = [
        ("reset", Reply::rst(Reason::INTERNAL_ERROR)),
        (
            "refused late",
            Reply::rst_after_headers(Reason::REFUSED_STREAM),
        ),
    ];
    for (what, reply) in no_replies().into_iter().chain(resets) {
        let server = first(move |_| reply.clone()).await;
        let client = client(&server).await.idempotent();
        let put = client.put("k", "v").await;
        put.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(server.seen(PUT), 2, "{what}");
    }
}

/// The member has answered, and would answer the same again.
#[tokio::test]
async fn a_reply_that_cannot_be_decoded_ends_reads_and_writes_at_once() {
    let server = first(|_| Reply::garbage()).await;
    let client = client(&server).await.idempotent();
    for error in [
        client.put("k", "v").await.unwrap_err(),
        client.get("k").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert!(error.to_string().contains("undecodable"), "{error}");
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert_eq!((server.seen(PUT), server.seen(RANGE)), (1, 1));
    client.get("k").await.unwrap();
    assert_eq!(server.connections(), 1);
}

/// The announced length is enough: nobody waits for what would be thrown away. Asking again would bring the same.
#[tokio::test]
async fn a_reply_that_is_too_large_ends_reads_and_writes_at_once() {
    let large = |_: &Request| Reply::oversized(1 << 20);
    let server = first(large).await;
    let builder = etcd_tests::builder([server.endpoint()]);
    let client = builder.receive_limit(100_000).connect().await.unwrap();
    let error = client.put("k", "v").await.unwrap_err();
    assert!(matches!(&error, Error::TooLarge(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    let error = client.get("k").await.unwrap_err();
    let Error::TooLarge(large) = &error else {
        panic!("{error}");
    };
    assert_eq!(large.limit, 100_000);
    assert!(error.to_string().contains("scan"), "{error}");
    assert_eq!((server.seen(PUT), server.seen(RANGE)), (1, 1));
    client.get("k").await.unwrap();
    assert_eq!(server.connections(), 1);
}
