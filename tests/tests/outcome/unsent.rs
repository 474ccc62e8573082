//! A write that never left: it is not applied, and it is sent as soon as that is possible.

use std::time::{Duration, Instant};

use etcd_core::{Client, EndpointState, Error, Outcome};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use futures_util::future::join_all;

use crate::{LIMIT, PUT, RANGE};

const MAX_CONCURRENT_STREAMS: u16 = 3;

#[tokio::test]
async fn a_put_that_finds_no_open_port_waits_for_one_and_is_sent_once() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.refuse();
    let client = etcd_tests::builder([proxy.endpoint()]).build();
    let client = client.unwrap();
    let put = tokio::spawn(client.put("k", "v"));
    wait::until("the port was found closed", LIMIT, async || {
        let state = client.endpoints().rows()[0].state.clone();
        matches!(state, EndpointState::Frozen { cause: Some(cause), .. } if cause.contains("refused"))
    })
    .await
    .unwrap();
    assert!(!put.is_finished());
    proxy.accept().unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(server.seen(PUT), 1);
}

#[tokio::test]
async fn a_put_that_never_finds_an_open_port_is_not_applied() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.refuse();
    let client = etcd_tests::builder([proxy.endpoint()]).build();
    let client = client.unwrap().timeout(Duration::from_millis(300));
    let error = client.put("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    let text = error.to_string();
    assert!(
        text.contains("waiting for an active endpoint") && text.contains("refused"),
        "{text}"
    );
    assert_eq!(server.seen(PUT), 0);
}

/// A client whose connections look at nothing but what arrives: no timer moves a queue that is stuck.
async fn unsuspecting(server: &Scripted) -> Client {
    let builder = etcd_tests::builder([server.endpoint()]);
    let builder = builder.suspect_after(Duration::from_secs(60));
    let builder = builder.keep_alive_interval(Duration::from_secs(60));
    builder.connect().await.unwrap()
}

/// A member that allows one call at a time, of which the first is never answered: the second one waits in our queue.
async fn one_at_a_time() -> (Scripted, Client) {
    let script = |request: &Request| match request.path.as_str() {
        PUT if request.connection == 0 => Reply::silence(),
        _ => request.usual(),
    };
    let builder = Scripted::builder().setting(MAX_CONCURRENT_STREAMS, 1);
    let server = builder.start(script).await.unwrap();
    let client = unsuspecting(&server).await;
    (server, client)
}

/// A put that is under way on the member's only stream.
async fn stuck(server: &Scripted, client: &Client) -> tokio::task::JoinHandle<Result<(), Error>> {
    let put = client.put("first", "v");
    let put = tokio::spawn(async { put.await.map(drop) });
    wait::until("it was seen", LIMIT, async || server.seen(PUT) == 1)
        .await
        .unwrap();
    put
}

#[tokio::test]
async fn a_put_whose_time_is_over_in_the_queue_is_not_applied() {
    let (server, client) = one_at_a_time().await;
    let _first = stuck(&server, &client).await;
    let limit = Duration::from_millis(200);
    let start = Instant::now();
    let error = client.timeout(limit).put("queued", "v").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(start.elapsed() >= limit);
    assert_eq!(server.seen(PUT), 1);
}

#[tokio::test]
async fn a_put_that_is_dropped_in_the_queue_is_never_sent() {
    let (server, client) = one_at_a_time().await;
    let first = stuck(&server, &client).await;
    {
        let queued = client.put("queued", "v");
        let dropped = tokio::time::timeout(Duration::from_millis(50), queued).await;
        assert!(dropped.is_err());
    }
    // The first one makes room; the next that is sent is the read.
    first.abort();
    client.get("k").await.unwrap();
    assert_eq!((server.seen(PUT), server.seen(RANGE)), (1, 1));
}

#[tokio::test]
async fn a_put_in_the_queue_of_a_lost_connection_is_sent_on_the_next_one() {
    let (server, client) = one_at_a_time().await;
    let first = stuck(&server, &client).await;
    let queued = tokio::spawn(client.put("queued", "v"));
    wait::until("both are in flight", LIMIT, async || {
        client.endpoints().rows()[0].in_flight == 2
    })
    .await
    .unwrap();
    server.push(0, Reply::abort()).await;
    queued.await.unwrap().unwrap();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    let puts = server.requests(PUT);
    let on: Vec<_> = puts.iter().map(|put| put.connection).collect();
    assert_eq!(on, [0, 1]);
}

/// What was sent goes on where it is, and what was not moves.
#[tokio::test]
async fn a_put_in_the_queue_when_the_server_says_goodbye_is_sent_on_the_next_connection() {
    let (server, client) = one_at_a_time().await;
    let first = stuck(&server, &client).await;
    let queued = tokio::spawn(client.put("queued", "v"));
    wait::until("both are in flight", LIMIT, async || {
        client.endpoints().rows()[0].in_flight == 2
    })
    .await
    .unwrap();
    server
        .push(0, Reply::goaway(1 << 30, h2::Reason::NO_ERROR, ""))
        .await;
    queued.await.unwrap().unwrap();
    assert!(!first.is_finished());
    server.push(0, Reply::close()).await;
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(server.seen(PUT), 2);
}

#[tokio::test]
async fn puts_beyond_what_the_server_allows_at_once_take_turns() {
    let builder = Scripted::builder().setting(MAX_CONCURRENT_STREAMS, 2);
    let server = builder.start(Request::usual).await.unwrap();
    let client = unsuspecting(&server).await;
    let puts = join_all((0..50).map(|n| client.put(format!("k{n}"), "v")));
    assert!(puts.await.iter().all(Result::is_ok));
    assert_eq!((server.seen(PUT), server.connections()), (50, 1));
}
