//! Connections that end under a call.

use std::time::{Duration, Instant};

use etcd_core::{Client, Error, Outcome};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use h2::Reason;

use crate::{LIMIT, PUT, RANGE, client, first, pair, seen, sent_again, unknown_and_sent_once};

/// The server has not looked at streams above the last one that it names.
#[tokio::test]
async fn a_put_above_the_last_stream_of_a_goaway_is_sent_again() {
    let server =
        first(|put| Reply::goaway(put.stream - 2, Reason::NO_ERROR, "").then(Reply::close())).await;
    let client = client(&server).await;
    sent_again(&server, &client).await;
    let on: Vec<_> = server.requests(PUT).iter().map(|r| r.connection).collect();
    assert_eq!(on, [0, 1], "on a connection of its own");
}

#[tokio::test]
async fn a_put_above_the_last_stream_of_a_goaway_is_sent_to_another_member() {
    let (servers, client) = pair(|put| Reply::goaway(put.stream - 2, Reason::NO_ERROR, "")).await;
    client.put("k", "v").await.unwrap();
    // One refused it unseen, the other one processed it.
    assert_eq!(seen(&servers, PUT), [1, 1]);
}

#[tokio::test]
async fn a_put_at_the_last_stream_of_a_goaway_is_unknown_when_the_connection_ends() {
    for above in [0, 2, 1 << 20] {
        let goodbye = move |put: &Request| {
            Reply::goaway(put.stream + above, Reason::NO_ERROR, "").then(Reply::close())
        };
        let server = first(goodbye).await;
        let error = unknown_and_sent_once(&server, &client(&server).await).await;
        assert!(matches!(error, Error::Connection(_)), "{error}");
    }
}

#[tokio::test]
async fn a_put_that_is_answered_after_a_goaway_succeeds() {
    let server =
        first(|put| Reply::goaway(put.stream, Reason::NO_ERROR, "").then(put.usual())).await;
    let client = client(&server).await;
    client.put("k", "v").await.unwrap();
    assert_eq!(server.seen(PUT), 1);
    // The next one goes to a new connection.
    client.put("k", "v").await.unwrap();
    let on: Vec<_> = server.requests(PUT).iter().map(|r| r.connection).collect();
    assert_eq!(on, [0, 1]);
}

#[tokio::test]
async fn too_many_pings_leaves_a_put_unknown() {
    let server = first(|put| {
        Reply::goaway(put.stream, Reason::ENHANCE_YOUR_CALM, "too_many_pings").then(Reply::close())
    })
    .await;
    let error = unknown_and_sent_once(&server, &client(&server).await).await;
    assert!(error.to_string().contains("too_many_pings"), "{error}");
}

#[tokio::test]
async fn a_put_under_way_when_the_connection_ends_is_unknown() {
    let half = || Reply::headers().then(Reply::data(&b"\0\0\0\0\x09half"[..]));
    let ends: [fn() -> Reply; 2] = [Reply::close, Reply::abort];
    for end in ends {
        for before in [Reply::silence(), Reply::headers(), half()] {
            let server = first(move |_| before.clone().then(end())).await;
            let error = unknown_and_sent_once(&server, &client(&server).await).await;
            assert!(matches!(error, Error::Connection(_)), "{error}");
        }
    }
}

/// What an open stream id says is not known to the peer when frames of it are malformed: our side ends the connection.
#[tokio::test]
async fn a_put_is_unknown_when_the_server_breaks_the_protocol() {
    let server = first(|_| Reply::raw(0, 0, 99, "DATA of a stream that never was")).await;
    unknown_and_sent_once(&server, &client(&server).await).await;
}

#[tokio::test]
async fn a_read_under_way_when_the_connection_ends_is_asked_again() {
    let server = first(|_| Reply::headers().then(Reply::abort())).await;
    let client = client(&server).await;
    client.get("k").await.unwrap();
    assert_eq!(server.seen(RANGE), 2);

    let (servers, client) = pair(|_| Reply::close()).await;
    client.get("k").await.unwrap();
    assert_eq!(seen(&servers, RANGE), [1, 1], "elsewhere");
}

#[tokio::test]
async fn an_idempotent_put_under_way_when_the_connection_ends_is_sent_again() {
    let server = first(|_| Reply::abort()).await;
    sent_again(&server, &client(&server).await.idempotent()).await;

    let (servers, client) = pair(|_| Reply::close()).await;
    client.idempotent().put("k", "v").await.unwrap();
    assert_eq!(seen(&servers, PUT), [1, 1], "elsewhere");
}

/// The connection is already gone when the call is made, and nobody has noticed: no byte of the request is accepted any more,
/// so it goes out on the next connection.
#[tokio::test]
async fn a_put_of_which_no_byte_left_is_sent_on_the_next_connection() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    for round in 1..=10 {
        // A client of its own: reconnecting again and again would be slowed down.
        let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
        let accepted = proxy.accepted();
        proxy.reset_all();
        client.put("k", "v").await.unwrap();
        assert_eq!(server.seen(PUT), round);
        assert_eq!(proxy.accepted(), accepted + 1);
    }
}

#[tokio::test]
async fn a_put_that_is_not_answered_in_time_is_unknown() {
    let server = first(|_| Reply::silence()).await;
    let client = client(&server).await;
    let limit = Duration::from_millis(300);
    let start = Instant::now();
    let error = client.timeout(limit).put("k", "v").await.unwrap_err();
    let elapsed = start.elapsed();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(
        error.to_string().contains("waiting for the reply"),
        "{error}"
    );
    assert!(elapsed >= limit);
    wait::until("its stream is reset", LIMIT, async || {
        server.resets().len() == 1
    })
    .await
    .unwrap();
    assert_eq!(server.seen(PUT), 1);
}

/// A read goes elsewhere when its member falls silent; a write can be neither taken back nor sent twice, so it waits.
#[tokio::test]
async fn a_put_to_a_member_that_fell_silent_is_not_sent_elsewhere() {
    let (servers, quick) = pair(|_| Reply::silence()).await;
    let builder = etcd_tests::builder(servers.iter().map(Scripted::endpoint));
    let builder = builder.suspect_after(Duration::from_millis(50));
    let client = builder.dead_after(Duration::from_millis(300)).connect();
    let client = client.await.unwrap();
    crate::both_active(&client).await;
    quick.close();

    for server in &servers {
        server.answer_pings(false);
    }
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(error.to_string().contains("no answer to a PING"), "{error}");
    assert_eq!(seen(&servers, PUT).iter().sum::<usize>(), 1);
}

const ATTEMPT: Duration = Duration::from_millis(700);

/// With a time limit for each attempt, and none for silence.
async fn impatient(servers: &[Scripted]) -> Client {
    let builder = etcd_tests::builder(servers.iter().map(Scripted::endpoint));
    let builder = builder.suspect_after(Duration::from_secs(60));
    let builder = builder.read_attempt_timeout(ATTEMPT);
    builder.connect().await.unwrap()
}

#[tokio::test]
async fn a_read_that_takes_long_is_asked_elsewhere() {
    let (servers, other) = pair(|_| Reply::silence()).await;
    let client = impatient(&servers).await;
    crate::both_active(&client).await;
    other.close();
    let start = Instant::now();
    client.get("k").await.unwrap();
    assert!(start.elapsed() >= ATTEMPT);
    assert_eq!(seen(&servers, RANGE), [1, 1]);
}

/// Asking the same member again would only begin its work anew.
#[tokio::test]
async fn a_read_that_takes_long_is_waited_for_where_nobody_else_can_answer() {
    let server = crate::server(|get| Reply::delay(2 * ATTEMPT, get.usual())).await;
    let servers = [server];
    let client = impatient(&servers).await;
    client.get("k").await.unwrap();
    client
        .endpoint(servers[0].endpoint())
        .get("k")
        .await
        .unwrap();
    assert_eq!((servers[0].seen(RANGE), servers[0].resets().len()), (2, 0));
}
