//! Views: the same client, with calls made in another way.

use std::time::Duration;

use etcd_core::{Client, Error, Get, Guard, Outcome, Put};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

use crate::{LIMIT, PUT, RANGE, healthy};

async fn pair() -> ([Scripted; 2], Client) {
    let servers = [healthy(1).await, healthy(2).await];
    let endpoints = servers.iter().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).name("pair");
    let client = client.connect().await.unwrap();
    wait::until("both endpoints are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    (servers, client)
}

#[tokio::test]
async fn a_view_of_an_endpoint_sends_everything_there_and_nothing_elsewhere() {
    let (servers, client) = pair().await;
    for (here, there) in [(0, 1), (1, 0)] {
        let view = client.endpoint(servers[here].endpoint());
        let before = [RANGE, PUT].map(|path| servers[there].seen(path));
        for _ in 0..50 {
            view.get("k").await.unwrap();
            view.get(Get::all().serializable()).await.unwrap();
            view.put("k", "v").await.unwrap();
            assert_eq!(
                view.status().await.unwrap().header.unwrap().member_id,
                here as u64 + 1
            );
        }
        let after = [RANGE, PUT].map(|path| servers[there].seen(path));
        assert_eq!(before, after);
        assert!(servers[here].seen(RANGE) >= 100 && servers[here].seen(PUT) >= 50);
    }
}

#[tokio::test]
async fn a_view_of_an_endpoint_that_is_gone_does_not_go_elsewhere() {
    let (servers, client) = pair().await;
    let [gone, other] = servers;
    let view = client.endpoint(gone.endpoint());
    drop(gone);
    let short = view.timeout(Duration::from_millis(300));
    assert!(short.get("k").await.is_err());
    let error = short.put("k", "v").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    let error = view.wait_ready(false).get("k").await.unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
    assert_eq!(other.seen(RANGE) + other.seen(PUT), 0);
    // The client itself does.
    client.get("k").await.unwrap();
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn a_view_of_an_endpoint_asks_it_again_rather_than_another() {
    let first = Scripted::start(|request: &Request| match request.nth {
        1 if request.path == RANGE => Reply::status(14, "etcdserver: no leader"),
        _ => request.usual(),
    })
    .await
    .unwrap();
    let second = healthy(2).await;
    let client = etcd_tests::builder([first.endpoint(), second.endpoint()]);
    let client = client.connect().await.unwrap();
    client.endpoint(first.endpoint()).get("k").await.unwrap();
    assert_eq!((first.seen(RANGE), second.seen(RANGE)), (2, 0));
}

#[tokio::test]
async fn only_calls_that_require_a_leader_say_so() {
    let server = healthy(1).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let demanding = client.require_leader(true);
    client.get("k").await.unwrap();
    demanding.get("k").await.unwrap();
    demanding.require_leader(false).get("k").await.unwrap();
    demanding.timeout(LIMIT).put("k", "v").await.unwrap();
    let said = |path| {
        let said = |request: &Request| request.metadata("hasleader").map(str::to_owned);
        server.requests(path).iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(said(RANGE), [None, Some("true".to_owned()), None]);
    assert_eq!(said(PUT), [Some("true".to_owned())]);
}

#[tokio::test]
async fn clones_and_views_share_their_connections_and_their_name() {
    let (servers, client) = pair().await;
    let view = client.clone().idempotent().timeout(LIMIT);
    drop(client);
    view.put("k", "v").await.unwrap();
    assert_eq!(view.name(), "pair");
    assert!(servers.iter().all(|server| server.connections() == 1));
}

#[tokio::test]
async fn a_time_limit_of_any_length_is_one() {
    let (_servers, client) = pair().await;
    let patient = client.timeout(Duration::MAX);
    patient.get("k").await.unwrap();
    patient.put("k", "v").await.unwrap();
    patient.create("k", "v").await.unwrap_err();
    let put = Put::new("k", "v");
    let guarded = patient.guarded_put(put, Guard::Absent).await;
    assert!(guarded.is_err(), "the scripted server runs no transactions");
    let stream = patient.range_stream("k").await;
    assert!(stream.is_err(), "nor streams of ranges");
    for refused in [Duration::ZERO, Duration::MAX] {
        let builder = Client::builder().endpoints(["127.0.0.1:2379"]);
        let error = builder.request_timeout(refused).build().unwrap_err();
        assert!(
            matches!(&error, Error::Config(wrong) if wrong.option == "request_timeout"),
            "{error}"
        );
    }
}
