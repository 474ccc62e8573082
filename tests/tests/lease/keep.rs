//! A lease kept alive, and every way in which that ends.

use std::time::Instant;

use etcd_core::{Error, LeaseState, LostReason};
use etcd_tests::cluster::Target;

use crate::{LATE, attach, client, exists, gone, has_key, lost, secs, valid_for, within};

#[tokio::test]
async fn a_kept_lease_outlives_its_time_to_live_many_times() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    let lease = client.lease(secs(3)).await.unwrap();
    attach(&client, &key, &lease).await;
    let start = Instant::now();
    while start.elapsed() < secs(10) {
        assert_eq!(lease.state(), LeaseState::Healthy);
        assert!(!lease.remaining().is_zero() && lease.remaining() < lease.ttl());
        assert!(exists(&client, lease.id()).await && has_key(&client, &key).await);
        tokio::time::sleep(secs(1) / 20).await;
    }
    lease.revoke().await.unwrap();
    assert!(!has_key(&client, &key).await && !exists(&client, lease.id()).await);
    assert_eq!(lost(&lease).await.0, LostReason::Revoked);
    lease.revoke().await.unwrap(); // that it is gone already is no error
}

#[tokio::test]
async fn a_lease_revoked_elsewhere_is_lost_once_within_a_renewal_and_the_others_are_not() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    let lease = client.lease(secs(5)).await.unwrap();
    let other = client.lease(secs(5)).await.unwrap();
    attach(&client, &key, &lease).await;
    let elsewhere = etcd_tests::connect(Target::get().await.unwrap().endpoints().join(",")).await;
    elsewhere.unwrap().revoke(lease.id()).await.unwrap();
    let revoked = Instant::now();

    let (reason, at) = lost(&lease).await;
    assert_eq!(reason, LostReason::NotFound);
    // Renewals are up to 0.4 of the TTL apart.
    assert!(at - revoked < secs(2) + LATE, "{:?}", at - revoked);
    assert_eq!(lease.state(), LeaseState::Lost(LostReason::NotFound));
    assert!(lease.remaining().is_zero());
    lease.halt();
    lease.revoke().await.unwrap();
    let again = lost(&lease).await.0;
    assert_eq!(again, LostReason::NotFound, "the first reason stays");
    valid_for(secs(6), std::slice::from_ref(&other)).await;
    assert!(exists(&client, other.id()).await);
    let kept: usize = client.endpoints().rows().iter().map(|row| row.leases).sum();
    assert_eq!(kept, 1, "the lost one is not renewed any more");
}

#[tokio::test]
async fn two_handles_of_one_lease_keep_and_lose_it_each_by_itself() {
    let (client, _) = client().await;
    let first = client.lease(secs(2)).await.unwrap();
    let others = [
        client.keep_alive(first.id()).await.unwrap(),
        client.keep_alive(first.id()).await.unwrap(),
    ];
    assert!(others.iter().all(|other| other.id() == first.id()));
    let dropped = first.lost();
    drop(first);
    assert_eq!(within(dropped).await, LostReason::Dropped);
    valid_for(secs(4), &others).await;

    others[0].revoke().await.unwrap();
    assert_eq!(lost(&others[0]).await.0, LostReason::Revoked);
    assert_eq!(lost(&others[1]).await.0, LostReason::NotFound);
}

#[tokio::test]
async fn a_dropped_lease_is_renewed_no_more_and_expires() {
    let (client, prefix) = client().await;
    let lease = client.lease(secs(2)).await.unwrap();
    let key = prefix.key("k");
    attach(&client, &key, &lease).await;
    valid_for(secs(3), std::slice::from_ref(&lease)).await;
    let (id, reason, left) = (lease.id(), lease.lost(), lease.remaining());
    drop(lease);
    let dropped = Instant::now();
    assert_eq!(within(reason).await, LostReason::Dropped);
    let at = gone(&client, id).await;
    assert!(at - dropped >= left, "gone after {:?}", at - dropped);
    assert!(!has_key(&client, &key).await);
}

#[tokio::test]
async fn halting_stops_the_renewals_and_leaves_the_lease_to_its_time_to_live() {
    let (client, _) = client().await;
    let lease = client.lease(secs(2)).await.unwrap();
    lease.halt();
    assert_eq!(lost(&lease).await.0, LostReason::Halted);
    assert!(exists(&client, lease.id()).await);
    gone(&client, lease.id()).await;
}

#[tokio::test]
async fn halting_all_says_how_many_and_leaves_the_client_able_to_keep_others() {
    let (client, _) = client().await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(client.lease(secs(2)).await.unwrap());
    }
    drop(leases.pop());
    // From any clone or view.
    assert_eq!(client.timeout(secs(1)).halt_all(), 3);
    assert_eq!(client.halt_all(), 0);
    for lease in &leases {
        assert_eq!(lost(lease).await.0, LostReason::Halted);
        assert!(exists(&client, lease.id()).await);
    }
    let kept = client.lease(secs(2)).await.unwrap();
    for lease in &leases {
        gone(&client, lease.id()).await;
    }
    valid_for(secs(3), std::slice::from_ref(&kept)).await;
    assert_eq!(client.halt_all(), 1);
}

#[tokio::test]
async fn closing_the_client_loses_its_leases_and_leaves_them_on_the_server() {
    let (other, _) = client().await;
    let (client, _) = client().await;
    let lease = client.lease(secs(2)).await.unwrap();
    client.clone().close();
    assert_eq!(lost(&lease).await.0, LostReason::Closed);
    assert!(exists(&other, lease.id()).await);
    for error in [
        client.lease(secs(2)).await.unwrap_err(),
        client.keep_alive(lease.id()).await.unwrap_err(),
        client.keep_alive_once(lease.id()).await.unwrap_err(),
        lease.revoke().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }
    gone(&other, lease.id()).await;
}

#[tokio::test]
async fn a_lease_is_kept_when_every_client_is_dropped() {
    let (other, _) = client().await;
    let (client, _) = client().await;
    let lease = client.lease(secs(2)).await.unwrap();
    drop(client);
    valid_for(secs(5), std::slice::from_ref(&lease)).await;
    assert!(exists(&other, lease.id()).await);
    let id = lease.id();
    drop(lease);
    gone(&other, id).await;
}
