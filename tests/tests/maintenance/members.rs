//! One member, each member, the leader.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::DefragmentRequest;
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Error, EtcdError};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::Scripted;
use etcd_tests::wait;
use tokio::time::timeout;

use crate::{LIMIT, client, etcd};

#[tokio::test]
async fn each_endpoint_answers_for_its_own_member() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = client(&cluster).await;
    let revision = client.put("k", "v").await.unwrap().revision();

    let statuses = client.each_member(|member| member.status()).await;
    let asked: Vec<_> = statuses.iter().map(|(url, _)| url.to_string()).collect();
    assert_eq!(asked, cluster.endpoints());
    let mut ids = HashSet::new();
    for (endpoint, status) in statuses {
        let status = status.unwrap();
        let chosen = client.endpoint(&endpoint).status().await.unwrap();
        let id = chosen.header.unwrap().member_id;
        assert_eq!(status.header.unwrap().member_id, id);
        assert!(ids.insert(id) && status.leader != 0 && !status.version.is_empty());
    }

    let hashes = client.each_member(|member| member.hash_kv(revision)).await;
    let hashes: HashSet<_> = hashes
        .into_iter()
        .map(|(_, hash)| hash.unwrap().hash)
        .collect();
    assert_eq!(hashes.len(), 1, "{hashes:x?}");
    for (endpoint, done) in client.each_member(|member| member.defragment()).await {
        assert!(done.is_ok(), "{endpoint}: {done:?}");
    }
    for (endpoint, hash) in client.each_member(|member| member.hash()).await {
        assert!(hash.unwrap().hash != 0, "{endpoint}");
    }
}

#[tokio::test]
async fn no_two_members_have_their_turn_at_once() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = client(&cluster).await;
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results = client.each_member(async |member: Client| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let result = member.defragment().await;
        running.fetch_sub(1, Ordering::SeqCst);
        result
    });
    assert!(results.await.iter().all(|(_, result)| result.is_ok()));
    assert_eq!(most.into_inner(), 1);
}

#[tokio::test]
async fn a_member_that_is_dead_keeps_no_other_from_its_turn() {
    let cluster = Cluster::start(3).await.unwrap();
    cluster.kill(1).await.unwrap();
    let client = client(&cluster).await;
    let view = client.timeout(Duration::from_secs(2));
    let asked = view.each_member(|member| member.status());
    let statuses = timeout(LIMIT, asked).await.unwrap();
    let serves: Vec<_> = statuses.iter().map(|(_, status)| status.is_ok()).collect();
    assert_eq!(serves, [true, false, true]);
    let error = statuses[1].1.as_ref().unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");

    let started = Instant::now();
    let statuses = client
        .wait_ready(false)
        .each_member(|member| member.status())
        .await;
    assert!(statuses[1].1.is_err() && statuses[2].1.is_ok());
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn what_is_about_one_member_is_refused_unless_one_is_chosen() {
    let servers = [1, 2].map(|member| Scripted::builder().member(member));
    let mut started = Vec::new();
    for server in servers {
        let server = server.start(|request| request.usual()).await.unwrap();
        started.push(server);
    }
    let endpoints = started.iter().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    for refused in [
        client.defragment().await.map(drop),
        client.hash().await.map(drop),
        client.hash_kv(0).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidRequest(text) if text.contains("each_member")),
            "{error}"
        );
    }
    let seen = |path| started.iter().map(|s| s.seen(path)).sum::<usize>();
    assert_eq!(seen(DefragmentRequest::PATH), 0);

    let chosen = client.endpoint(started[1].endpoint()).defragment().await;
    assert!(chosen.unwrap_err().is_unsupported());
    assert_eq!(started[1].seen(DefragmentRequest::PATH), 1);
    // Where there is only one there is nothing to choose.
    let alone = etcd_tests::connect(started[0].endpoint()).await.unwrap();
    assert!(alone.defragment().await.unwrap_err().is_unsupported());
    assert_eq!(started[0].seen(DefragmentRequest::PATH), 1);
}

#[tokio::test]
async fn the_leadership_moves_to_the_member_that_was_named() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    for turn in 1..=2 {
        let target = (leader + turn) % 3;
        // A new client, which is not connected to every member yet.
        let client = client(&cluster).await;
        let next = client.endpoint(cluster.endpoint(target));
        let id = next.status().await.unwrap().header.unwrap().member_id;
        client.move_leader(id).await.unwrap();
        wait::until("the members have followed", LIMIT, async || {
            cluster.leader().await.ok() == Some(target)
        })
        .await
        .unwrap();
    }
}

/// The other members know who leads, but cannot be asked in its place.
#[tokio::test]
async fn the_leader_is_waited_for_when_it_is_connected_last() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let target = (leader + 1) % 3;
    let status = etcd_tests::connect(cluster.endpoint(target)).await.unwrap();
    let id = status.status().await.unwrap().header.unwrap().member_id;

    let proxy = Proxy::start(cluster.address(leader)).await.unwrap();
    let mut endpoints = cluster.endpoints();
    endpoints[leader] = proxy.endpoint();
    proxy.block(Direction::Both);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    let (moved, ()) = tokio::join!(client.move_leader(id), async {
        wait::until("the others are connected", LIMIT, async || {
            client.endpoints().active() == 2
        })
        .await
        .unwrap();
        proxy.unblock(Direction::Both);
    });
    moved.unwrap();
}

#[tokio::test]
async fn who_cannot_move_the_leadership_is_said_so() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let client = client(&cluster).await;
    let unknown = client.move_leader(7).await.unwrap_err();
    assert_eq!(etcd(&unknown), EtcdError::BadLeaderTransferee);

    let follower = cluster.endpoint((leader + 1) % 3);
    let asked = client.endpoint(&follower).move_leader(7).await;
    assert_eq!(etcd(&asked.unwrap_err()), EtcdError::NotLeader);

    let without_leader = etcd_tests::connect(follower).await.unwrap();
    let error = without_leader.move_leader(7).await.unwrap_err();
    assert!(
        matches!(&error, Error::Config(wrong) if wrong.option == "endpoints"),
        "{error}"
    );
}
