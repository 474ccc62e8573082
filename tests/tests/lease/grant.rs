//! Granting, renewing once, revoking, and what etcd says of a lease.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::LeaseGrantRequest;
use etcd_core::{Error, LeaseId, Outcome};
use etcd_tests::cluster::Target;
use futures_util::future::join_all;

use crate::{LIMIT, attach, client, exists, gone, has_key, secs};

#[tokio::test]
async fn a_grant_below_the_least_time_to_live_reports_what_etcd_gave() {
    let (client, _) = client().await;
    for asked in [1, 400, 1_000, 1_900] {
        let asked = Duration::from_millis(asked);
        let lease = client.lease(asked).await.unwrap();
        let granted = client.grant(asked).await.unwrap();
        for (id, ttl) in [(lease.id(), lease.ttl()), (granted.id, granted.ttl)] {
            let reply = client.time_to_live(id, false).await.unwrap();
            assert_eq!(ttl, secs(reply.granted_ttl as u64), "asked for {asked:?}");
            if Target::get().await.unwrap().own().is_some() {
                assert_eq!(ttl, secs(2), "etcd's default election timeout asks for 2 s");
            }
        }
        client.revoke(granted.id).await.unwrap();
        lease.revoke().await.unwrap();
    }
}

#[tokio::test]
async fn a_time_to_live_of_zero_or_beyond_what_etcd_counts_is_refused() {
    let (client, _) = client().await;
    for ttl in [Duration::ZERO, Duration::MAX] {
        for error in [
            client.lease(ttl).await.unwrap_err(),
            client.grant(ttl).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
        }
    }
    let error = client.lease(secs(9_000_000_001)).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert!(error.to_string().contains("too large lease TTL"), "{error}");
}

#[tokio::test]
async fn ids_are_chosen_by_the_client_and_differ() {
    let (client, _) = client().await;
    let grants = join_all((0..100).map(|_| client.grant(secs(60)))).await;
    let ids: HashSet<_> = grants.into_iter().map(|grant| grant.unwrap().id).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.0 > 0));
    let all: HashSet<_> = client.leases().await.unwrap().into_iter().collect();
    assert!(ids.is_subset(&all));
    // etcd makes its own ids out of its member id, a counter and the time: those of one member begin alike.
    let beginnings: HashSet<_> = ids.iter().map(|id| id.0 >> 48).collect();
    assert!(beginnings.len() > 50, "{beginnings:?}");
    for id in ids {
        client.revoke(id).await.unwrap();
    }
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused_and_the_first_lease_stays() {
    let (client, prefix) = client().await;
    let lease = client.grant(secs(60)).await.unwrap();
    let key = prefix.key("k");
    attach(&client, &key, lease.id).await;
    let request = LeaseGrantRequest {
        ttl: 5,
        id: lease.id.0,
    };
    let error = client.send(request).await.unwrap_err();
    assert!(error.is_lease_already_exists(), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    let reply = client.time_to_live(lease.id, true).await.unwrap();
    assert_eq!((reply.granted_ttl, reply.keys), (60, vec![key.into()]));
    client.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_gone_after_its_time_to_live() {
    let (client, prefix) = client().await;
    let asked = Instant::now();
    let lease = client.grant(secs(2)).await.unwrap();
    attach(&client, &prefix.key("k"), lease.id).await;
    assert!(exists(&client, lease.id).await);
    let at = gone(&client, lease.id).await;
    assert!(at - asked >= secs(2), "{:?}", at - asked);

    assert!(!client.leases().await.unwrap().contains(&lease.id));
    assert!(!has_key(&client, &prefix.key("k")).await);
    let error = client.revoke(lease.id).await.unwrap_err();
    assert!(error.is_lease_not_found(), "{error}");
    let error = client.time_to_live(lease.id, true).await.unwrap_err();
    assert!(error.is_lease_not_found(), "{error}");
}

#[tokio::test]
async fn a_lease_that_etcd_does_not_have_cannot_be_kept() {
    let (client, prefix) = client().await;
    let missing = LeaseId(0x7ead_0000_0000_0001);
    let start = Instant::now();
    for error in [
        client.keep_alive(missing).await.unwrap_err(),
        client.keep_alive_once(missing).await.unwrap_err(),
    ] {
        assert!(error.is_lease_not_found(), "{error}");
        assert!(matches!(error, Error::LeaseLost { id, .. } if id == missing.0));
    }
    let put = etcd_core::Put::new(prefix.key("k"), "v").lease(missing);
    let error = client.send(put).await.unwrap_err();
    assert!(error.is_lease_not_found(), "{error}");
    assert!(start.elapsed() < LIMIT, "no answer is waited for in vain");
}

#[tokio::test]
async fn renewing_once_gives_the_whole_time_to_live_again() {
    let (client, _) = client().await;
    let lease = client.grant(secs(30)).await.unwrap();
    let left = async || client.time_to_live(lease.id, false).await.unwrap().ttl;
    etcd_tests::wait::until("time has passed", LIMIT, async || left().await < 29)
        .await
        .unwrap();
    assert_eq!(client.keep_alive_once(lease.id).await.unwrap(), secs(30));
    assert!(left().await >= 29);
    client.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn revoking_deletes_the_keys_of_the_lease_and_no_others() {
    let (client, prefix) = client().await;
    let lease = client.grant(secs(60)).await.unwrap();
    for name in ["a", "b"] {
        attach(&client, &prefix.key(name), lease.id).await;
    }
    client.put(prefix.key("c"), "v").await.unwrap();
    let mut keys = client.time_to_live(lease.id, true).await.unwrap().keys;
    keys.sort();
    assert_eq!(keys, [prefix.key("a"), prefix.key("b")]);
    client.revoke(lease.id).await.unwrap();
    let mut left = Vec::new();
    for name in ["a", "b", "c"] {
        left.push(has_key(&client, &prefix.key(name)).await);
    }
    assert_eq!(left, [false, false, true]);
}
