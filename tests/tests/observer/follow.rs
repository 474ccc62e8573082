//! What is emitted, and that nothing is left behind.

use std::time::{Duration, Instant};

use etcd_core::{Compare, Delete, Error, KeyRange, Put, Txn};
use etcd_recipes::Observer;
use etcd_recipes::observer::Event;
use etcd_tests::cluster::{Cluster, Target};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::{Change, LIMIT, change, changed, client, history, reset, until};

#[tokio::test]
async fn the_first_event_is_what_is_there_even_if_that_is_nothing() {
    let (client, prefix) = client().await;
    let before = client.get("any").await.unwrap().revision();
    let mut observer = Observer::prefix(&client, &*prefix);
    assert_eq!(observer.revision(), None);
    let (kvs, revision) = reset(&mut observer).await;
    assert!(kvs.is_empty() && revision >= before);
    assert_eq!(observer.revision(), Some(revision));

    let mut there = Vec::new();
    for name in ["b", "a", "c"] {
        let reply = client.put(prefix.key(name), name).await.unwrap();
        there.push(Change::put(reply.revision(), prefix.key(name), name));
    }
    for change in &there {
        assert_eq!(changed(&mut observer).await, *change);
    }
    assert_eq!(observer.revision(), Some(there[2].revision));

    let mut late = Observer::prefix(&client, &*prefix);
    let (kvs, revision) = reset(&mut late).await;
    there.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(kvs, there);
    assert!(revision >= there[2].revision);
}

#[tokio::test]
async fn every_kind_of_change_comes_once_and_in_order() {
    let (client, prefix) = client().await;
    let key = |name: &str| prefix.key(name);
    client.put(key("old"), "1").await.unwrap();
    let mut observer = Observer::prefix(&client, &*prefix);
    let (_, from) = reset(&mut observer).await;

    client.put(key("old"), "1").await.unwrap(); // the same value is a change too
    client.delete(key("old")).await.unwrap();
    client.delete(key("old")).await.unwrap(); // and this is none
    let expiring = client.grant(Duration::from_secs(2)).await.unwrap();
    let put = Put::new(key("expires"), "v").lease(expiring.id);
    client.send(put).await.unwrap();
    let revoked = client.grant(Duration::from_secs(60)).await.unwrap();
    let put = Put::new(key("revoked"), "v").lease(revoked.id);
    client.send(put).await.unwrap();
    let txn = Txn::new()
        .when([Compare::version(key("old")).equals(0)])
        .then(Put::new(key("one"), "1"))
        .then(Put::new(key("two"), "2"))
        .then(Delete::key(key("revoked")));
    assert!(client.txn(txn).await.unwrap().succeeded);
    client.put(key("revoked"), "again").await.unwrap();
    client.revoke(revoked.id).await.unwrap();
    client.delete(Delete::prefix(key("o"))).await.unwrap();
    wait::until("the lease has expired", LIMIT, async || {
        client.get(key("expires")).await.unwrap().count == 0
    })
    .await
    .unwrap();
    client.put(key("last"), "").await.unwrap();

    let seen = until(&mut observer, &key("last")).await;
    let endpoint = &Target::get().await.unwrap().endpoints()[0].clone();
    let range = KeyRange::prefix(&*prefix);
    assert_eq!(
        seen,
        history(endpoint, &range, from + 1, &key("last")).await
    );
    let deleted = |name: &str| {
        let of = |change: &&Change| change.key == key(name) && change.value.is_none();
        seen.iter().filter(of).count()
    };
    assert_eq!(
        ["old", "expires", "revoked", "one", "two"].map(deleted),
        [1, 1, 1, 1, 0]
    );
}

#[tokio::test]
async fn a_single_key_is_followed_without_its_neighbours() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    let mut observer = Observer::new(&client, key.as_str());
    assert!(reset(&mut observer).await.0.is_empty());
    for neighbour in [prefix.key("k0"), prefix.key("j"), prefix.to_string()] {
        client.put(neighbour, "v").await.unwrap();
    }
    let put = client.put(&key, "v").await.unwrap().revision();
    let delete = client.delete(&key).await.unwrap().revision();
    assert_eq!(changed(&mut observer).await, Change::put(put, &key, "v"));
    assert_eq!(changed(&mut observer).await, Change::delete(delete, &key));
}

/// The next event of an observer whose client has little patience.
async fn insist(observer: &mut Observer) -> Event {
    let start = Instant::now();
    loop {
        match timeout(LIMIT, observer.try_next()).await.unwrap() {
            Ok(event) => return event,
            Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
        }
    }
}

#[tokio::test]
async fn an_observer_goes_on_where_it_was_after_an_error() {
    let (direct, prefix) = client().await;
    let target = Target::get().await.unwrap();
    let proxy = Proxy::start(&target.endpoints()[0]).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let hasty = client.timeout(Duration::from_millis(300));
    let mut observer = Observer::prefix(&hasty, &*prefix);
    // Neither the read nor the watch can be made.
    for begun in [false, true] {
        proxy.block(Direction::Both);
        let error = observer.try_next().await.unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error}");
        proxy.unblock(Direction::Both);
        if !begun {
            let reset = insist(&mut observer).await;
            assert!(matches!(reset, Event::Reset { .. }), "{reset:?}");
        }
    }
    let key = prefix.key("k");
    for value in ["1", "2"] {
        let put = direct.put(&key, value).await.unwrap().revision();
        let put = Some(Change::put(put, &key, value));
        assert_eq!(change(insist(&mut observer).await), put);
        // Its watch is made again, from where it was.
        client.cancel_all_watches().await.unwrap();
    }
    client.close();
    for _ in 0..2 {
        let error = observer.try_next().await.unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_dropped_observer_leaves_nothing_on_the_server_or_here() {
    let cluster = Cluster::start(1).await.unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let watchers = async || {
        let metric = cluster.metric(0, "etcd_debugging_mvcc_watcher_total", &[]);
        metric.await.unwrap() as usize
    };
    let mut observers = Vec::new();
    for i in 0..20 {
        let mut observer = Observer::prefix(&client, format!("{i}/"));
        reset(&mut observer).await;
        let put = client.put(format!("{i}/k"), "v").await.unwrap().revision();
        let change = changed(&mut observer).await;
        assert_eq!(change, Change::put(put, format!("{i}/k"), "v"));
        observers.push(observer);
    }
    assert_eq!(watchers().await, 20);
    observers.truncate(5);
    wait::until("15 are cancelled", LIMIT, async || watchers().await == 5)
        .await
        .unwrap();
    drop(client);
    let put = async || {
        let other = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
        other.put("4/k", "w").await.unwrap().revision()
    };
    let put = put().await;
    let change = changed(&mut observers[4]).await;
    assert_eq!(change, Change::put(put, "4/k", "w"), "without a client");
    drop(observers);
    wait::until("nothing is left", LIMIT, async || {
        watchers().await == 0 && tasks() == before
    })
    .await
    .unwrap();
}
