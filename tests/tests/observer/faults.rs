//! Members that die, connections that break, futures that are dropped: nothing is lost and nothing comes twice.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use etcd_core::{Client, Delete, KeyRange, Put};
use etcd_recipes::Observer;
use etcd_recipes::observer::Event;
use etcd_tests::cluster::{Cluster, Target};
use etcd_tests::proxy::Proxy;
use etcd_tests::wait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Change, LIMIT, Replica, change, client, history, reset, until};

/// Changes keys under a prefix until it is stopped, and puts the key `last` then. A put that fails may have been applied or
/// not: etcd's history says.
struct Writer {
    stop: watch::Sender<bool>,
    written: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(client: Client, prefix: String) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, written) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut i = 0;
            while !*stopped.borrow() {
                i += 1;
                let key = format!("{prefix}{}", i % 10);
                let done = match i % 4 {
                    0 => client.delete(key).await.is_ok(),
                    _ => client.put(key, i.to_string()).await.is_ok(),
                };
                count.send_modify(|count| *count += usize::from(done));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let last = Put::new(format!("{prefix}last"), "");
            client.idempotent().send(last).await.unwrap();
        });
        Self {
            stop,
            written,
            task,
        }
    }

    /// Waits for so many more changes.
    async fn more(&mut self, changes: usize) {
        let target = *self.written.borrow() + changes;
        let written = self.written.wait_for(|&written| written >= target);
        timeout(LIMIT, written).await.unwrap().unwrap();
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// What an observer has emitted after its first event, and the revision of that.
fn follow(mut observer: Observer, last: String) -> JoinHandle<(Vec<Change>, i64)> {
    tokio::spawn(async move {
        let (_, revision) = reset(&mut observer).await;
        (until(&mut observer, &last).await, revision)
    })
}

async fn is_exactly_history(
    followed: JoinHandle<(Vec<Change>, i64)>,
    endpoint: &str,
    range: KeyRange,
    last: &str,
) {
    let (changes, revision) = timeout(LIMIT, followed).await.unwrap().unwrap();
    let expected = history(endpoint, &range, revision + 1, last).await;
    let wrong = changes.iter().zip(&expected).position(|(a, b)| a != b);
    let at = wrong.unwrap_or(changes.len().min(expected.len()));
    let (changes, expected) = (&changes[at..], &expected[at..]);
    assert!(
        changes.is_empty() && expected.is_empty(),
        "after {at}: {:?}, not {:?}",
        changes.first(),
        expected.first()
    );
}

#[tokio::test]
async fn no_change_is_lost_or_repeated_when_members_are_killed() {
    let cluster = Cluster::start(3).await.unwrap();
    let endpoints = cluster.endpoints().join(",");
    let client = etcd_tests::connect(&endpoints).await.unwrap();
    let last = "p/last".to_owned();
    let followed = follow(Observer::prefix(&client, "p/"), last.clone());
    let mut writer = Writer::start(etcd_tests::connect(&endpoints).await.unwrap(), "p/".into());
    writer.more(50).await;
    let feeds = || {
        let rows = client.endpoints();
        let row = rows.rows().iter().find(|row| row.watchers > 0)?;
        (0..3).find(|&i| cluster.endpoint(i) == *row.endpoint)
    };
    for _ in 0..3 {
        wait::until("a member feeds it", LIMIT, async || feeds().is_some())
            .await
            .unwrap();
        let member = feeds().unwrap();
        cluster.kill(member).await.unwrap();
        writer.more(50).await;
        cluster.restart(member).unwrap();
        cluster.wait_ready(member).await.unwrap();
    }
    writer.stop().await;
    is_exactly_history(
        followed,
        &cluster.endpoint(0),
        KeyRange::prefix("p/"),
        &last,
    )
    .await;
}

#[tokio::test]
async fn no_change_is_lost_or_repeated_when_connections_break() {
    let (direct, prefix) = client().await;
    let endpoint = Target::get().await.unwrap().endpoints()[0].clone();
    let proxy = Proxy::start(&endpoint).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let (last, single) = (prefix.key("last"), prefix.key("3"));
    let all = follow(Observer::prefix(&client, &*prefix), last.clone());
    let until_last = KeyRange::range(single.as_str(), prefix.key("m"));
    let some = follow(Observer::new(&client, until_last.clone()), last.clone());
    let mut writer = Writer::start(direct, prefix.to_string());
    for round in 0..12 {
        writer.more(20).await;
        match round % 4 {
            0 => proxy.drop_all(),
            1 => proxy.reset_all(),
            2 => {
                let bytes = fastrand::u64(..2_000);
                let close = etcd_tests::proxy::Close::Reset;
                proxy.cut_after(etcd_tests::proxy::Direction::ToClient, bytes, close);
            }
            _ => {
                proxy.refuse();
                proxy.reset_all();
                writer.more(20).await;
                proxy.accept().unwrap();
            }
        }
    }
    writer.stop().await;
    is_exactly_history(all, &endpoint, KeyRange::prefix(&*prefix), &last).await;
    is_exactly_history(some, &endpoint, until_last, &last).await;
}

/// Polls a future so often at most, and then drops it.
async fn poll_at_most<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match (left.checked_sub(1), future.as_mut().poll(cx)) {
        (_, Poll::Ready(value)) => Poll::Ready(Some(value)),
        (None | Some(0), Poll::Pending) => Poll::Ready(None),
        (Some(fewer), Poll::Pending) => {
            left = fewer;
            Poll::Pending
        }
    })
    .await
}

/// Follows with futures that are dropped after a few polls, and as often as not with a pause before the next one.
async fn dropping(observer: &mut Observer, rng: &mut fastrand::Rng) -> Event {
    loop {
        let polls = rng.usize(1..6);
        if let Some(event) = poll_at_most(polls, observer.try_next()).await {
            return event.unwrap();
        }
        if rng.bool() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn dropping_futures_at_any_poll_loses_and_repeats_nothing() {
    let (direct, prefix) = client().await;
    let endpoint = Target::get().await.unwrap().endpoints()[0].clone();
    let proxy = Proxy::start(&endpoint).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let (last, seed) = (prefix.key("last"), fastrand::u64(..));
    println!("seed {seed}");
    let mut observer = Observer::prefix(&client, &*prefix);
    let followed = tokio::spawn({
        let last = last.clone();
        async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let Event::Reset { revision, .. } = dropping(&mut observer, &mut rng).await else {
                unreachable!("the first event is another one");
            };
            let mut changes: Vec<Change> = Vec::new();
            while changes.last().is_none_or(|change| change.key != last) {
                changes.extend(change(dropping(&mut observer, &mut rng).await));
            }
            (changes, revision)
        }
    });
    let mut writer = Writer::start(direct, prefix.to_string());
    for _ in 0..5 {
        writer.more(40).await;
        proxy.reset_all();
    }
    writer.stop().await;
    is_exactly_history(followed, &endpoint, KeyRange::prefix(&*prefix), &last).await;
}

#[tokio::test]
async fn dropping_futures_at_any_poll_of_a_second_read_loses_no_difference() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut observer = Observer::prefix(&client, "p/");
    reset(&mut observer).await;
    let mut replica = Replica::default();
    for round in 0..8 {
        proxy.refuse();
        proxy.reset_all();
        for i in 0..3 {
            let key = format!("p/{}", (round + i) % 5);
            direct.put(key, round.to_string()).await.unwrap();
        }
        let gone = Delete::key(format!("p/{}", round % 5));
        let revision = direct.delete(gone).await.unwrap().revision();
        direct.compact(revision).await.unwrap();
        proxy.accept().unwrap();
        while observer.revision() < Some(revision) {
            replica.apply(change(dropping(&mut observer, &mut rng).await));
        }
        replica.is_range(&direct, "p/").await;
    }
    let reads = [("grpc_method", "Range")];
    let reads = cluster.metric(0, "grpc_server_started_total", &reads);
    // The first one, and in each round a second one and that of the comparison.
    assert!(reads.await.unwrap() >= 17.0);
}
