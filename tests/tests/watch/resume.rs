//! Lost connections: nothing is lost, nothing comes twice, and a history that is gone is not passed over in silence.

use std::time::Duration;

use etcd_core::{Client, Compact, Error, KeyRange, Put, Txn, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::wait;
use futures_util::FutureExt;

use crate::history::{History, Recorder, Wanted};
use crate::traffic::Writer;
use crate::{LIMIT, end, events, next, text, up_to};

/// A member, a proxy before it, a client that goes through the proxy, and one that does not.
pub(crate) struct Setup {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    pub(crate) client: Client,
    pub(crate) direct: Client,
}

pub(crate) async fn setup() -> Setup {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    Setup {
        cluster,
        proxy,
        client,
        direct,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_connections_drop_while_keys_change() {
    let setup = setup().await;
    let Setup {
        cluster,
        proxy,
        client,
        direct,
    } = &setup;
    let range = KeyRange::prefix("k/");
    let mut recorders = Vec::new();
    for _ in 0..4 {
        recorders.push(Recorder::new(client.watch(range.clone()).await.unwrap()));
    }
    let filtered = Watch::prefix("k/").no_put().prev_kv();
    let filtered = Recorder::new(client.watch(filtered).await.unwrap());
    let writer = Writer::start(direct.clone(), "k/");
    for cut in 0..10 {
        let accepted = proxy.accepted();
        match cut % 4 {
            0 => proxy.drop_all(),
            1 => proxy.reset_all(),
            // In the middle of what is being sent, at another byte each time.
            2 => proxy.cut_after(Direction::ToClient, 1_000 + 77 * cut, Close::Fin),
            _ => proxy.cut_after(Direction::ToClient, 3_000 + 77 * cut, Close::Reset),
        }
        wait::until("there is a new connection", LIMIT, async || {
            proxy.accepted() > accepted
        })
        .await
        .unwrap();
    }
    let end = writer.stop().await;
    for recorder in &recorders {
        recorder.check(&cluster.endpoint(0), end).await;
    }

    let history = History::read(&cluster.endpoint(0), &range, filtered.start, end).await;
    let mut wanted = Wanted::all(range, filtered.start, history.last_delete());
    (wanted.puts, wanted.prev_kv) = (false, true);
    let batches = filtered.up_to(wanted.end).await;
    history.check(&wanted, &batches).unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_at_any_byte_delivers_each_revision_once() {
    let setup = setup().await;
    let Setup {
        cluster,
        proxy,
        client,
        direct,
    } = &setup;
    let range = KeyRange::prefix("k/");
    let first = direct.put("k/first", "").await.unwrap().revision();
    for n in 0..4 {
        let puts = (0..3).map(|i| Put::new(format!("k/{i}"), n.to_string()));
        direct.txn(puts.fold(Txn::new(), Txn::then)).await.unwrap();
    }
    let last = direct.put("k/end", "").await.unwrap().revision();
    let history = History::read(&cluster.endpoint(0), &range, first, last).await;
    let wanted = Wanted::all(range.clone(), first, last);

    // Before the answer to the create, within it, and within the events; as the only watch of a stream, which ends with it.
    for bytes in (0..1_000).step_by(90) {
        let accepted = proxy.accepted();
        let watch = Watch::from(range.clone()).start_revision(first);
        proxy.cut_after(Direction::ToClient, bytes, Close::Reset);
        let mut watcher = client.watch(watch).await.unwrap();
        let batches = up_to(&mut watcher, last).await;
        history.check(&wanted, &batches).unwrap();
        let cut = wait::until("the connection was cut", LIMIT, async || {
            let _ = direct.put("elsewhere", "").await;
            watcher.request_progress();
            proxy.accepted() > accepted
        });
        cut.await.unwrap();
    }
}

#[tokio::test]
async fn a_watch_that_has_delivered_nothing_resumes_where_it_began() {
    let setup = setup().await;
    let Setup {
        proxy,
        client,
        direct,
        ..
    } = &setup;
    let before = direct.put("k", "0").await.unwrap().revision();
    let mut watcher = client.watch("k").await.unwrap();
    assert_eq!(watcher.start_revision(), before + 1);
    proxy.block(Direction::ToClient);
    let first = direct.put("k", "1").await.unwrap().revision();
    direct.put("k", "2").await.unwrap();
    proxy.reset_all();
    proxy.unblock(Direction::ToClient);
    let got = events(up_to(&mut watcher, first + 1).await);
    assert_eq!(text("", &got), ["put k 1", "put k 2"]);
}

#[tokio::test]
async fn a_watch_whose_history_was_compacted_while_it_was_cut_off_says_so() {
    let setup = setup().await;
    let Setup {
        proxy,
        client,
        direct,
        ..
    } = &setup;
    let mut behind = client.watch("k").await.unwrap();
    let mut ahead = client
        .watch(Watch::key("k").start_revision(100))
        .await
        .unwrap();
    direct.put("k", "1").await.unwrap();
    assert_eq!(next(&mut behind).await.events.len(), 1);

    proxy.block(Direction::Both);
    for n in 0..5 {
        direct.put("k", n.to_string()).await.unwrap();
    }
    let compacted = direct.put("k", "kept").await.unwrap().revision();
    direct.send(Compact::new(compacted)).await.unwrap();
    proxy.reset_all();
    proxy.unblock(Direction::Both);
    let error = end(&mut behind).await.expect("it has ended with an error");
    assert!(error.is_compacted(), "{error}");
    assert!(
        matches!(error, Error::Compacted { revision } if revision == compacted),
        "{error}"
    );
    assert_eq!(behind.try_next().await.unwrap(), None, "it is said once");

    // The others of its stream go on, and one that begins after the compaction works.
    let watch = Watch::key("k").start_revision(compacted);
    let mut again = client.watch(watch).await.unwrap();
    assert_eq!(text("", &next(&mut again).await.events), ["put k kept"]);
    let mut last = 0;
    while last < 100 {
        last = direct.put("k", "later").await.unwrap().revision();
    }
    assert_eq!(next(&mut ahead).await.events.len(), 1);
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_ends_with_the_oldest_that_is_left() {
    let setup = setup().await;
    let Setup { client, direct, .. } = &setup;
    for n in 0..5 {
        direct.put("k", n.to_string()).await.unwrap();
    }
    direct.send(Compact::new(4)).await.unwrap();
    // etcd confirms it first, and ends it then.
    let mut watcher = client
        .watch(Watch::key("k").start_revision(2))
        .await
        .unwrap();
    let error = end(&mut watcher).await.unwrap();
    assert!(matches!(error, Error::Compacted { revision: 4 }), "{error}");
    let mut watcher = client
        .watch(Watch::key("k").start_revision(4))
        .await
        .unwrap();
    assert_eq!(events(up_to(&mut watcher, 6).await).len(), 3);
}

#[tokio::test]
async fn a_watch_is_created_when_the_member_can_be_reached_again() {
    let setup = setup().await;
    let Setup {
        proxy,
        client,
        direct,
        ..
    } = &setup;
    let first = client.get("k").await.unwrap().revision() + 1;
    proxy.refuse();
    proxy.drop_all();
    let watch = client
        .timeout(LIMIT)
        .watch(Watch::key("k").start_revision(first));
    let watch = tokio::spawn(watch);
    direct.put("k", "1").await.unwrap();
    proxy.accept().unwrap();
    let mut watcher = watch.await.unwrap().unwrap();
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k 1"]);
}

#[tokio::test]
async fn a_watch_call_gives_up_after_its_time_limit_and_names_the_cause() {
    let setup = setup().await;
    let Setup { proxy, client, .. } = &setup;
    proxy.refuse();
    proxy.drop_all();
    let limit = Duration::from_millis(500);
    let error = client.timeout(limit).watch("k").await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(error.to_string().contains(&proxy.endpoint()), "{error}");
    let error = client.wait_ready(false).watch("k").await.unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
}

#[tokio::test]
async fn a_watch_of_one_endpoint_waits_for_it() {
    let setup = setup().await;
    let other = Proxy::start(setup.cluster.address(0)).await.unwrap();
    let endpoints = [setup.proxy.endpoint(), other.endpoint()];
    let client = etcd_tests::builder(&endpoints).connect();
    let client = client.await.unwrap();
    let mut pinned = client.endpoint(&endpoints[0]).watch("k").await.unwrap();
    setup.proxy.refuse();
    setup.proxy.reset_all();
    let mut free = client.watch("k").await.unwrap();
    setup.direct.put("k", "1").await.unwrap();
    assert_eq!(text("", &next(&mut free).await.events), ["put k 1"]);
    let rows = client.endpoints().rows().to_vec();
    assert_eq!((rows[0].watchers, rows[1].watchers), (0, 1));
    assert!(pinned.try_next().now_or_never().is_none());
    setup.proxy.accept().unwrap();
    assert_eq!(text("", &next(&mut pinned).await.events), ["put k 1"]);
    assert_eq!(client.endpoints().rows()[0].watchers, 1);
}
