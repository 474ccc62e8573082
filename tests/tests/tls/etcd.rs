//! Real etcd over TLS, where Go's HTTP server carries gRPC, with other rules than gRPC's own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_core::{Client, Compare, Get, Put, Tls, TlsError, Txn, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::load::Load;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::tls;
use etcd_tests::wait;
use futures_util::future::join_all;

use crate::{LIMIT, authority, dial, explained};

async fn one_member() -> Cluster {
    Cluster::builder().tls(true).start().await.unwrap()
}

async fn three_members() -> Cluster {
    let builder = Cluster::builder().members(3).tls(true);
    builder.start().await.unwrap()
}

/// Keys, transactions, a watch and a lease.
async fn main_job(client: &Client) {
    let mut watcher = client.watch(Watch::prefix("job/").prev_kv()).await.unwrap();
    let lease = client.lease(Duration::from_secs(5)).await.unwrap();
    client
        .send(Put::new("job/a", "1").lease(lease.id()))
        .await
        .unwrap();
    let replace = Txn::new()
        .when(Compare::version("job/a").equals(1))
        .then(Put::new("job/a", "2"));
    assert!(client.txn(replace).await.unwrap().succeeded);
    let mut values = Vec::new();
    while values.len() < 2 {
        let batch = watcher.try_next().await.unwrap().unwrap();
        values.extend(
            batch
                .events
                .into_iter()
                .map(|event| event.kv.unwrap().value),
        );
    }
    assert_eq!(values, ["1", "2"]);
    let kept = client.get("job/a").await.unwrap().into_first().unwrap();
    assert_eq!((&kept.value[..], kept.version), (&b"2"[..], 2));
    assert!(lease.is_valid());
    lease.revoke().await.unwrap();
}

#[tokio::test]
async fn the_main_job_works_over_tls_and_with_client_certificates() {
    let cluster = one_member().await;
    main_job(&tls::connect(cluster.endpoint(0)).await.unwrap()).await;

    let cluster = Cluster::builder().client_cert_auth().start().await.unwrap();
    let identity = authority().identity().unwrap();
    let with_identity = authority()
        .trusted()
        .identity_pem(&identity.cert, &identity.key);
    main_job(&dial(&cluster.endpoint(0), with_identity).await.unwrap()).await;

    let refused = async |tls: Tls| {
        let error = dial(&cluster.endpoint(0), tls).await.unwrap_err();
        explained(&error, &cluster.endpoint(0))
    };
    let wrong = refused(authority().trusted()).await;
    assert_eq!(wrong, TlsError::ClientCertificateRequired);
    let stranger = tls::Authority::new("stranger").unwrap().identity().unwrap();
    let tls = authority()
        .trusted()
        .identity_pem(stranger.cert, stranger.key);
    let wrong = refused(tls).await;
    assert!(
        matches!(wrong, TlsError::ClientCertificateRefused { .. }),
        "{wrong}"
    );
    assert_eq!(
        refused(tls::Authority::new("other").unwrap().trusted()).await,
        TlsError::UnknownIssuer
    );
}

#[tokio::test]
async fn a_client_of_etcd_that_has_the_wrong_scheme_is_told_what_may_be_wrong() {
    let cluster = one_member().await;
    let plain = cluster.endpoint(0).replace("https", "http");
    let builder = Client::builder()
        .endpoints([&plain])
        .dial_timeout(Duration::from_millis(500));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(error.contains("does it want TLS (https://)?"), "{error}");

    let cluster = Cluster::builder().tls(false).start().await.unwrap();
    let secure = cluster.endpoint(0).replace("http", "https");
    let builder = tls::builder([secure]).dial_timeout(Duration::from_millis(500));
    let error = builder.connect().await.unwrap_err().to_string();
    assert!(error.contains("does it speak TLS?"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_are_killed_or_stopped_under_load_lose_no_write_and_come_back() {
    let cluster = three_members().await;
    let client = tls::connect(cluster.endpoints().join(",")).await.unwrap();
    for victim in 0..3 {
        endpoints::active(&client, &cluster.endpoint(victim), LIMIT)
            .await
            .unwrap();
    }
    let load = Load::start(&client, "load/", 4, 4).await.unwrap();
    load.more(50, 50, LIMIT).await.unwrap();

    let leader = cluster.wait_leader().await.unwrap();
    cluster.kill(leader).await.unwrap();
    endpoints::not_active(&client, &cluster.endpoint(leader), LIMIT)
        .await
        .unwrap();
    load.more(50, 50, LIMIT).await.unwrap();
    cluster.restart(leader).unwrap();
    cluster.wait_ready(leader).await.unwrap();
    endpoints::active(&client, &cluster.endpoint(leader), LIMIT)
        .await
        .unwrap();

    let next = cluster.wait_leader().await.unwrap();
    cluster.pause(next).unwrap();
    endpoints::frozen(&client, &cluster.endpoint(next), LIMIT)
        .await
        .unwrap();
    load.more(50, 50, LIMIT).await.unwrap();
    cluster.resume(next).unwrap();
    endpoints::active(&client, &cluster.endpoint(next), LIMIT)
        .await
        .unwrap();

    cluster.terminate(next).await.unwrap();
    load.more(50, 50, LIMIT).await.unwrap();
    let report = load.stop().await;
    assert!(
        report.reads.errors().is_empty(),
        "{:#?}",
        report.reads.errors()
    );
    report.check(&client).await.unwrap();
}

/// Polls `call` so many times at most, with other tasks in between, and drops it.
async fn abandoned<T>(call: impl Future<Output = T>, polls: usize) {
    let mut call = pin!(call);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Go's HTTP/2 server has rules of its own against clients that reset many streams.
#[tokio::test]
async fn ten_thousand_dropped_calls_leave_the_connection_working() {
    let cluster = one_member().await;
    let proxy = Proxy::start(cluster.endpoint(0)).await.unwrap();
    let client = tls::connect(proxy.endpoint()).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let calls = (0..100).map(|_| abandoned(client.get("k"), random.usize(..12)));
        join_all(calls).await;
    }
    client.put("k", "v").await.unwrap();
    assert_eq!(proxy.accepted(), 1, "on the same connection");
    let settled = async || client.endpoints().rows()[0].in_flight == 0;
    wait::until("nothing is in flight", LIMIT, settled)
        .await
        .unwrap();
}

#[tokio::test]
async fn large_messages_arrive_whole_and_small_calls_pass_them() {
    let cluster = one_member().await;
    let proxy = Proxy::start(cluster.endpoint(0)).await.unwrap();
    let client = tls::connect(proxy.endpoint()).await.unwrap();
    // Not compressible into a mistake: every byte depends on its place.
    let value = |seed: usize| {
        (0..1_400_000)
            .map(|i| ((i * 31 + seed) % 251) as u8)
            .collect()
    };
    let values: Vec<Bytes> = (0..8).map(value).collect();
    // A slow network, in which sockets are full.
    proxy.delay(Direction::Both, Duration::from_millis(5));
    let client = client.timeout(Duration::from_secs(60));
    let puts = values
        .iter()
        .enumerate()
        .map(|(i, value)| client.put(format!("large/{i}"), value));
    let small = (0..100).map(|i| client.put(format!("small/{i}"), "v"));
    let (large, small) = tokio::join!(join_all(puts), join_all(small));
    assert!(large.into_iter().chain(small).all(|put| put.is_ok()));
    let read = client.get(Get::prefix("large/")).await.unwrap();
    assert!(read.kvs.iter().map(|kv| &kv.value).eq(&values));
    let small = client
        .get(Get::prefix("small/").count_only())
        .await
        .unwrap();
    assert_eq!((small.count, proxy.accepted()), (100, 1));
}

/// Five PINGs of the default interval; etcd without TLS closes connections for more frequent ones.
#[tokio::test]
async fn an_idle_watch_keeps_its_connection_for_half_a_minute() {
    let cluster = one_member().await;
    let proxy = Proxy::start(cluster.endpoint(0)).await.unwrap();
    let client = tls::connect(proxy.endpoint()).await.unwrap();
    let mut watcher = client.watch(Watch::key("k")).await.unwrap();
    let connections = proxy.accepted();
    let answers = proxy.bytes(Direction::ToClient);
    let start = Instant::now();
    let idle = tokio::time::timeout(Duration::from_secs(32), watcher.try_next()).await;
    assert!(idle.is_err(), "{:?}: {idle:?}", start.elapsed());
    assert_eq!(proxy.accepted(), connections, "none was closed");
    assert!(
        proxy.bytes(Direction::ToClient) > answers,
        "PINGs were answered"
    );
    client.put("k", "v").await.unwrap();
    let batch = watcher.try_next().await.unwrap().unwrap();
    assert_eq!(batch.events.len(), 1);
}
