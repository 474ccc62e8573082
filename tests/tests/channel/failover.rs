//! Members die, stop and say goodbye: calls after that go elsewhere.

use std::time::{Duration, Instant};

use etcd_core::{Client, Error};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Reply, Request, Scripted};
use tokio::time::timeout;
use tonic::Code;

use crate::{LIMIT, PUT, RANGE, cause, healthy, kv, put, range, until};

async fn connect(endpoints: Vec<String>) -> Client {
    let client = Client::builder().endpoints(&endpoints).connect().await;
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
    let leader = cluster.wait_leader().await.unwrap();
    let victim = (leader + 1) % 3;
    cluster.kill(victim).await.unwrap();
    endpoints::frozen(&client, &cluster.endpoint(victim), LIMIT)
        .await
        .unwrap();
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
    let client = connect(vec![proxy.endpoint(), servers[1].endpoint()]).await;
    // The connection for the client's own calls stays, and with it the endpoint active.
    proxy.refuse();
    let mut stub = kv(&client);
    for _ in 0..30 {
        stub.put(put("k", "v")).await.unwrap();
    }
    assert_eq!([servers[0].seen(PUT), servers[1].seen(PUT)], [0, 30]);
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
    let mut stub = kv(&client);
    let mut refused = 0;
    while refused == 0 {
        if let Err(status) = stub.range(range("k")).await {
            assert_eq!(status.message(), "etcdserver: no leader");
            refused += 1;
        }
    }
    endpoints::not_active(&client, &bad.endpoint(), LIMIT)
        .await
        .unwrap();
    assert_eq!(bad.seen(RANGE), 1);
}

/// How soon after the call that found it silent a member is no longer asked.
const NOTICED: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_stopped_member_is_noticed_by_the_calls_that_wait_for_it() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let followers: Vec<_> = (0..3).filter(|i| *i != leader).collect();
    let endpoints = followers.iter().map(|i| cluster.endpoint(*i)).collect();
    let client = connect(endpoints).await;
    let mut stub = kv(&client);
    // Until both have their connections for streams.
    for _ in 0..30 {
        stub.put(put("k", "v")).await.unwrap();
    }
    let silent = cluster.endpoint(followers[0]);
    cluster.pause(followers[0]).unwrap();
    let pinned = client.endpoint(&silent).channel().unwrap();
    let mut pinned = etcd_core::proto::etcdserverpb::kv_client::KvClient::new(pinned);
    let waits = async {
        let started = Instant::now();
        let call = timeout(LIMIT, pinned.put(put("k", "w"))).await;
        (call.unwrap().unwrap_err(), started.elapsed())
    };
    let noticed = async {
        let started = Instant::now();
        endpoints::not_active(&client, &silent, LIMIT)
            .await
            .unwrap();
        started.elapsed()
    };
    let (((status, lost), noticed), slack) =
        etcd_tests::wait::with_slack(async { tokio::join!(waits, noticed) }).await;
    assert!(noticed < NOTICED + slack, "{noticed:?}");
    assert!(lost < NOTICED + slack, "{lost:?}");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(matches!(cause(&status), Error::Connection(_)), "{status}");
    for i in 0..30 {
        let call = timeout(LIMIT, stub.put(put(format!("k{i}"), "v"))).await;
        call.unwrap().unwrap();
    }
    cluster.resume(followers[0]).unwrap();
}
