//! History that was compacted before it could be delivered: the range is read again, and the difference is emitted.

use std::time::Duration;

use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{
    RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use etcd_core::proto::mvccpb::{self, KeyValue};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Compact, Delete, KeyRange};
use etcd_recipes::Observer;
use etcd_recipes::observer::Event;
use etcd_tests::cluster::{Builder, Cluster};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Incoming, Request, Scripted};

use crate::{Change, Replica, changed, next, reset};

/// A cluster whose history may be compacted, a client of it, and one that comes by way of a proxy.
struct Bench {
    cluster: Cluster,
    direct: Client,
    proxy: Proxy,
    proxied: Client,
}

impl Bench {
    async fn start(builder: Builder) -> Self {
        let cluster = builder.start().await.unwrap();
        let proxy = Proxy::start(cluster.address(0)).await.unwrap();
        Self {
            direct: etcd_tests::connect(cluster.endpoint(0)).await.unwrap(),
            proxied: etcd_tests::connect(proxy.endpoint()).await.unwrap(),
            cluster,
            proxy,
        }
    }

    fn cut_off(&self) {
        self.proxy.refuse();
        self.proxy.reset_all();
    }

    /// How many reads the member has been asked for.
    async fn reads(&self) -> f64 {
        let method = [("grpc_method", "Range")];
        let metric = self.cluster.metric(0, "grpc_server_started_total", &method);
        metric.await.unwrap()
    }

    async fn put(&self, key: &str, value: &str) -> Change {
        let reply = self.direct.put(key, value).await.unwrap();
        Change::put(reply.revision(), key, value)
    }

    /// Puts the same letter under each of some keys.
    async fn put_each(&self, keys: &str) {
        for key in keys.chars() {
            self.put(&key.to_string(), "old").await;
        }
    }

    /// Takes all history away.
    async fn compact(&self) -> i64 {
        let revision = self.direct.get("any").await.unwrap().revision();
        let compact = Compact::new(revision).physical();
        self.direct.compact(compact).await.unwrap();
        revision
    }

    /// Changes some of the keys a to g, and takes that history away. Returns the changes that still show.
    async fn change_and_compact(&self) -> Vec<Change> {
        self.put("a", "1").await;
        let a = self.put("a", "2").await;
        self.direct.delete("b").await.unwrap();
        self.direct.delete("c").await.unwrap();
        let c = self.put("c", "old").await;
        self.put("f", "came").await;
        self.direct.delete("f").await.unwrap();
        let e = self.put("e", "old").await;
        let g = self.put("g", "new").await;
        self.direct.delete(Delete::range("x", "z")).await.unwrap();
        let revision = self.compact().await;
        let gone = ["b", "x", "y"].map(|key| Change::delete(revision, key));
        [a, c, e, g].into_iter().chain(gone).collect()
    }
}

#[tokio::test]
async fn what_was_compacted_while_cut_off_comes_as_the_difference() {
    let bench = Bench::start(Cluster::builder()).await;
    bench.put_each("abcdexy").await;
    let mut all = Observer::new(&bench.proxied, KeyRange::all());
    let mut single = ["a", "b", "d"].map(|key| Observer::new(&bench.proxied, key));
    let (kvs, _) = reset(&mut all).await;
    assert_eq!(kvs.len(), 7);
    for observer in &mut single {
        assert_eq!(reset(observer).await.0.len(), 1);
    }
    // Each watches, and has seen that it does.
    bench.put_each("abd").await;
    for _ in 0..3 {
        changed(&mut all).await;
    }
    for observer in &mut single {
        changed(observer).await;
    }
    // A key that has come and gone is not in the difference.
    bench.put("h", "").await;
    bench.direct.delete("h").await.unwrap();
    assert_eq!(changed(&mut all).await.key, "h");
    assert_eq!(changed(&mut all).await.value, None);

    bench.cut_off();
    let expected = bench.change_and_compact().await;
    bench.proxy.accept().unwrap();
    let mut seen = Vec::new();
    for _ in &expected {
        seen.push(changed(&mut all).await);
    }
    assert_eq!(seen, expected);
    assert_eq!(all.revision(), expected.last().map(|last| last.revision));
    let [a, b, d] = &mut single;
    assert_eq!(changed(a).await, expected[0]);
    assert_eq!(changed(b).await, expected[4]);
    // Nothing else came, least of all for what has not changed.
    let next = bench.put("d", "new").await;
    assert_eq!(changed(d).await, next);
    assert_eq!(changed(&mut all).await, next);
}

#[tokio::test]
async fn what_was_compacted_before_the_watch_began_comes_as_the_difference() {
    let bench = Bench::start(Cluster::builder()).await;
    bench.put_each("abcdexy").await;
    let mut observer = Observer::new(&bench.direct, KeyRange::all());
    reset(&mut observer).await;
    // It has not been asked for anything since, so there is no watch yet.
    let expected = bench.change_and_compact().await;
    for change in &expected {
        assert_eq!(changed(&mut observer).await, *change);
    }
    let next = bench.put("d", "new").await;
    assert_eq!(changed(&mut observer).await, next);
}

/// The next watch to be created on a stream, and the answer that confirms it.
async fn created(stream: &mut Incoming) -> (WatchCreateRequest, WatchResponse) {
    let request: WatchRequest = stream.decode().await.unwrap();
    let Some(RequestUnion::CreateRequest(create)) = request.request_union else {
        unreachable!("{request:?}");
    };
    let answer = WatchResponse {
        header: Some(stream.request().header()),
        watch_id: create.watch_id,
        created: true,
        ..WatchResponse::default()
    };
    (create, answer)
}

#[tokio::test]
async fn a_watch_that_is_refused_because_of_compaction_is_made_after_a_second_read() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let mut observer = Observer::new(&client, "k");
    let (_, revision) = reset(&mut observer).await;
    let serving = async {
        let mut refused = server.next_stream().await;
        let (_, mut answer) = created(&mut refused).await;
        (answer.canceled, answer.compact_revision) = (true, revision + 5);
        refused.send(&answer).await;
        let mut stream = server.next_stream().await;
        let (create, mut answer) = created(&mut stream).await;
        stream.send(&answer).await;
        let kv = KeyValue {
            key: "k".into(),
            mod_revision: create.start_revision,
            ..KeyValue::default()
        };
        let put = mvccpb::Event {
            kv: Some(kv),
            ..mvccpb::Event::default()
        };
        (answer.created, answer.events) = (false, vec![put]);
        stream.send(&answer).await;
        stream
    };
    let (change, _stream) = tokio::join!(changed(&mut observer), serving);
    assert_eq!(change, Change::put(revision + 1, "k", ""));
    assert_eq!(server.seen(RangeRequest::PATH), 2);
}

#[tokio::test]
async fn a_reader_that_history_left_behind_ends_with_the_range_as_it_is() {
    let bench = Bench::start(Cluster::builder()).await;
    let small = etcd_tests::builder([bench.cluster.endpoint(0)]).watch_queue(10, 1 << 20);
    let client = small.connect().await.unwrap();
    let mut observer = Observer::new(&client, KeyRange::all());
    reset(&mut observer).await;
    let first = bench.put("first", "").await;
    assert_eq!(changed(&mut observer).await, first);

    // Nobody reads: what does not fit is left on the server, and then it is not there either.
    for i in 0..200 {
        let key = format!("k{}", i % 20);
        bench.put(&key, &i.to_string()).await;
        if i % 3 == 0 {
            bench.direct.delete(key).await.unwrap();
        }
    }
    bench.compact().await;
    bench.put("last", "").await;
    let reads = bench.reads().await;
    let mut replica = Replica::default();
    replica.apply(Some(first));
    while !replica.has("last") {
        replica.apply(Some(changed(&mut observer).await));
    }
    assert!(bench.reads().await > reads, "the range was read again");
    replica.is_range(&bench.direct, "").await;
}

#[tokio::test]
async fn progress_carries_an_idle_observer_past_compaction() {
    let interval = Duration::from_millis(200);
    let bench = Bench::start(Cluster::builder().progress_interval(interval)).await;
    let mut observer = Observer::prefix(&bench.proxied, "idle/");
    reset(&mut observer).await;
    let first = bench.put("idle/first", "").await;
    assert_eq!(changed(&mut observer).await, first);
    bench.put_each("abc").await;
    let compacted = bench.compact().await;
    while observer.revision().unwrap() < compacted {
        let event = next(&mut observer).await;
        assert!(matches!(event, Event::Progress { .. }), "{event:?}");
    }
    let reads = bench.reads().await;
    bench.cut_off();
    bench.proxy.accept().unwrap();
    let put = bench.put("idle/k", "v").await;
    assert_eq!(changed(&mut observer).await, put);
    assert_eq!(bench.reads().await, reads, "the range is not read again");
}
