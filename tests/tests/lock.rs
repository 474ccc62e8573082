//! The server's own locks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::time::Duration;

use etcd_core::proto::v3lockpb::LockRequest;
use etcd_core::{Client, Error, EtcdError, Get, LeaseId, Outcome};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::scripted::{Reply, Scripted};
use etcd_tests::versions::differs;
use etcd_tests::wait;
use tokio::time::timeout;

/// For conditions that come true soon on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// A lease that outlives the test if nobody ends it.
async fn lease(client: &Client) -> LeaseId {
    client.grant(LIMIT).await.unwrap().id
}

/// Waits until so many own the lock or wait for it: each has a key under its name.
async fn queue(client: &Client, name: &str, length: i64) {
    wait::until("the queue has its length", LIMIT, async || {
        let keys = Get::prefix(format!("{name}/")).count_only();
        client.get(keys).await.unwrap().count == length
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_next_one_is_let_in_when_the_holder_unlocks() {
    let (client, prefix) = client().await;
    let name = prefix.key("lock");
    let first = client.lock(&name, lease(&client).await).await.unwrap();
    assert_eq!(client.get(&first.key).await.unwrap().kvs.len(), 1);

    let waiting = tokio::spawn(client.lock(&name, lease(&client).await));
    queue(&client, &name, 2).await;
    assert!(!waiting.is_finished());
    client.unlock(&first.key).await.unwrap();
    // Long before the first lease would expire.
    let second = timeout(LIMIT / 2, waiting).await.unwrap();
    let second = second.unwrap().unwrap();
    assert_ne!(second.key, first.key);
    assert!(client.get(&first.key).await.unwrap().kvs.is_empty());
    client.unlock(second.key).await.unwrap();
    client.unlock(first.key).await.unwrap();
}

#[tokio::test]
async fn a_lock_whose_lease_expires_goes_to_the_next_one() {
    let (client, prefix) = client().await;
    let name = prefix.key("lock");
    // etcd grants no less than 2 s.
    let short = client.grant(Duration::from_secs(1)).await.unwrap();
    assert_eq!(short.ttl, Duration::from_secs(2));
    let first = client.lock(&name, short.id).await.unwrap();
    let second = client.timeout(LIMIT).lock(&name, lease(&client).await);
    let second = second.await.unwrap();
    assert!(client.get(&first.key).await.unwrap().kvs.is_empty());
    assert_eq!(client.get(&second.key).await.unwrap().kvs.len(), 1);
    let gone = client.time_to_live(short.id, false).await.unwrap_err();
    assert!(gone.is_lease_not_found(), "{gone}");
}

#[tokio::test]
async fn the_lease_that_holds_a_lock_gets_it_again_at_once() {
    let (client, prefix) = client().await;
    let lease = lease(&client).await;
    let name = prefix.key("lock");
    let once = client.lock(&name, lease).await.unwrap();
    let twice = client.lock(&name, lease).await.unwrap();
    assert_eq!(once.key, twice.key);
}

#[tokio::test]
async fn a_lock_and_a_leadership_are_waited_for_longer_than_a_call_may_take() {
    let (client, prefix) = client().await;
    let (lock, election) = (prefix.key("lock"), prefix.key("election"));
    let holder = lease(&client).await;
    let held = client.lock(&lock, holder).await.unwrap();
    let leader = client.campaign(&election, holder, "v").await.unwrap();

    let limit = Duration::from_millis(200);
    let target = Target::get().await.unwrap();
    let builder = etcd_tests::builder(target.endpoints());
    let patient = builder.request_timeout(limit).connect().await.unwrap();
    let waiter = lease(&client).await;
    let locking = tokio::spawn(patient.lock(&lock, waiter));
    let campaigning = tokio::spawn(patient.campaign(&election, waiter, "v"));
    queue(&client, &lock, 2).await;
    queue(&client, &election, 2).await;
    // The time that is over for any other call.
    tokio::time::sleep(3 * limit).await;
    client.unlock(held.key).await.unwrap();
    client.resign(leader.leader).await.unwrap();
    locking.await.unwrap().unwrap();
    campaigning.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_ends_with_the_time_limit_of_the_view_and_leaves_no_key() {
    let (client, prefix) = client().await;
    let name = prefix.key("lock");
    let held = client.lock(&name, lease(&client).await).await.unwrap();
    let impatient = client.timeout(Duration::from_millis(300));
    let error = impatient.lock(&name, lease(&client).await).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    queue(&client, &name, 1).await;
    assert_eq!(client.get(held.key).await.unwrap().kvs.len(), 1);
}

#[tokio::test]
async fn a_dropped_request_never_gets_the_lock() {
    let (client, prefix) = client().await;
    let name = prefix.key("lock");
    let held = client.lock(&name, lease(&client).await).await.unwrap();
    let dropped = tokio::spawn(client.lock(&name, lease(&client).await));
    queue(&client, &name, 2).await;
    dropped.abort();
    queue(&client, &name, 1).await;
    client.unlock(held.key).await.unwrap();
    queue(&client, &name, 0).await;
}

#[tokio::test]
async fn a_lock_without_a_lease_is_refused_unsent() {
    let server = Scripted::start(|request| request.usual()).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    for error in [
        client.lock("lock", 0).await.map(drop),
        client.campaign("election", 0, "v").await.map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidRequest(text) if text.contains("needs a lease")),
            "{error}"
        );
    }
    assert_eq!(server.seen("/v3lockpb.Lock/Lock"), 0);
    assert_eq!(server.seen("/v3electionpb.Election/Campaign"), 0);
}

/// The trap that the verb keeps its callers from: etcd takes a lease of its own, which nobody renews and nobody knows.
#[tokio::test]
async fn etcd_gives_a_lock_without_a_lease_to_a_lease_that_nobody_renews() {
    let (client, prefix) = client().await;
    let (name, lease) = (prefix.key("lock").into(), 0);
    let held = client.send(LockRequest { name, lease }).await.unwrap();
    let kv = client.get(&held.key).await.unwrap().into_first().unwrap();
    let of_server = client.time_to_live(LeaseId(kv.lease), false).await.unwrap();
    assert_eq!(of_server.granted_ttl, 60);
    client.revoke(LeaseId(kv.lease)).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_is_unknown_or_ends_while_it_waits_is_said_so() {
    let (client, prefix) = client().await;
    let name = prefix.key("lock");
    let unknown = client.lock(&name, 7).await.unwrap_err();
    assert!(unknown.is_lease_not_found(), "{unknown}");

    let held = client.lock(&name, lease(&client).await).await.unwrap();
    let ending = lease(&client).await;
    let waiting = tokio::spawn(client.lock(&name, ending));
    queue(&client, &name, 2).await;
    client.revoke(ending).await.unwrap();
    client.unlock(held.key).await.unwrap();
    let target = Target::get().await.unwrap();
    if target.version().await.unwrap() < (3, 5) {
        // It answers as if the lock were held, by a key that does not exist.
        let key = waiting.await.unwrap().unwrap().key;
        assert!(client.get(key).await.unwrap().kvs.is_empty());
        return differs("Lock answers well although its lease ended while it waited");
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::LockSessionExpired), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

/// The server withdraws the request of a connection that is lost, and would take away what was asked for again meanwhile.
#[tokio::test]
async fn a_request_whose_connection_is_lost_is_not_repeated_even_by_an_idempotent_view() {
    for path in ["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"] {
        let server = Scripted::start(move |request| {
            if request.path == path {
                Reply::abort()
            } else {
                request.usual()
            }
        })
        .await
        .unwrap();
        let client = etcd_tests::connect(server.endpoint()).await.unwrap();
        let client = client.idempotent().timeout(Duration::from_secs(5));
        let error = match path {
            "/v3lockpb.Lock/Lock" => client.lock("l", 7).await.map(drop),
            _ => client.campaign("e", 7, "v").await.map(drop),
        };
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Connection(_)), "{error}");
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert_eq!(server.seen(path), 1);
    }
}
