//! What a stream may do to its watches: end, be silent, number them as it likes. They go on.

use std::time::{Duration, Instant};

use etcd_core::{Error, Watch, Watcher};
use etcd_tests::scripted::{Reply, Scripted};
use tokio::time::timeout;

use crate::member::{Stream, WATCH, member, pair, put, response};
use crate::{LIMIT, end, events, next, text, up_to};

/// A watch of `k/` that has got what happened up to revision 5.
async fn watched(server: &Scripted, client: &etcd_core::Client) -> (Watcher, Stream) {
    let watch = tokio::spawn(client.watch(Watch::prefix("k/")));
    let mut stream = Stream::next(server).await;
    let id = stream.confirm().await;
    let mut watcher = watch.await.unwrap().unwrap();
    stream.events(id, &[(4, "k/a"), (5, "k/a")]).await;
    up_to(&mut watcher, 5).await;
    (watcher, stream)
}

/// The watch is created again, from where it was, and delivers what comes.
async fn resumed(watcher: &mut Watcher, stream: &mut Stream) {
    let create = stream.create().await;
    let next = watcher.next_revision();
    assert_eq!(create.start_revision, next);
    stream.created(create.watch_id).await;
    stream.events(create.watch_id, &[(next, "k/b")]).await;
    let got = events(up_to(watcher, next).await);
    assert_eq!(text("", &got), [format!("put k/b {next}")]);
}

#[tokio::test]
async fn a_stream_that_ends_is_followed_by_another_whatever_it_ends_with() {
    let (server, client) = member().await;
    let (mut watcher, mut stream) = watched(&server, &client).await;
    let ends = [
        Reply::trailers(0, ""),
        Reply::trailers(14, "transport is closing"),
        Reply::trailers(13, "stream terminated"),
        Reply::trailers(1, "context canceled"),
        Reply::rst(h2::Reason::INTERNAL_ERROR),
        Reply::end(),
    ];
    for how in ends {
        stream.0.reply(how).await;
        stream = Stream::next(&server).await;
        resumed(&mut watcher, &mut stream).await;
    }
    let connection = stream.0.request().connection;
    server
        .push(
            connection,
            Reply::goaway(1 << 20, 0_u32, "").then(Reply::close()),
        )
        .await;
    stream = Stream::next(&server).await;
    resumed(&mut watcher, &mut stream).await;
}

#[tokio::test]
async fn a_member_that_does_not_answer_a_create_is_left_for_another() {
    let (servers, client) = pair().await;
    let watch = tokio::spawn(
        client
            .timeout(LIMIT)
            .watch(Watch::prefix("k/").start_revision(9)),
    );
    let (silent, mut stream) = Stream::next_of(&servers).await;
    assert_eq!(stream.create().await.start_revision, 9);
    let asked = Instant::now();
    let mut other = Stream::next(&servers[1 - silent]).await;
    let waited = asked.elapsed();
    assert!((4..8).contains(&waited.as_secs()), "{waited:?}");
    other.confirm().await;
    drop(watch.await.unwrap().unwrap());
    stream.left().await;
}

#[tokio::test]
async fn a_member_without_leader_is_left_and_not_asked_again_at_once() {
    // As the status of the stream, as etcd ends those that are open; or as the reason of a cancellation.
    for in_band in [false, true] {
        let (servers, client) = pair().await;
        let watch = tokio::spawn(client.watch(Watch::prefix("k/").start_revision(5)));
        let (first, mut stream) = Stream::next_of(&servers).await;
        assert_eq!(stream.0.request().metadata("hasleader"), Some("true"));
        let id = stream.confirm().await;
        let mut watcher = watch.await.unwrap().unwrap();
        if in_band {
            stream.canceled(id, "etcdserver: no leader", 0).await;
        } else {
            stream.end(14, "etcdserver: no leader").await;
        }
        let mut other = Stream::next(&servers[1 - first]).await;
        resumed(&mut watcher, &mut other).await;
        assert_eq!(servers[first].seen(WATCH), 1);
        stream.left().await;
    }
}

#[tokio::test]
async fn a_watch_that_needs_no_leader_says_so_and_has_a_stream_of_its_own() {
    let (server, client) = member().await;
    let (_watcher, _stream) = watched(&server, &client).await;
    let watch = tokio::spawn(client.require_leader(false).watch("k"));
    let mut stream = Stream::next(&server).await;
    assert_eq!(stream.0.request().metadata("hasleader"), None);
    stream.confirm().await;
    drop(watch.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_watch_that_is_cancelled_without_a_reason_is_created_anew() {
    let (server, client) = member().await;
    let (mut watcher, mut stream) = watched(&server, &client).await;
    stream.canceled(1, "", 0).await;
    let mut next = Stream::next(&server).await;
    resumed(&mut watcher, &mut next).await;
}

#[tokio::test]
async fn a_server_that_numbers_watches_itself_is_asked_for_one_after_the_other() {
    for first_id in [0, 77] {
        let (server, client) = member().await;
        let watches = ["a", "b", "c"].map(|key| tokio::spawn(client.watch(key)));
        let mut stream = Stream::next(&server).await;
        let mut keys = Vec::new();
        for n in 0..3 {
            let create = stream.create().await;
            let asked = if n == 0 { 1 } else { 0 };
            assert_eq!(
                create.watch_id, asked,
                "the server's choice, once it is known to choose"
            );
            keys.push(String::from_utf8(create.key.to_vec()).unwrap());
            let more = timeout(Duration::from_millis(50), stream.0.message()).await;
            assert!(more.is_err(), "the next one waits for this answer");
            stream.created(first_id + n).await;
        }
        let mut watchers = Vec::new();
        for watch in watches {
            watchers.push(watch.await.unwrap().unwrap());
        }
        for (n, key) in (0..).zip(&keys) {
            stream.events(first_id + n, &[(5 + n, key)]).await;
        }
        for watcher in &mut watchers {
            let batch = next(watcher).await;
            let key = &batch.events[0].kv.as_ref().unwrap().key;
            assert!(watcher.range().contains(key));
        }
        let cancel = tokio::spawn(client.cancel_all_watches());
        for _ in 0..3 {
            let id = stream.cancel().await;
            assert!((first_id..first_id + 3).contains(&id));
            stream.canceled(id, "", 0).await;
        }
        assert_eq!(cancel.await.unwrap().unwrap(), 3);
    }
}

#[tokio::test]
async fn watches_are_numbered_by_the_client_and_cancelled_by_their_numbers() {
    let (server, client) = member().await;
    let watches = (0..10).map(|n| tokio::spawn(client.watch(format!("k/{n}"))));
    let watches: Vec<_> = watches.collect();
    let mut stream = Stream::next(&server).await;
    let first = stream.confirm().await;
    let mut ids = vec![first];
    // All others are asked for before one of them is answered.
    for _ in 1..10 {
        ids.push(stream.create().await.watch_id);
    }
    for id in &ids[1..] {
        stream.created(*id).await;
    }
    let mut watchers = Vec::new();
    for watch in watches {
        watchers.push(watch.await.unwrap().unwrap());
    }
    let cancel = tokio::spawn(client.cancel_all_watches());
    let mut cancelled = Vec::new();
    for _ in &ids {
        let id = stream.cancel().await;
        assert!(!cancel.is_finished(), "it waits for all of them");
        stream.canceled(id, "", 0).await;
        cancelled.push(id);
    }
    cancelled.sort_unstable();
    ids.sort_unstable();
    assert_eq!(cancelled, ids);
    ids.dedup();
    assert_eq!((ids.len(), cancel.await.unwrap().unwrap()), (10, 10));
    for watcher in &mut watchers {
        assert!(end(watcher).await.is_none());
    }
    stream.left().await;
}

#[tokio::test]
async fn a_watch_given_up_before_it_was_confirmed_is_cancelled_when_it_is() {
    let (server, client) = member().await;
    let (_lasting, mut stream) = watched(&server, &client).await;
    let watch = tokio::spawn(client.watch("gone"));
    let create = stream.create().await;
    watch.abort();
    assert!(watch.await.is_err());
    stream.created(create.watch_id).await;
    assert_eq!(stream.cancel().await, create.watch_id);
    // Not cancelled at once: etcd answers in order, and so the answer of the next create is told from this one's.
    let next = tokio::spawn(client.watch("next"));
    let id = stream.confirm().await;
    assert_ne!(id, create.watch_id);
    drop(next.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_compaction_ends_one_watch_which_is_then_taken_off_the_server() {
    let (server, client) = member().await;
    let (mut watcher, mut stream) = watched(&server, &client).await;
    let old = tokio::spawn(client.watch(Watch::key("old").start_revision(2)));
    let id = stream.confirm().await;
    let mut old = old.await.unwrap().unwrap();
    stream
        .canceled(id, "mvcc: required revision has been compacted", 40)
        .await;
    let error = end(&mut old).await.unwrap();
    assert!(
        matches!(error, Error::Compacted { revision: 40 }),
        "{error}"
    );
    // It would go on there, and keep the stream from ever being up to date.
    assert_eq!(stream.cancel().await, id);
    stream.events(1, &[(41, "k/a")]).await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 41"]);
}

#[tokio::test]
async fn one_revision_larger_than_the_limit_ends_its_watch_alone() {
    let server = Scripted::start(etcd_tests::scripted::Request::usual)
        .await
        .unwrap();
    let client = etcd_tests::builder([server.endpoint()]);
    let client = client.max_revision_bytes(10_000).connect().await.unwrap();
    let (mut watcher, mut stream) = watched(&server, &client).await;
    let other = tokio::spawn(client.watch("other"));
    let id = stream.confirm().await;
    let mut other = other.await.unwrap().unwrap();
    // None of its events is too large, all together are.
    let mut large = response(7);
    large.watch_id = 1;
    large.events = vec![put(6, "k/small"); 4];
    for (event, key) in large.events[1..].iter_mut().zip(["k/a", "k/b", "k/c"]) {
        *event = put(7, key);
        event.kv.as_mut().unwrap().value = vec![0; 4_000].into();
    }
    stream.0.send(&large).await;
    assert_eq!(
        text("", &next(&mut watcher).await.events),
        ["put k/small 6"]
    );
    let error = end(&mut watcher).await.unwrap();
    assert!(matches!(error, Error::TooLarge(_)), "{error}");
    assert_eq!(watcher.next_revision(), 7);
    assert_eq!(stream.cancel().await, 1);

    stream.events(id, &[(8, "other")]).await;
    assert_eq!(text("", &next(&mut other).await.events), ["put other 8"]);
    // One event alone is.
    large.watch_id = id;
    large.events = vec![put(9, "other")];
    large.events[0].kv.as_mut().unwrap().value = vec![0; 20_000].into();
    stream.0.send(&large).await;
    let error = end(&mut other).await.unwrap();
    assert!(matches!(error, Error::TooLarge(_)), "{error}");
    assert_eq!(other.next_revision(), 9);
    stream.left().await;
}
