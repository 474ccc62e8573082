//! What a watch in a namespace delivers while everybody writes.

use bytes::Bytes;
use etcd_core::proto::mvccpb::Event;
use etcd_core::{Client, Delete, Put, Txn, Watch, Watcher};
use tokio::time::timeout;

use crate::{LIMIT, PREFIXES, beside, client, own};

/// All events up to the one of `last`, which is put when everything else is done.
async fn until(watcher: &mut Watcher, last: &str) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
        events.extend(batch.unwrap().unwrap().events);
        if events.iter().any(|event| key(event) == last) {
            return events;
        }
    }
}

fn key(event: &Event) -> &Bytes {
    &event.kv.as_ref().unwrap().key
}

async fn everybody_writes(client: &Client, prefix: &[u8]) {
    let inside = client.namespace(prefix);
    let puts = |value: &'static str| {
        let beside = beside(prefix)
            .into_iter()
            .map(move |key| Put::new(key, value));
        Txn::new().then(beside.collect::<Vec<_>>())
    };
    client.txn(puts("1")).await.unwrap();
    inside.put("a", "1").await.unwrap();
    client.txn(puts("2")).await.unwrap();
    inside.put("a", "2").await.unwrap();
    inside.delete(Delete::all()).await.unwrap();
    // One revision with keys of everybody.
    let mine = Put::new([prefix, b"b"].concat(), "3");
    client.txn(puts("3").then(mine)).await.unwrap();
    for key in beside(prefix) {
        client.delete(key).await.unwrap();
    }
    inside.put("\u{10ffff}", "last").await.unwrap();
}

#[tokio::test]
async fn a_watch_of_everything_sees_what_happens_in_the_namespace() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        client.delete(Delete::all()).await.unwrap();
        let inside = client.namespace(prefix);
        let watch = |watch: Watch| inside.watch(watch.prev_kv());
        let mut all = watch(Watch::all()).await.unwrap();
        let mut from = watch(Watch::from_key("b")).await.unwrap();
        let mut one = watch(Watch::key("a")).await.unwrap();
        everybody_writes(&client, prefix).await;

        let seen = |events: &[Event]| -> Vec<(String, bool)> {
            let seen = |event: &Event| (key(event).escape_ascii().to_string(), event.is_put());
            events.iter().map(seen).collect()
        };
        let last = "\u{10ffff}";
        let row = |key: &str, put| (key.as_bytes().escape_ascii().to_string(), put);
        let events = until(&mut all, last).await;
        let expected = [
            row("a", true),
            row("a", true),
            row("a", false),
            row("b", true),
            row(last, true),
        ];
        assert_eq!(seen(&events), expected, "in {prefix:?}");
        for event in &events[1..3] {
            assert_eq!(event.prev_kv.as_ref().unwrap().key, "a");
        }
        let events = until(&mut from, last).await;
        assert_eq!(seen(&events), [row("b", true), row(last, true)]);
        inside.put("a", "once more").await.unwrap();
        let mut events = Vec::new();
        while events.len() < 4 {
            events.extend(until(&mut one, "a").await);
        }
        let expected = [true, true, false, true].map(|put| row("a", put));
        assert_eq!(seen(&events), expected);
    }
}

#[tokio::test]
async fn a_watch_of_the_past_is_confined_too() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        let begin = client.delete(Delete::all()).await.unwrap().revision() + 1;
        everybody_writes(&client, prefix).await;
        let watch = Watch::all().start_revision(begin).prev_kv();
        let mut watcher = client.namespace(prefix).watch(watch).await.unwrap();
        let events = until(&mut watcher, "\u{10ffff}").await;
        let seen: Vec<&Bytes> = events.iter().map(key).collect();
        assert_eq!(seen, ["a", "a", "a", "b", "\u{10ffff}"], "in {prefix:?}");
    }
}

#[tokio::test]
async fn a_watcher_names_its_range_as_its_owner_does() {
    let (client, prefix) = client().await;
    let inside = client.namespace(&*prefix);
    let watcher = inside.watch(Watch::prefix("k")).await.unwrap();
    assert_eq!(*watcher.range(), etcd_core::KeyRange::prefix("k"));
    // They share a stream, and each has its own keys.
    let mut plain = client.watch(prefix.key("k")).await.unwrap();
    let mut scoped = inside.watch("k").await.unwrap();
    let mut other = client
        .namespace(prefix.key("k"))
        .watch(Watch::all())
        .await
        .unwrap();
    inside.put("k", "v").await.unwrap();
    inside.put("k/x", "v").await.unwrap();
    for (watcher, expected) in [
        (&mut plain, prefix.key("k")),
        (&mut scoped, "k".to_owned()),
        (&mut other, "/x".to_owned()),
    ] {
        let events = until(watcher, &expected).await;
        assert_eq!(events.len(), 1);
    }
}
