//! Puts under a condition, also when their answers are lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::{RangeResponse, TxnRequest, TxnResponse};
use etcd_core::proto::mvccpb::KeyValue;
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, EndpointState, Error, Guard, LeaseId, Outcome, Put, PutIf};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::task::JoinHandle;

/// For conditions that come true soon on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// One member, reached by `client` through a proxy and by `other` directly.
struct World {
    cluster: Cluster,
    proxy: Proxy,
    client: Client,
    other: Client,
}

impl World {
    async fn new() -> World {
        let cluster = Cluster::start(1).await.unwrap();
        let proxy = Proxy::start(cluster.address(0)).await.unwrap();
        World {
            client: etcd_tests::connect(proxy.endpoint()).await.unwrap(),
            other: etcd_tests::connect(cluster.endpoint(0)).await.unwrap(),
            cluster,
            proxy,
        }
    }

    async fn kv(&self, key: &str) -> Option<KeyValue> {
        self.other.get(key).await.unwrap().into_first()
    }

    async fn put(&self, key: &str, value: &str) -> i64 {
        self.other.put(key, value).await.unwrap().revision()
    }

    /// How many transactions the member has begun.
    async fn txns(&self) -> f64 {
        let labels = [("grpc_method", "Txn")];
        let metric = "grpc_server_started_total";
        self.cluster.metric(0, metric, &labels).await.unwrap()
    }

    /// Sends a put whose answer is held back. Returns when the member has applied it.
    async fn applied(&self, put: Put, guard: Guard) -> JoinHandle<etcd_core::Result<PutIf>> {
        let before = self.other.get("any").await.unwrap().revision();
        self.proxy.block(Direction::ToClient);
        let task = tokio::spawn(self.client.guarded_put(put, guard));
        wait::until("the put is applied", LIMIT, async || {
            self.other.get("any").await.unwrap().revision() > before
        })
        .await
        .unwrap();
        task
    }

    /// Sends a put that does not arrive. Returns when it has left the client, which then asks in vain for a sign of life.
    async fn held(&self, put: Put, guard: Guard) -> JoinHandle<etcd_core::Result<PutIf>> {
        self.proxy.block(Direction::ToServer);
        let task = tokio::spawn(self.client.guarded_put(put, guard));
        wait::until("the member is suspect", LIMIT, async || {
            self.client.endpoints().rows()[0].state == EndpointState::Suspect
        })
        .await
        .unwrap();
        task
    }

    /// Loses every connection; new ones work.
    fn cut(&self) {
        self.proxy.reset_all();
        self.proxy.unblock(Direction::Both);
    }
}

fn written(result: etcd_core::Result<PutIf>) -> i64 {
    match result.unwrap() {
        PutIf::Written { revision } => revision,
        refused => panic!("{refused:?}"),
    }
}

fn found(result: etcd_core::Result<PutIf>) -> Option<KeyValue> {
    match result.unwrap() {
        PutIf::Refused { found } => found,
        written => panic!("{written:?}"),
    }
}

fn value(kv: Option<KeyValue>) -> String {
    kv.unwrap().value_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_created_once_and_what_is_there_is_told() {
    let world = World::new().await;
    let revision = written(world.client.create("k", "one").await);
    assert_eq!(world.kv("k").await.unwrap().create_revision, revision);
    assert_eq!(value(found(world.client.create("k", "one").await)), "one");
    world.other.delete("k").await.unwrap();
    written(world.client.create("k", "two").await);
    assert_eq!(value(world.kv("k").await), "two");
}

#[tokio::test]
async fn a_key_is_replaced_only_if_nobody_has_written_it_since() {
    let world = World::new().await;
    assert_eq!(found(world.client.replace("k", "v", 7).await), None);
    let first = written(world.client.replace("k", "one", 0).await);
    assert_eq!(value(found(world.client.replace("k", "v", 0).await)), "one");
    let second = written(world.client.replace("k", "two", first).await);
    assert!(second > first);
    let kv = found(world.client.replace("k", "v", first).await).unwrap();
    assert_eq!((kv.mod_revision, kv.value_str()), (second, Ok("two")));
    assert_eq!(world.kv("k").await, Some(kv));
}

#[tokio::test]
async fn a_guarded_put_has_the_options_of_a_put() {
    let world = World::new().await;
    let lease = world.client.grant(LIMIT).await.unwrap().id;
    let put = Put::new("k", "v").lease(lease);
    written(world.client.guarded_put(put, Guard::Absent).await);
    assert_eq!(LeaseId(world.kv("k").await.unwrap().lease), lease);
    for put in [
        Put::new("k", "").ignore_value(),
        Put::new("k", "v").ignore_lease(),
    ] {
        let refused = world.client.guarded_put(put, Guard::Absent).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    }
}

#[tokio::test]
async fn a_put_that_was_applied_is_written_although_its_answer_is_lost() {
    let world = World::new().await;
    for (key, guard) in [
        ("created", Guard::Absent),
        ("absent", Guard::ModRevision(0)),
    ] {
        let task = world.applied(Put::new(key, "mine"), guard).await;
        world.cut();
        let revision = written(task.await.unwrap());
        let kv = world.kv(key).await.unwrap();
        assert_eq!((kv.mod_revision, kv.version), (revision, 1));
    }
    let before = world.put("replaced", "old").await;
    let guard = Guard::ModRevision(before);
    let task = world.applied(Put::new("replaced", "mine"), guard).await;
    world.cut();
    let revision = written(task.await.unwrap());
    let kv = world.kv("replaced").await.unwrap();
    assert_eq!((kv.mod_revision, kv.version), (revision, 2));
}

#[tokio::test]
async fn a_put_that_was_lost_on_its_way_is_applied_once() {
    let world = World::new().await;
    let (put, guard) = (Put::new("k", "mine"), Guard::Absent);
    let task = world.held(put, guard).await;
    world.cut();
    let revision = written(task.await.unwrap());
    let kv = world.kv("k").await.unwrap();
    assert_eq!((kv.mod_revision, kv.version), (revision, 1));
}

#[tokio::test]
async fn a_put_that_was_lost_on_its_way_yields_to_the_one_that_came_first() {
    let world = World::new().await;
    let task = world.held(Put::new("created", "mine"), Guard::Absent).await;
    world.put("created", "theirs").await;
    world.cut();
    assert_eq!(value(found(task.await.unwrap())), "theirs");

    let before = world.put("replaced", "old").await;
    let guard = Guard::ModRevision(before);
    let task = world.held(Put::new("replaced", "mine"), guard).await;
    world.put("replaced", "theirs").await;
    world.cut();
    assert_eq!(value(found(task.await.unwrap())), "theirs");
    assert_eq!(value(world.kv("replaced").await), "theirs");
}

/// What is there now is not ours, yet ours was applied: to take it for refused would apply it a second time.
#[tokio::test]
async fn a_put_that_was_applied_and_overwritten_since_is_written() {
    let world = World::new().await;
    let task = world
        .applied(Put::new("created", "mine"), Guard::Absent)
        .await;
    let mine = world.kv("created").await.unwrap().mod_revision;
    world.put("created", "later").await;
    world.cut();
    assert_eq!(written(task.await.unwrap()), mine);

    let before = world.put("replaced", "old").await;
    for then in ["overwritten", "deleted"] {
        let before = world
            .kv("replaced")
            .await
            .map_or(before, |kv| kv.mod_revision);
        let put = Put::new("replaced", format!("mine, then {then}"));
        let task = world.applied(put, Guard::ModRevision(before)).await;
        let mine = world.kv("replaced").await.unwrap().mod_revision;
        match then {
            "deleted" => drop(world.other.delete("replaced").await.unwrap()),
            _ => drop(world.put("replaced", "later").await),
        }
        world.cut();
        assert_eq!(written(task.await.unwrap()), mine, "{then}");
    }
    assert_eq!(world.kv("replaced").await, None);
}

#[tokio::test]
async fn what_cannot_be_found_out_stays_unknown() {
    let world = World::new().await;
    let before = world.put("k", "old").await;
    let put = Put::new("k", "mine");
    let task = world.applied(put, Guard::ModRevision(before)).await;
    let last = world.put("k", "later").await;
    world.other.compact(last).await.unwrap();
    world.cut();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");

    // Nobody answers within the time limit.
    let put = Put::new("other", "mine");
    world.proxy.block(Direction::ToClient);
    let limited = world.client.timeout(Duration::from_millis(300));
    let error = limited.guarded_put(put, Guard::Absent).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn nothing_is_sent_again_when_the_answer_is_certain() {
    let world = World::new().await;
    let before = world.txns().await;
    written(world.client.create("k", "v").await);
    found(world.client.create("k", "v").await);
    let guard = Guard::ModRevision(1);
    found(world.client.guarded_put(Put::new("k", "v"), guard).await);
    let put = Put::new("l", "v").lease(7);
    let error = world.client.guarded_put(put, Guard::Absent).await;
    assert!(error.unwrap_err().is_lease_not_found());
    assert_eq!(world.txns().await, before + 4.0);
}

/// A second attempt would be refused by the first one's success.
#[tokio::test]
async fn an_idempotent_view_does_not_repeat_a_put_under_a_condition() {
    let server = Scripted::start(|request| match request.path.as_str() {
        TxnRequest::PATH => Reply::abort(),
        _ => request.usual(),
    });
    let server = server.await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let error = client.idempotent().create("k", "v").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(server.seen(TxnRequest::PATH), 1);
}

/// etcd may refuse for lack of space what it has applied.
#[tokio::test]
async fn a_put_that_was_applied_without_space_is_seen() {
    let no_space = |_: &Request| Reply::status(8, "etcdserver: mvcc: database space exceeded");
    for (value, applied) in [("mine", true), ("theirs", false)] {
        let server = Scripted::start(move |request| match request.path.as_str() {
            TxnRequest::PATH => no_space(request),
            "/etcdserverpb.KV/Range" => Reply::message(&RangeResponse {
                header: Some(request.header()),
                kvs: vec![KeyValue {
                    key: "k".into(),
                    value: value.into(),
                    mod_revision: 5,
                    version: 1,
                    ..Default::default()
                }],
                count: 1,
                ..Default::default()
            }),
            _ => request.usual(),
        });
        let server = server.await.unwrap();
        let client = etcd_tests::connect(server.endpoint()).await.unwrap();
        let result = client.guarded_put(Put::new("k", "mine"), Guard::Absent);
        let result = result.await;
        if applied {
            assert_eq!(written(result), 5);
        } else {
            assert!(result.unwrap_err().is_no_space());
        }
    }
}

/// A reply that says neither yes nor what is there.
#[tokio::test]
async fn a_refusal_without_a_read_is_a_refusal() {
    let server = Scripted::start(|request| match request.path.as_str() {
        TxnRequest::PATH => Reply::message(&TxnResponse {
            header: Some(request.header()),
            ..Default::default()
        }),
        _ => request.usual(),
    });
    let server = server.await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    assert_eq!(found(client.create("k", "v").await), None);
}

/// Every increment that was reported is in the sum, once, however often the connections are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_misses_and_doubles_no_increment_while_connections_are_lost() {
    let world = Arc::new(World::new().await);
    world.put("counter", "0 start").await;
    let increments = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (client, increments) = (world.client.clone(), increments.clone());
        workers.push(tokio::spawn(async move {
            for number in 0..12 {
                increment(&client, &format!("{worker}-{number}")).await;
                increments.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    // As often as they get on, so that there is something to lose.
    while !workers.iter().all(JoinHandle::is_finished) {
        let (before, begun) = (increments.load(Ordering::SeqCst), std::time::Instant::now());
        while increments.load(Ordering::SeqCst) < before + 3
            && begun.elapsed() < Duration::from_secs(1)
        {
            tokio::task::yield_now().await;
        }
        world.proxy.reset_all();
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let kv = world.kv("counter").await.unwrap();
    let (count, _) = kv.value_str().unwrap().split_once(' ').unwrap();
    assert_eq!((count, kv.version), ("48", 49));
    assert!(world.proxy.accepted() > 5);
}

/// Adds one to the counter; `name` makes what it writes unlike what anybody else writes.
async fn increment(client: &Client, name: &str) {
    let client = client.timeout(LIMIT);
    loop {
        let kv = client.get("counter").await.unwrap().into_first().unwrap();
        let (count, _) = kv.value_str().unwrap().split_once(' ').unwrap();
        let next = format!("{} {name}", count.parse::<u64>().unwrap() + 1);
        let put = Put::new("counter", next);
        let guard = Guard::ModRevision(kv.mod_revision);
        if client.guarded_put(put, guard).await.unwrap().is_written() {
            return;
        }
    }
}
