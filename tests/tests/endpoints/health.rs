//! Members that say that they do not serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::StatusRequest;
use etcd_core::proto::health::{HealthCheckRequest, HealthCheckResponse};
use etcd_core::proto::rpc::{HEALTH_WATCH_PATH, Unary};
use etcd_core::{Balance, EndpointState, Health, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints::{active, row};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::versions::differs;
use etcd_tests::wait;

use crate::{LIMIT, PUT, all_active, servers};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

fn health(status: i32) -> HealthCheckResponse {
    HealthCheckResponse { status }
}

/// Member 1, and what it says about itself.
async fn moody() -> (Scripted, Arc<AtomicI32>) {
    let says = Arc::new(AtomicI32::new(SERVING));
    let said = says.clone();
    let script = move |request: &Request| match request.path.as_str() {
        HealthCheckRequest::PATH => Reply::message(&health(said.load(Ordering::SeqCst))),
        _ => request.usual(),
    };
    (Scripted::start(script).await.unwrap(), says)
}

async fn not_serving(client: &etcd_core::Client, endpoint: &str) {
    wait::until("it does not serve", LIMIT, async || {
        row(client, endpoint).unwrap().state == EndpointState::NotServing
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_member_that_says_it_does_not_serve_gets_no_calls_until_it_does() {
    let (a, says) = moody().await;
    let others = servers(2).await;
    let b = &others[1];
    let client = etcd_tests::builder([a.endpoint(), b.endpoint()]).balance(Balance::RoundRobin);
    let client = client.health_check_interval(Duration::from_millis(50));
    let client = client.connect().await.unwrap();
    all_active(&client).await;
    says.store(NOT_SERVING, Ordering::SeqCst);
    not_serving(&client, &a.endpoint()).await;
    let before = a.seen(PUT);
    for _ in 0..10 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!((a.seen(PUT), b.seen(PUT)), (before, 10));
    says.store(SERVING, Ordering::SeqCst);
    active(&client, &a.endpoint(), LIMIT).await.unwrap();
    for _ in 0..10 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!((a.seen(PUT), b.seen(PUT)), (before + 5, 15));
    // With nobody else it is asked nevertheless.
    says.store(NOT_SERVING, Ordering::SeqCst);
    not_serving(&client, &a.endpoint()).await;
    client.remove_endpoint(b.endpoint()).unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(a.seen(PUT), before + 6);
}

#[tokio::test]
async fn a_member_is_asked_at_once_when_a_stream_breaks_unless_that_is_off() {
    for interval in [Duration::from_secs(3_600), Duration::ZERO] {
        let (a, says) = moody().await;
        let client = etcd_tests::builder([a.endpoint()]).health_check_interval(interval);
        let client = client.connect().await.unwrap();
        let watch = client.watch(Watch::key("k").start_revision(1));
        let watch = tokio::spawn(watch);
        let mut stream = a.next_stream().await;
        assert_eq!(a.seen(HealthCheckRequest::PATH), 0);
        says.store(NOT_SERVING, Ordering::SeqCst);
        let broken = Instant::now();
        stream.reply(Reply::trailers(14, "going away")).await;
        let _next = a.next_stream().await;
        if interval.is_zero() {
            client.get("k").await.unwrap();
            assert_eq!(a.seen(HealthCheckRequest::PATH), 0);
        } else {
            not_serving(&client, &a.endpoint()).await;
            assert!(broken.elapsed() < Duration::from_secs(3), "{broken:?}");
        }
        watch.abort();
    }
}

#[tokio::test]
async fn on_demand_every_endpoint_says_how_it_does() {
    let (a, says) = moody().await;
    let servers = servers(5).await;
    let [_, b, leaderless, silent, gone] = &servers[..] else {
        panic!()
    };
    let proxy = Proxy::start(gone.address()).await.unwrap();
    let urls = [&a, b, leaderless, silent].map(|at| at.endpoint());
    let client = etcd_tests::builder(urls.iter().cloned().chain([proxy.endpoint()]));
    let client = client.health_check_interval(Duration::ZERO);
    let client = client.connect_timeout(Duration::from_millis(500));
    let client = client.connect().await.unwrap();
    all_active(&client).await;
    assert!(
        client
            .check_health()
            .await
            .iter()
            .all(|at| at.health == Health::Serving)
    );

    says.store(NOT_SERVING, Ordering::SeqCst);
    leaderless.script(|request| match request.path.as_str() {
        StatusRequest::PATH => Reply::message(&etcd_core::proto::etcdserverpb::StatusResponse {
            header: Some(request.header()),
            ..Default::default()
        }),
        _ => request.usual(),
    });
    silent.script(|_| Reply::silence());
    proxy.refuse();
    proxy.reset_all();
    wait::until("one is lost", LIMIT, async || {
        matches!(
            row(&client, &proxy.endpoint()).unwrap().state,
            EndpointState::Frozen { .. }
        )
    })
    .await
    .unwrap();
    let found = client.check_health().await;
    let health: Vec<_> = found.iter().map(|at| &at.health).collect();
    assert!(
        matches!(
            health[..],
            [
                Health::NotServing,
                Health::Serving,
                Health::NoLeader,
                Health::Silent,
                Health::Unreachable { cause: Some(_) },
            ]
        ),
        "{found:?}"
    );
    assert_eq!(
        row(&client, &a.endpoint()).unwrap().state,
        EndpointState::NotServing
    );
}

#[tokio::test]
async fn a_member_that_tells_by_itself_is_heard_at_once_and_leaves_nothing_behind() {
    let script = |request: &Request| match request.path.as_str() {
        HEALTH_WATCH_PATH => {
            Reply::headers()
                .then(Reply::part(&health(SERVING)))
                .then(Reply::delay(
                    Duration::from_millis(300),
                    Reply::part(&health(NOT_SERVING)),
                ))
        }
        _ => request.usual(),
    };
    let a = Scripted::start(script).await.unwrap();
    let client = etcd_tests::builder([a.endpoint()]).health_watch(true);
    let client = client.connect().await.unwrap();
    active(&client, &a.endpoint(), LIMIT).await.unwrap();
    not_serving(&client, &a.endpoint()).await;
    // The stream does not keep the connection of an endpoint that was removed.
    let b = Scripted::start(|request| request.usual()).await.unwrap();
    client.set_endpoints([b.endpoint()]).unwrap();
    crate::left(&a).await;
}

/// etcd does so while it is defragmented, if it is told to.
#[tokio::test]
async fn a_member_of_etcd_that_is_defragmented_loses_its_calls() {
    // The flag is not known to earlier releases, which would not start.
    let any = Cluster::start(1).await.unwrap();
    if any.version(0).await.unwrap() < (3, 6) {
        differs("a member says nothing of its defragmentation");
        return;
    }
    drop(any);
    let cluster = Cluster::builder().args(["--feature-gates=StopGRPCServiceOnDefrag=true"]);
    let cluster = cluster.start().await.unwrap();
    let client = etcd_tests::builder([cluster.endpoint(0)]).health_watch(true);
    let client = client.connect().await.unwrap();
    for n in 0..60 {
        client
            .put(format!("k{n}"), vec![b'v'; 1 << 20])
            .await
            .unwrap();
    }
    let defragmented = tokio::spawn(client.defragment());
    not_serving(&client, &cluster.endpoint(0)).await;
    defragmented.await.unwrap().unwrap();
    active(&client, &cluster.endpoint(0), LIMIT).await.unwrap();
}
