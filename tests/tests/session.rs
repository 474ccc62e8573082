//! Sessions: one lease for several recipes, and every way in which it ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use etcd_core::{Client, LeaseId, LostReason, Put};
use etcd_recipes::Session;
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use tokio::time::timeout;

/// For conditions that come true within a time to live on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How late a busy machine may be with what is due at a certain time.
const LATE: Duration = Duration::from_millis(1_500);
const TTL: Duration = Duration::from_secs(3);

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// Puts a key that goes when the session goes.
async fn attach(session: &Session, key: &str) {
    let put = Put::new(key, "v").lease(session.id());
    session.client().send(put).await.unwrap();
}

async fn has_key(client: &Client, key: &str) -> bool {
    client.get(key).await.unwrap().into_first().is_some()
}

/// Whether etcd has the lease.
async fn exists(client: &Client, id: LeaseId) -> bool {
    client.leases().await.unwrap().contains(&id)
}

async fn gone(client: &Client, id: LeaseId) -> Instant {
    wait::until("the lease is gone", LIMIT, async || {
        !exists(client, id).await
    })
    .await
    .unwrap();
    Instant::now()
}

async fn lost(session: &Session) -> LostReason {
    let reason = timeout(LIMIT, session.lost()).await.unwrap();
    assert!(!session.is_valid() && session.remaining().is_zero());
    reason
}

async fn valid_for(span: Duration, session: &Session) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(session.is_valid(), "after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn clones_share_one_lease_that_lives_as_long_as_the_last_of_them() {
    let (client, prefix) = client().await;
    let session = Session::new(&client, TTL).await.unwrap();
    let clones = [session.clone(), session.clone()];
    assert!(clones.iter().all(|clone| clone.id() == session.id()));
    assert!(clones.iter().all(|clone| clone.ttl() == TTL));
    let key = prefix.key("k");
    attach(&clones[0], &key).await;
    drop((session, client));
    let [last, other] = clones;
    drop(other);
    valid_for(TTL * 2, &last).await;
    assert!(has_key(last.client(), &key).await);

    let (client, id, reason) = (last.client().clone(), last.id(), last.lost());
    drop(last);
    assert_eq!(timeout(LIMIT, reason).await.unwrap(), LostReason::Dropped);
    assert!(exists(&client, id).await, "it is not revoked");
    gone(&client, id).await;
    assert!(!has_key(&client, &key).await);
}

#[tokio::test]
async fn every_clone_learns_why_the_session_is_lost() {
    let (client, _) = client().await;
    let session = Session::new(&client, TTL).await.unwrap();
    let clones = [session.clone(), session.clone()];
    let early = session.lost();
    client.revoke(session.id()).await.unwrap();
    let revoked = Instant::now();
    assert_eq!(timeout(LIMIT, early).await.unwrap(), LostReason::NotFound);
    // Renewals are up to 0.4 of the TTL apart.
    assert!(
        revoked.elapsed() < TTL * 2 / 5 + LATE,
        "{:?}",
        revoked.elapsed()
    );
    for clone in &clones {
        assert_eq!(lost(clone).await, LostReason::NotFound);
    }
    // To end what is lost already is no error, and does not change why.
    session.close().await.unwrap();
    let [first, second] = clones;
    first.orphan();
    assert_eq!(lost(&second).await, LostReason::NotFound);
}

#[tokio::test]
async fn an_orphaned_session_is_lost_at_once_and_its_keys_stay_until_the_time_to_live_is_over() {
    let (client, prefix) = client().await;
    let session = Session::new(&client, TTL).await.unwrap();
    let clone = session.clone();
    let (id, key) = (session.id(), prefix.key("k"));
    attach(&session, &key).await;
    let left = session.remaining();
    let orphaned = Instant::now();
    session.orphan();
    assert_eq!(lost(&clone).await, LostReason::Halted);
    assert!(orphaned.elapsed() < LATE);
    assert!(exists(&client, id).await && has_key(&client, &key).await);
    assert!(gone(&client, id).await - orphaned >= left);
    assert!(!has_key(&client, &key).await);
}

#[tokio::test]
async fn a_closed_session_is_revoked_for_all_its_clones() {
    let (client, prefix) = client().await;
    let session = Session::new(&client, TTL * 10).await.unwrap();
    let clone = session.clone();
    let (id, key) = (session.id(), prefix.key("k"));
    attach(&session, &key).await;
    session.close().await.unwrap();
    assert!(!exists(&client, id).await && !has_key(&client, &key).await);
    assert_eq!(lost(&clone).await, LostReason::Revoked);
    clone.close().await.unwrap();
}

#[tokio::test]
async fn a_session_can_stand_on_a_lease_that_is_kept_already() {
    let (client, _) = client().await;
    let lease = client.lease(TTL).await.unwrap();
    let id = lease.id();
    let session = Session::with_lease(&client, lease);
    assert_eq!(session.id(), id);
    valid_for(TTL * 2, &session).await;
    session.close().await.unwrap();
    assert!(!exists(&client, id).await);
}

#[tokio::test]
async fn a_session_that_is_cut_off_is_lost_before_etcd_deletes_its_keys() {
    let (direct, prefix) = client().await;
    let target = Target::get().await.unwrap();
    let proxy = Proxy::start(&target.endpoints()[0]).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let session = Session::new(&client, TTL).await.unwrap();
    let key = prefix.key("k");
    attach(&session, &key).await;
    proxy.block(Direction::Both);
    let deleted = async {
        wait::until("its key is gone", LIMIT, async || {
            !has_key(&direct, &key).await
        })
        .await
        .unwrap();
        assert!(!session.is_valid());
        Instant::now()
    };
    let known = async { (lost(&session).await, Instant::now()) };
    let ((reason, known), deleted) = tokio::join!(known, deleted);
    assert_eq!(reason, LostReason::Deadline);
    assert!(known < deleted);
    proxy.unblock(Direction::Both);
    let another = Session::new(&client, TTL).await.unwrap();
    assert_ne!(another.id(), session.id());
    assert!(!session.is_valid() && another.is_valid());
}
