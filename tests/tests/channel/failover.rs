//! Members die, stop and say goodbye: calls after that go elsewhere.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::RangeRequest;
use etcd_core::{Client, EndpointState, Error};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::tls;
use etcd_tests::wait;
use tokio::time::timeout;
use tonic::Code;

use crate::{LIMIT, PUT, RANGE, cause, healthy, kv, put, range, until};

async fn connect(endpoints: Vec<String>) -> Client {
    let client = tls::builder(&endpoints).connect().await;
    let client = client.unwrap();
    let all = endpoints.len();
    until("all are active", async || {
        client.endpoints().active() == all
    })
    .await;
    client
}

#[tokio::test]
async fn calls_go_to_the_members_that_are_left_when_one_is_killed_between_them() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = connect(cluster.endpoints()).await;
    let mut stub = kv(&client);
    for i in 0..30 {
        stub.put(put(format!("k{i}"), "v")).await.unwrap();
        stub.range(range(format!("k{i}"))).await.unwrap();
    }
    // The one that most of them went to.
    let victim = cluster.wait_leader().await.unwrap();
    cluster.kill(victim).await.unwrap();
    endpoints::frozen(&client, &cluster.endpoint(victim), LIMIT)
        .await
        .unwrap();
    cluster.wait_leader().await.unwrap();
    for i in 0..30 {
        let read = stub.range(range(format!("k{i}"))).await.unwrap();
        assert_eq!(read.into_inner().kvs.len(), 1);
        stub.put(put(format!("k{i}"), "w")).await.unwrap();
    }
}

#[tokio::test]
async fn a_member_to_which_no_stream_can_be_opened_is_passed_over_before_anything_is_sent() {
    let servers = [healthy(1).await, healthy(2).await];
    let proxy = Proxy::start(servers[0].address()).await.unwrap();
    // Farther away: never asked first.
    let other = Proxy::start(servers[1].address()).await.unwrap();
    other.delay(Direction::ToServer, Duration::from_millis(30));
    let client = connect(vec![proxy.endpoint(), other.endpoint()]).await;
    // The connection for the client's own calls stays, and with it the endpoint active.
    proxy.refuse();
    let mut stub = kv(&client);
    for _ in 0..10 {
        stub.put(put("k", "v")).await.unwrap();
    }
    assert_eq!([servers[0].seen(PUT), servers[1].seen(PUT)], [0, 10]);
    assert!(proxy.open() > 0);
}

#[tokio::test]
async fn after_a_goodbye_calls_go_on_on_another_connection() {
    let server = healthy(1).await;
    let client = connect(vec![server.endpoint()]).await;
    let mut stub = kv(&client);
    for n in 1..=5 {
        stub.put(put("k", "v")).await.unwrap();
        assert_eq!(server.connections(), 1 + n);
        // As a server that is about to restart: what was processed stays processed.
        server.push(n, Reply::goaway(1, 0u32, "")).await;
        until("it has left", async || server.open() == 1).await;
    }
    assert_eq!(server.seen(PUT), 5);
}

#[tokio::test]
async fn a_member_without_a_leader_is_left_alone() {
    let script = |request: &Request| match request.path.as_str() {
        RANGE => Reply::status(14, "etcdserver: no leader"),
        _ => request.usual(),
    };
    let bad = Scripted::start(script).await.unwrap();
    let good = healthy(2).await;
    let client = connect(vec![bad.endpoint(), good.endpoint()]).await;
    let mut stub = kv(&client.endpoint(bad.endpoint()));
    let status = stub.range(range("k")).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: no leader");
    endpoints::not_active(&client, &bad.endpoint(), LIMIT)
        .await
        .unwrap();
    assert_eq!(bad.seen(RANGE), 1);
}

/// How soon after a call that finds it silent a member is no longer asked.
const NOTICED: Duration = Duration::from_secs(2);

/// A member that is stopped, and a client of it and of another one that is much farther away.
struct Stopped {
    _cluster: Cluster,
    _proxy: Proxy,
    client: Client,
    silent: String,
}

impl Stopped {
    async fn after(prepare: impl AsyncFn(&Client)) -> Stopped {
        let cluster = Cluster::start(3).await.unwrap();
        let leader = cluster.wait_leader().await.unwrap();
        let silent = cluster.endpoint(leader);
        let other = (leader + 1) % 3;
        let proxy = Proxy::start(cluster.address(other)).await.unwrap();
        proxy.delay(Direction::ToServer, Duration::from_millis(30));
        let client = connect(vec![silent.clone(), proxy.endpoint()]).await;
        prepare(&client.endpoint(&silent)).await;
        cluster.pause(leader).unwrap();
        Stopped {
            _cluster: cluster,
            _proxy: proxy,
            client,
            silent,
        }
    }
}

/// What the follower can answer alone.
fn local() -> RangeRequest {
    RangeRequest {
        serializable: true,
        ..range("k")
    }
}

#[tokio::test]
async fn a_stopped_member_is_noticed_by_the_call_that_waits_for_it() {
    let serves = async |client: &Client| {
        kv(client).range(local()).await.unwrap();
    };
    let stopped = Stopped::after(serves).await;
    let (client, silent) = (&stopped.client, &stopped.silent);
    let mut pinned = kv(&client.endpoint(silent));
    let started = Instant::now();
    let waits = async {
        let call = timeout(LIMIT, pinned.range(local())).await;
        (call.unwrap().unwrap_err(), started.elapsed())
    };
    let noticed = async {
        endpoints::not_active(client, silent, LIMIT).await.unwrap();
        started.elapsed()
    };
    let both = async { tokio::join!(waits, noticed) };
    let (((status, lost), noticed), slack) = wait::with_slack(both).await;
    println!("noticed after {noticed:?}, given up after {lost:?}");
    assert!(noticed < NOTICED + slack && lost < 2 * NOTICED + slack);
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(matches!(cause(&status), Error::Connection(_)), "{status}");
    for _ in 0..30 {
        let call = timeout(LIMIT, kv(client).range(local())).await;
        call.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_stopped_member_to_which_no_stream_was_open_is_left_for_another_one() {
    let stopped = Stopped::after(async |_| ()).await;
    let (client, silent) = (&stopped.client, &stopped.silent);
    let mut stub = kv(client);
    let calls = async {
        let mut longest = Duration::ZERO;
        while endpoints::row(client, silent).unwrap().state == EndpointState::Active {
            let started = Instant::now();
            // The nearer one is preferred until it is known to be stopped.
            let call = timeout(LIMIT, stub.range(local())).await;
            call.unwrap().unwrap();
            longest = longest.max(started.elapsed());
        }
        longest
    };
    let (longest, slack) = wait::with_slack(timeout(LIMIT, calls)).await;
    let longest = longest.unwrap();
    println!("the longest call: {longest:?}");
    assert!(longest < Duration::from_secs(2) + slack);
}
