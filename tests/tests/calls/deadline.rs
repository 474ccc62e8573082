//! A call ends with its time limit, whatever it is waiting for, and says what that was.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use etcd_core::{Client, ClientBuilder, Error, Get, Outcome, Put, Txn};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::Scripted;
use etcd_tests::tls;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::{PUT, all_failed, healthy, silent};

/// How late a call may end.
const GRACE: Duration = Duration::from_millis(100);

/// The error of a call whose time limit is `limit`, which it must keep, but for the time that this machine kept the runtime from
/// running: once before the call could notice, and once before we could.
async fn overdue<T: std::fmt::Debug>(
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Error {
    const TICK: Duration = Duration::from_millis(10);
    let mut call = pin!(call);
    let (start, mut longest) = (Instant::now(), TICK);
    let error = loop {
        let tick = Instant::now();
        let ended = timeout(TICK, &mut call).await;
        longest = longest.max(tick.elapsed());
        if let Ok(result) = ended {
            break result.unwrap_err();
        }
    };
    let (elapsed, starved) = (start.elapsed(), longest - TICK);
    assert!(elapsed >= limit, "{elapsed:?}: {error}");
    assert!(
        elapsed < limit + GRACE + 2 * starved,
        "{elapsed:?}, without the processor for {starved:?}: {error}"
    );
    error
}

/// One call of each kind at once, all with this time limit.
async fn calls(client: &Client, limit: Duration) -> Vec<Error> {
    let client = client.timeout(limit);
    let point = async { overdue(limit, client.get("k")).await };
    let range = async { overdue(limit, client.get(Get::prefix("k"))).await };
    let put = async { overdue(limit, client.put("k", "v")).await };
    let txn = async { overdue(limit, client.txn(Txn::new().then(Put::new("k", "v")))).await };
    let delete = async { overdue(limit, client.delete("k")).await };
    let status = async { overdue(limit, client.status()).await };
    let (a, b, c, d, e, f) = tokio::join!(point, range, put, txn, delete, status);
    vec![a, b, c, d, e, f]
}

#[tokio::test]
async fn calls_through_a_black_hole_end_with_their_time_limit() {
    let server = healthy(1).await;
    let proxy = Proxy::start(server.address()).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    proxy.block(Direction::Both);
    for error in calls(&client, Duration::from_millis(500)).await {
        let Error::Timeout(timeout) = &error else {
            panic!("{error}");
        };
        assert_eq!(timeout.waiting_for, "the reply");
        assert_eq!(timeout.endpoint.as_deref(), Some(&*proxy.endpoint()));
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert!(error.is_timeout() && error.to_string().contains(&proxy.endpoint()));
    }
    // A limit shorter than anything the client does about silence.
    calls(&client, Duration::from_millis(50)).await;
    assert_eq!(server.seen(PUT), 0);
}

/// Three endpoints that can be reached in no way, each for another reason.
struct Down {
    refused: Proxy,
    black_hole: Proxy,
    hangs_up: String,
    _server: Scripted,
}

impl Down {
    async fn new() -> Down {
        let server = healthy(1).await;
        let refused = Proxy::start(server.address()).await.unwrap();
        refused.refuse();
        let black_hole = Proxy::start(server.address()).await.unwrap();
        black_hole.block(Direction::Both);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = tls::scheme(tls::by_default());
        let hangs_up = format!("{scheme}://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        Down {
            refused,
            black_hole,
            hangs_up,
            _server: server,
        }
    }

    fn client(&self) -> ClientBuilder {
        let endpoints = [
            self.refused.endpoint(),
            self.black_hole.endpoint(),
            self.hangs_up.clone(),
        ];
        let limit = Duration::from_millis(200);
        let client = etcd_tests::builder(endpoints).connect_timeout(limit);
        client.tls_handshake_timeout(limit)
    }

    fn assert_named(&self, error: &Error) {
        let text = error.to_string();
        let silent = match tls::by_default() {
            true => "no TLS handshake within 200ms",
            false => "no answer to HTTP/2 within 200ms",
        };
        for (endpoint, cause) in [
            (self.refused.endpoint(), "Connection refused"),
            (self.black_hole.endpoint(), silent),
            (self.hangs_up.clone(), "connection"),
        ] {
            let (_, after) = text.split_once(&endpoint).unwrap();
            let report = after.split("://").next().unwrap();
            assert!(report.contains(cause), "{endpoint}: {text}");
        }
    }
}

#[tokio::test]
async fn with_all_members_down_each_error_names_every_endpoint_and_its_cause() {
    let down = Down::new().await;
    let client = down.client().build().unwrap();
    all_failed(&client).await;
    for error in calls(&client, Duration::from_millis(300)).await {
        assert!(matches!(error, Error::Timeout(_)), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        down.assert_named(&error);
    }
}

#[tokio::test]
async fn connecting_ends_with_the_dial_timeout_and_names_every_endpoint() {
    let down = Down::new().await;
    let limit = Duration::from_secs(2);
    let error = overdue(limit, down.client().dial_timeout(limit).connect()).await;
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
    down.assert_named(&error);
}

#[tokio::test]
async fn when_all_members_have_gone_each_error_names_them() {
    let (mut servers, mut proxies) = (Vec::new(), Vec::new());
    for member in 1..=3 {
        let server = healthy(member).await;
        proxies.push(Proxy::start(server.address()).await.unwrap());
        servers.push(server);
    }
    let endpoints = proxies.iter().map(Proxy::endpoint);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    client.put("k", "v").await.unwrap();
    for proxy in &proxies {
        proxy.refuse();
        proxy.reset_all();
    }
    all_failed(&client).await;
    for error in calls(&client, Duration::from_millis(300)).await {
        let text = error.to_string();
        for proxy in &proxies {
            assert!(text.contains(&proxy.endpoint()), "{text}");
        }
        assert_eq!(text.matches("refused").count(), 3, "{text}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
}

#[tokio::test]
async fn without_waiting_there_is_no_active_endpoint_at_once() {
    let down = Down::new().await;
    let client = down.client().build().unwrap();
    all_failed(&client).await;
    let hasty = client.wait_ready(false);
    let start = Instant::now();
    let errors = [
        hasty.get("k").await.map(drop),
        hasty.get(Get::all()).await.map(drop),
        hasty.put("k", "v").await.map(drop),
        hasty.delete("k").await.map(drop),
        hasty.txn(Txn::new()).await.map(drop),
        hasty.status().await.map(drop),
    ];
    // Their time limit is 8 s.
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        down.assert_named(&error);
    }
    // Where there is one, it makes no difference.
    let server = healthy(1).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    client.wait_ready(false).put("k", "v").await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_room_in_the_queue_end_with_their_time_limit() {
    let server = healthy(1).await;
    let proxy = Proxy::start(server.address()).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    proxy.block(Direction::Both);
    let limit = Duration::from_millis(1_000);
    let client = client.timeout(limit);
    let value = bytes::Bytes::from(vec![0; 1_400_000]);
    let puts = (0..100).map(|n| overdue(limit, client.put(format!("k{n}"), &value)));
    let errors = join_all(puts).await;
    // 64 MiB may wait in the queue; what did not even get into it certainly did not leave.
    let not_applied = |error: &Error| error.outcome() == Outcome::NotApplied;
    assert!(errors.iter().any(not_applied));
    assert_eq!(server.seen(PUT), 0);
}

#[tokio::test]
async fn a_call_without_a_limit_of_its_own_has_the_clients() {
    let server = silent().await;
    let limit = Duration::from_millis(300);
    let client = etcd_tests::builder([server.endpoint()]);
    let client = client.request_timeout(limit).connect().await.unwrap();
    overdue(limit, client.put("k", "v")).await;
    overdue(limit, client.get("k")).await;
    // A view can have more time, and the client itself is not changed by it.
    let longer = Duration::from_millis(600);
    overdue(longer, client.timeout(longer).put("k", "v")).await;
    overdue(limit, client.put("k", "v")).await;
}
