//! Clients that are closed or dropped, and runtimes that end, with and without calls under way.

use std::time::{Duration, Instant};

use etcd_core::{Client, Error, Outcome};
use etcd_tests::cluster::Target;
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::Scripted;
use etcd_tests::wait;
use tokio::time::timeout;

use crate::{LIMIT, PUT, RANGE, healthy, silent, tasks};

/// What ends within this does not wait for its time limit, which is 8 s or more, not even on a very busy machine.
const PROMPT: Duration = Duration::from_secs(5);

fn assert_closed<T: std::fmt::Debug>(result: Result<T, Error>, known: Outcome) {
    let error = result.unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert_eq!(error.outcome(), known, "{error}");
}

#[tokio::test]
async fn closing_ends_calls_under_way_on_every_clone() {
    let server = silent().await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let put = tokio::spawn(client.clone().put("k", "v"));
    let idempotent = tokio::spawn(client.idempotent().put("k", "v"));
    let get = tokio::spawn(client.timeout(Duration::from_secs(60)).get("k"));
    wait::until("they were seen", LIMIT, async || {
        (server.seen(PUT), server.seen(RANGE)) == (2, 1)
    })
    .await
    .unwrap();
    client.clone().close();
    let ended = async {
        assert_closed(put.await.unwrap(), Outcome::Unknown);
        assert_closed(idempotent.await.unwrap(), Outcome::Unknown);
        assert!(get.await.unwrap().unwrap_err().is_closed());
    };
    timeout(PROMPT, ended).await.unwrap();
    wait::until("the connection is closed", LIMIT, async || {
        server.open() == 0
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn closing_ends_calls_that_wait_for_an_endpoint() {
    let server = healthy(1).await;
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.refuse();
    let client = etcd_tests::builder([proxy.endpoint()]).build();
    let client = client.unwrap();
    let put = tokio::spawn(client.put("k", "v"));
    let get = tokio::spawn(client.get("k"));
    crate::all_failed(&client).await;
    client.close();
    let ended = async {
        assert_closed(put.await.unwrap(), Outcome::NotApplied);
        assert_closed(get.await.unwrap(), Outcome::NotApplied);
    };
    timeout(PROMPT, ended).await.unwrap();
    proxy.accept().unwrap();
    assert_eq!(proxy.accepted(), 0);
}

#[tokio::test]
async fn a_closed_client_takes_no_more_calls() {
    let server = healthy(1).await;
    let before = tasks();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let (clone, view) = (client.clone(), client.timeout(LIMIT).wait_ready(false));
    client.put("k", "v").await.unwrap();
    client.close();
    client.close();
    let start = Instant::now();
    for client in [&client, &clone, &view] {
        assert_closed(client.put("k", "v").await, Outcome::NotApplied);
        assert_closed(client.get("k").await, Outcome::NotApplied);
        assert_closed(client.status().await, Outcome::NotApplied);
    }
    assert!(start.elapsed() < PROMPT);
    assert_eq!((server.seen(PUT), server.seen(RANGE)), (1, 0));
    wait::until("no task is left", LIMIT, async || tasks() == before)
        .await
        .unwrap();
}

#[tokio::test]
async fn two_clients_share_nothing() {
    let server = healthy(1).await;
    let (one, other) = (
        etcd_tests::connect(server.endpoint()).await.unwrap(),
        etcd_tests::connect(server.endpoint()).await.unwrap(),
    );
    one.close();
    assert_closed(one.put("k", "v").await, Outcome::NotApplied);
    other.put("k", "v").await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn dropping_the_client_leaves_no_task_and_no_connection_behind() {
    let target = Target::get().await.unwrap();
    let prefix = target.prefix();
    let address = &target.endpoints()[0];
    let proxies = [
        Proxy::start(address).await.unwrap(),
        Proxy::start(address).await.unwrap(),
    ];
    let before = tasks();
    for round in 0..10 {
        let endpoints = proxies.iter().map(Proxy::endpoint);
        let client = etcd_tests::builder(endpoints).build().unwrap();
        let view = client.clone().idempotent();
        match round % 3 {
            // While it connects, connected, and with calls under way.
            0 => {}
            1 => drop(view.put(prefix.key("k"), "v").await.unwrap()),
            _ => {
                client.get(prefix.key("k")).await.unwrap();
                let calls = (0..100).map(|n| client.put(prefix.key(n), "v"));
                let calls = futures_util::future::join_all(calls);
                let _ = timeout(Duration::from_micros(500), calls).await;
            }
        }
        drop((client, view));
        wait::until("nothing is left of it", LIMIT, async || {
            tasks() == before && proxies.iter().all(|proxy| proxy.open() == 0)
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_call_outlives_the_client_it_was_made_from() {
    let server = healthy(1).await;
    let before = tasks();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let (unpolled, spawned) = (client.put("k", "v"), tokio::spawn(client.get("k")));
    drop(client);
    unpolled.await.unwrap();
    spawned.await.unwrap().unwrap();
    wait::until("nothing is left of it", LIMIT, async || {
        tasks() == before && server.open() == 0
    })
    .await
    .unwrap();
}

/// A client of a runtime of its own, used from this one, and that runtime.
async fn elsewhere(server: &Scripted) -> (tokio::runtime::Runtime, Client) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let connect = etcd_tests::builder([server.endpoint()]).connect();
    let client = runtime.spawn(connect).await.unwrap().unwrap();
    (runtime, client)
}

#[tokio::test]
async fn calls_end_when_the_clients_runtime_is_shut_down() {
    let server = silent().await;
    let (runtime, client) = elsewhere(&server).await;
    let put = tokio::spawn(client.put("k", "v"));
    let get = tokio::spawn(client.get("k"));
    wait::until("they were seen", LIMIT, async || {
        (server.seen(PUT), server.seen(RANGE)) == (1, 1)
    })
    .await
    .unwrap();
    runtime.shutdown_background();
    let ended = async {
        let error = put.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let error = get.await.unwrap().unwrap_err();
        assert!(error.is_closed(), "{error}");
        // Nobody is left to send anything.
        assert_closed(client.put("k", "v").await, Outcome::NotApplied);
    };
    timeout(PROMPT, ended).await.unwrap();
    assert_eq!(server.seen(PUT), 1);
}
