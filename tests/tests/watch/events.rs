//! What a watch delivers: what it asked for, in order, whole revisions at a time.

use etcd_core::{Delete, KeyRange, Put, Txn, Watch};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::timeout;

use crate::history::{History, Wanted};
use crate::{LIMIT, client, end, events, next, text, up_to};

#[tokio::test]
async fn a_watch_delivers_what_happens_from_its_call_to_its_cancellation() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    client.put(&key, "before").await.unwrap();
    let mut watcher = client.watch(&key).await.unwrap();
    client.put(&key, "1").await.unwrap();
    client.put(&key, "2").await.unwrap();
    let deleted = client.delete(&key).await.unwrap().revision();
    let got = events(up_to(&mut watcher, deleted).await);
    assert_eq!(text(&prefix, &got), ["put k 1", "put k 2", "delete k"]);
    assert_eq!(watcher.next_revision(), deleted + 1);

    assert_eq!(client.cancel_all_watches().await.unwrap(), 1);
    client.put(&key, "after").await.unwrap();
    assert_eq!(watcher.try_next().await.unwrap(), None);
    assert_eq!(watcher.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn watches_of_one_stream_get_each_its_own_events_and_are_cancelled_together() {
    let (client, prefix) = client().await;
    let (a, b) = (prefix.key("a"), prefix.key("b"));
    let mut of_a = client.watch(&a).await.unwrap();
    let mut of_b = client.watch(&b).await.unwrap();
    let mut of_both = client.watch(Watch::prefix(&*prefix)).await.unwrap();
    client.put(&a, "1").await.unwrap();
    let of_b_last = client.put(&b, "2").await.unwrap().revision();
    let last = client.put(&a, "3").await.unwrap().revision();
    let got = events(up_to(&mut of_a, last).await);
    assert_eq!(text(&prefix, &got), ["put a 1", "put a 3"]);
    let got = events(up_to(&mut of_b, of_b_last).await);
    assert_eq!(text(&prefix, &got), ["put b 2"]);
    let got = events(up_to(&mut of_both, last).await);
    assert_eq!(text(&prefix, &got), ["put a 1", "put b 2", "put a 3"]);

    assert_eq!(client.cancel_all_watches().await.unwrap(), 3);
    for watcher in [&mut of_a, &mut of_b, &mut of_both] {
        assert!(end(watcher).await.is_none());
    }
    assert_eq!(client.cancel_all_watches().await.unwrap(), 0);
}

#[tokio::test]
async fn history_is_replayed_from_any_revision_in_order_and_goes_over_into_the_present() {
    let (client, prefix) = client().await;
    let first = client.put(prefix.key("0"), "").await.unwrap().revision();
    for n in 1..20 {
        let key = |i: i32| prefix.key(i % 4);
        let txn = Txn::new().then(Put::new(key(n), n.to_string()));
        let txn = txn.then(Delete::key(key(n + 1)));
        client.txn(txn).await.unwrap();
    }
    let range = KeyRange::prefix(&*prefix);
    let middle = first + 8;
    let mut watchers = Vec::new();
    for start in [first, middle] {
        let watch = Watch::prefix(&*prefix).start_revision(start);
        watchers.push(client.watch(watch).await.unwrap());
        assert_eq!(watchers.last().unwrap().next_revision(), start);
    }
    let last = client.put(prefix.key("end"), "").await.unwrap().revision();
    let endpoint = client.endpoints().rows()[0].endpoint.clone();
    let history = History::read(&endpoint, &range, first, last).await;
    for mut watcher in watchers {
        let batches = up_to(&mut watcher, last).await;
        let wanted = Wanted::all(range.clone(), watcher.start_revision(), last);
        history.check(&wanted, &batches).unwrap();
    }
}

#[tokio::test]
async fn filters_leave_out_puts_or_deletes_and_prev_kv_tells_what_was_replaced() {
    let (client, prefix) = client().await;
    let range = KeyRange::prefix(&*prefix);
    let watch = Watch::prefix(&*prefix);
    let mut deletes = client
        .watch(watch.clone().no_put().prev_kv())
        .await
        .unwrap();
    let mut puts = client.watch(watch.clone().no_delete()).await.unwrap();
    let mut all = client.watch(watch.prev_kv()).await.unwrap();
    let first = all.start_revision();
    for value in ["1", "2"] {
        client.put(prefix.key("a"), value).await.unwrap();
        client.put(prefix.key("b"), value).await.unwrap();
        client.delete(prefix.key("a")).await.unwrap();
    }
    let deleted = client.delete(prefix.key("b")).await.unwrap().revision();
    let last = client.put(prefix.key("c"), "3").await.unwrap().revision();

    let got = events(up_to(&mut deletes, deleted).await);
    assert_eq!(text(&prefix, &got), ["delete a", "delete a", "delete b"]);
    let before = got.iter().map(|event| event.prev_kv.clone().unwrap().value);
    assert_eq!(before.collect::<Vec<_>>(), ["1", "2", "2"]);

    let endpoint = client.endpoints().rows()[0].endpoint.clone();
    let history = History::read(&endpoint, &range, first, last).await;
    let mut wanted = Wanted::all(range, first, last);
    wanted.prev_kv = true;
    history
        .check(&wanted, &up_to(&mut all, last).await)
        .unwrap();
    (wanted.prev_kv, wanted.deletes) = (false, false);
    history
        .check(&wanted, &up_to(&mut puts, last).await)
        .unwrap();
}

#[tokio::test]
async fn all_events_of_one_revision_come_in_one_batch() {
    let (client, prefix) = client().await;
    let mut watcher = client.watch(Watch::prefix(&*prefix)).await.unwrap();
    let puts = (0..128).map(|n| Put::new(prefix.key(format!("{n:03}")), "v"));
    let put = client.txn(puts.fold(Txn::new(), Txn::then)).await.unwrap();
    let batch = next(&mut watcher).await;
    assert_eq!((batch.revision, batch.events.len()), (put.revision(), 128));
    let keys: Vec<_> = text(&prefix, &batch.events);
    assert!(keys.is_sorted(), "{keys:?}");

    let deleted = client.delete(Delete::prefix(&*prefix)).await.unwrap();
    let batch = next(&mut watcher).await;
    assert_eq!(
        (batch.revision, batch.events.len()),
        (deleted.revision(), 128)
    );
}

#[tokio::test]
async fn a_watcher_is_a_stream_that_ends_with_it() {
    let (client, prefix) = client().await;
    let watcher = client.watch(prefix.key("k")).await.unwrap();
    client.put(prefix.key("k"), "1").await.unwrap();
    client.put(prefix.key("k"), "2").await.unwrap();
    let mut seen = Vec::new();
    let mut batches = watcher.map_ok(|batch| batch.events);
    while seen.len() < 2 {
        let events = timeout(LIMIT, batches.next()).await.unwrap();
        seen.extend(text(&prefix, &events.unwrap().unwrap()));
    }
    assert_eq!(seen, ["put k 1", "put k 2"]);
    client.close();
    assert!(batches.next().await.unwrap().unwrap_err().is_closed());
    assert!(batches.next().await.is_none());
}

#[tokio::test]
async fn a_range_has_its_start_and_not_its_end() {
    let (client, prefix) = client().await;
    let key = |name: &str| prefix.key(name);
    let mut watcher = client
        .watch(Watch::range(key("b"), key("d")))
        .await
        .unwrap();
    for name in ["a", "b", "c", "d", "b0"] {
        client.put(key(name), "").await.unwrap();
    }
    let last = client.put(key("c"), "end").await.unwrap().revision();
    let got = events(up_to(&mut watcher, last).await);
    assert_eq!(
        text(&prefix, &got),
        ["put b ", "put c ", "put b0 ", "put c end"]
    );
}

#[tokio::test]
async fn a_start_revision_in_the_future_is_waited_for() {
    let (client, prefix) = client().await;
    let now = client.put(prefix.key("0"), "").await.unwrap().revision();
    // Other tests write meanwhile, so that it is reached in any case; only what is before it must not come.
    let start = now + 5;
    let watch = Watch::prefix(&*prefix).start_revision(start);
    let mut watcher = client.watch(watch.progress_notify()).await.unwrap();
    watcher.request_progress();
    let mut last = now;
    while last < start + 2 {
        last = client.put(prefix.key("k"), "").await.unwrap().revision();
    }
    let got = events(up_to(&mut watcher, last).await);
    let revisions = got
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision);
    let revisions: Vec<_> = revisions.collect();
    assert!(
        revisions.iter().all(|revision| *revision >= start),
        "{revisions:?}"
    );
    let expected = revisions.len() as i64;
    assert!(
        (1..=3).contains(&expected) && revisions.contains(&last),
        "{revisions:?}"
    );
}
