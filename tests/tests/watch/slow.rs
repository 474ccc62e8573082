//! Readers that do not read: they are parked, lose nothing, and delay nobody.

use std::time::{Duration, Instant};

use etcd_core::{Batch, Client, Compact, Error, KeyRange, Watcher};
use etcd_tests::proxy::Direction;
use etcd_tests::wait;
use futures_util::future::{join_all, try_join_all};

use crate::history::{History, Wanted};
use crate::many::counts;
use crate::resume::{Setup, setup};
use crate::{LIMIT, end, next, up_to};

/// How many revisions wait for a reader here.
const QUEUE: usize = 100;

/// A client whose watchers hold little, through the proxy.
async fn holds_little(setup: &Setup) -> Client {
    let builder = etcd_tests::builder([setup.proxy.endpoint()]);
    builder.watch_queue(QUEUE, 1 << 20).connect().await.unwrap()
}

/// Writes `count` revisions; the last of them.
async fn write(client: &Client, count: usize) -> i64 {
    let puts = (0..count).map(|n| client.put(format!("k/{}", n % 10), n.to_string()));
    let puts = try_join_all(puts).await.unwrap();
    puts.iter().map(|put| put.revision()).max().unwrap()
}

/// Waits until the member has this many watchers registered.
async fn registered(setup: &Setup, count: usize) {
    let what = format!("{count} watchers are registered");
    wait::until(&what, LIMIT, async || counts(setup).await.1 == count)
        .await
        .unwrap();
}

async fn check(setup: &Setup, watcher: &Watcher, end: i64, batches: &[Batch]) {
    let range = KeyRange::prefix("k/");
    let start = watcher.start_revision();
    let endpoint = setup.cluster.endpoint(0);
    let history = History::read(&endpoint, &range, start, end).await;
    history
        .check(&Wanted::all(range, start, end), batches)
        .unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_parked_loses_nothing_and_delays_nobody() {
    let setup = setup().await;
    let client = holds_little(&setup).await;
    let range = KeyRange::prefix("k/");
    let mut idle = client.watch(range.clone()).await.unwrap();
    let mut busy = client.watch(range).await.unwrap();
    registered(&setup, 2).await;

    let (mut latest, mut last) = (Duration::ZERO, 0);
    for n in 0..10 * QUEUE {
        last = setup
            .direct
            .put(format!("k/{}", n % 10), "")
            .await
            .unwrap()
            .revision();
        let written = Instant::now();
        assert_eq!(next(&mut busy).await.revision, last);
        latest = latest.max(written.elapsed());
    }
    println!("the other one waited {latest:?} at most");
    assert!(latest < Duration::from_secs(1), "{latest:?}");
    registered(&setup, 1).await;

    // It holds what it may hold, and no more.
    let held = next(&mut idle).await;
    assert_eq!(held.events.len(), QUEUE);
    assert_eq!(held.revision, idle.start_revision() + QUEUE as i64 - 1);
    let mut batches = vec![held];
    batches.extend(up_to(&mut idle, last).await);
    assert!(batches.iter().all(|batch| batch.events.len() <= QUEUE));
    check(&setup, &idle, last, &batches).await;

    // It is one like any other again.
    let put = setup.direct.put("k/0", "").await.unwrap();
    assert_eq!(next(&mut idle).await.revision, put.revision());
    registered(&setup, 2).await;
}

/// Watchers that are parked, and the last revision of what they are to read.
async fn parked(setup: &Setup, client: &Client, count: usize) -> (Vec<Watcher>, i64) {
    let watches = (0..count).map(|_| client.watch(KeyRange::prefix("k/")));
    let watchers = try_join_all(watches).await.unwrap();
    let last = write(&setup.direct, 5 * QUEUE).await;
    registered(setup, 0).await;
    (watchers, last)
}

/// Reads them all at once, and checks what they get.
async fn read_all(setup: &Setup, mut watchers: Vec<Watcher>, last: i64) {
    let read = watchers.iter_mut().map(|watcher| up_to(watcher, last));
    let batches = join_all(read).await;
    for (watcher, batches) in watchers.iter().zip(&batches) {
        check(setup, watcher, last, batches).await;
    }
    registered(setup, watchers.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_parked_readers_catch_up_one_after_the_other_although_connections_drop() {
    let setup = setup().await;
    let client = holds_little(&setup).await;
    let (watchers, last) = parked(&setup, &client, 8).await;
    let cut = async {
        for _ in 0..3 {
            let streams = counts(&setup).await.2;
            setup.proxy.reset_all();
            wait::until("there is a new stream", LIMIT, async || {
                counts(&setup).await.2 > streams
            })
            .await
            .unwrap();
        }
    };
    tokio::join!(read_all(&setup, watchers, last), cut);
}

#[tokio::test]
async fn readers_that_give_up_while_they_catch_up_hold_nobody_back() {
    let setup = setup().await;
    let client = holds_little(&setup).await;
    let (mut watchers, last) = parked(&setup, &client, 10).await;
    let mut first = watchers.split_off(4);
    setup.proxy.block(Direction::ToClient);
    for watcher in &mut first {
        next(watcher).await;
    }
    // So many as may catch up at a time are about to, and stay so.
    for _ in 0..10 {
        registered(&setup, 4).await;
    }
    drop(first);
    setup.proxy.unblock(Direction::ToClient);
    read_all(&setup, watchers, last).await;
}

#[tokio::test]
async fn a_parked_reader_whose_history_was_compacted_gets_what_it_holds_and_then_the_error() {
    let setup = setup().await;
    let client = holds_little(&setup).await;
    let mut watcher = client.watch(KeyRange::prefix("k/")).await.unwrap();
    let last = write(&setup.direct, 2 * QUEUE).await;
    registered(&setup, 0).await;
    setup.direct.send(Compact::new(last)).await.unwrap();
    assert_eq!(next(&mut watcher).await.events.len(), QUEUE);
    let error = end(&mut watcher).await.expect("it has ended with an error");
    assert!(
        matches!(error, Error::Compacted { revision } if revision == last),
        "{error}"
    );
    registered(&setup, 0).await;
}

#[tokio::test]
async fn a_parked_reader_is_cancelled_without_reading() {
    let setup = setup().await;
    let client = holds_little(&setup).await;
    let watcher = client.watch(KeyRange::prefix("k/")).await.unwrap();
    write(&setup.direct, 2 * QUEUE).await;
    registered(&setup, 0).await;
    watcher.cancel().await.unwrap();
    let mut again = client.watch(KeyRange::prefix("k/")).await.unwrap();
    let put = setup.direct.put("k/0", "").await.unwrap();
    assert_eq!(next(&mut again).await.revision, put.revision());
    registered(&setup, 1).await;
}
