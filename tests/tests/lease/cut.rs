//! Connections that are lost or blocked, through the proxy.

use std::time::{Duration, Instant};

use etcd_core::{Client, Lease, LeaseState, LostReason};
use etcd_tests::cluster::{Cluster, Target};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use futures_util::future::join_all;

use crate::{LATE, LIMIT, attach, client, exists, gone, has_key, lost, secs, valid_for};

/// A client of the shared cluster whose connections all go through a proxy.
async fn proxied() -> (Proxy, Client) {
    let target = Target::get().await.unwrap();
    let proxy = Proxy::start(&target.endpoints()[0]).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    (proxy, client)
}

/// Waits until a renewal has been confirmed from now on.
async fn renewed(lease: &Lease) {
    let mut last = lease.remaining();
    wait::until("the lease is renewed", LIMIT, async || {
        let before = std::mem::replace(&mut last, lease.remaining());
        last > before
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn connections_lost_for_less_than_the_time_to_live_lose_no_lease() {
    let (direct, prefix) = client().await;
    let (proxy, client) = proxied().await;
    let lease = client.lease(secs(6)).await.unwrap();
    attach(&direct, &prefix.key("k"), &lease).await;
    for close in [Proxy::drop_all, Proxy::reset_all] {
        renewed(&lease).await;
        proxy.refuse();
        close(&proxy);
        valid_for(secs(2), std::slice::from_ref(&lease)).await;
        proxy.accept().unwrap();
        renewed(&lease).await;
    }
    assert_eq!(lease.state(), LeaseState::Healthy);
    assert!(exists(&direct, lease.id()).await && has_key(&direct, &prefix.key("k")).await);
}

#[tokio::test]
async fn a_connection_that_goes_half_open_is_left_for_another_endpoint() {
    let target = Target::get().await.unwrap();
    let mut proxies = Vec::new();
    for _ in 0..2 {
        proxies.push(Proxy::start(&target.endpoints()[0]).await.unwrap());
    }
    let client = etcd_tests::builder(proxies.iter().map(Proxy::endpoint));
    let client = client.connect().await.unwrap();
    wait::until("both are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    let lease = client.lease(secs(4)).await.unwrap();
    let carrier = || {
        let rows = client.endpoints();
        let row = rows.rows().iter().find(|row| row.leases == 1)?;
        proxies
            .iter()
            .position(|proxy| proxy.endpoint() == *row.endpoint)
    };
    renewed(&lease).await;
    let first = carrier().unwrap();
    proxies[first].freeze_all();
    let start = Instant::now();
    wait::until("the other one carries it", LIMIT, async || {
        assert!(lease.is_valid());
        carrier() == Some(1 - first)
    })
    .await
    .unwrap();
    // A renewal is up to 0.4 of the TTL away, and is waited for a third of it.
    let took = start.elapsed();
    assert!(took < secs(4) * 11 / 15 + LATE, "{took:?}");
    renewed(&lease).await;
    valid_for(secs(3), std::slice::from_ref(&lease)).await;
}

/// When etcd has deleted the key of a lease.
async fn key_gone(client: &Client, key: &str) -> Instant {
    wait::until("etcd has deleted the key", LIMIT, async || {
        !has_key(client, key).await
    })
    .await
    .unwrap();
    Instant::now()
}

/// Blocks the connections of a kept lease until etcd has ended it; compares what its owner knew, and when.
async fn blocked(direction: Direction) {
    let (direct, prefix) = client().await;
    let (proxy, client) = proxied().await;
    let key = prefix.key("k");
    let lease = client.lease(secs(4)).await.unwrap();
    attach(&direct, &key, &lease).await;
    renewed(&lease).await;

    proxy.block(direction);
    let (start, left) = (Instant::now(), lease.remaining());
    let ((reason, lost), gone) = tokio::join!(lost(&lease), key_gone(&direct, &key));
    assert_eq!(reason, LostReason::Deadline);
    let took = lost - start;
    let due = left.saturating_sub(Duration::from_millis(10))..left + LATE;
    assert!(due.contains(&took), "{direction:?}: {took:?}, not {left:?}");
    assert!(lost < gone, "{direction:?}: its owner knew too late");

    // What was under way is delivered now, and changes nothing.
    proxy.unblock(direction);
    let next = client.lease(secs(4)).await.unwrap();
    renewed(&next).await;
    assert!(!lease.is_valid() && lease.remaining().is_zero());
    assert_eq!(lease.state(), LeaseState::Lost(LostReason::Deadline));
    assert!(!exists(&direct, lease.id()).await);
}

#[tokio::test]
async fn a_lease_blocked_for_longer_than_it_lives_is_lost_before_etcd_ends_it() {
    let directions = [Direction::Both, Direction::ToServer, Direction::ToClient];
    join_all(directions.map(blocked)).await;
}

#[tokio::test]
async fn answers_that_take_long_do_not_make_a_lease_last_longer() {
    let (direct, prefix) = client().await;
    let (proxy, client) = proxied().await;
    let key = prefix.key("k");
    let lease = client.lease(secs(5)).await.unwrap();
    attach(&direct, &key, &lease).await;
    renewed(&lease).await; // and connected
    proxy.delay(Direction::ToClient, Duration::from_millis(1_500));
    renewed(&lease).await;
    proxy.block(Direction::ToServer);
    let (known, gone) = tokio::join!(lost(&lease), key_gone(&direct, &key));
    assert!(known.1 < gone, "its owner knew too late");
}

#[tokio::test]
async fn a_late_answer_does_not_bring_back_a_lease_that_etcd_still_has() {
    let (direct, _) = client().await;
    let (proxy, client) = proxied().await;
    let lease = client.lease(secs(3)).await.unwrap();
    let elsewhere = direct.keep_alive(lease.id()).await.unwrap();
    proxy.block(Direction::ToClient);
    assert_eq!(lost(&lease).await.0, LostReason::Deadline);
    proxy.unblock(Direction::ToClient);
    let next = client.lease(secs(3)).await.unwrap();
    renewed(&next).await;
    assert!(!lease.is_valid() && elsewhere.is_valid());
    assert!(exists(&direct, lease.id()).await);
    elsewhere.revoke().await.unwrap();
}

#[tokio::test]
async fn a_grant_whose_answer_is_lost_leaves_one_lease() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    for kept in [true, false] {
        proxy.block(Direction::ToClient);
        let grant = tokio::spawn({
            let client = client.clone();
            async move {
                if kept {
                    client.lease(secs(60)).await.map(|lease| lease.id())
                } else {
                    client.grant(secs(60)).await.map(|grant| grant.id)
                }
            }
        });
        wait::until("it is granted", LIMIT, async || {
            direct.leases().await.unwrap().len() == 1
        })
        .await
        .unwrap();
        proxy.reset_all();
        proxy.unblock(Direction::ToClient);
        let id = grant.await.unwrap().unwrap();
        assert_eq!(direct.leases().await.unwrap(), [id]);
        direct.revoke(id).await.unwrap();
        gone(&direct, id).await;
    }
}
