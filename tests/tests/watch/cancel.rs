//! The end of a watch that its owner wants: confirmed by the server, also when there is none, and of no other watch.

use std::time::{Duration, Instant};

use etcd_core::{Client, Error, Watch};
use etcd_tests::proxy::Direction;
use etcd_tests::wait;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::time::timeout;

use crate::many::counts;
use crate::resume::{Setup, setup};
use crate::{LIMIT, end, events, next, text, up_to};

#[tokio::test]
async fn cancel_returns_when_the_member_has_forgotten_the_watch() {
    let setup = setup().await;
    let mut watchers = Vec::new();
    for n in 0..5 {
        watchers.push(setup.client.watch(format!("k/{n}")).await.unwrap());
    }
    // So long that a cancellation that nobody waits for would still be under way.
    setup
        .proxy
        .delay(Direction::ToServer, Duration::from_millis(100));
    while let Some(watcher) = watchers.pop() {
        watcher.cancel().await.unwrap();
        assert_eq!(counts(&setup).await.1, watchers.len());
    }
}

#[tokio::test]
async fn all_watches_of_all_streams_are_cancelled_and_counted() {
    let setup = setup().await;
    let endpoint = setup.proxy.endpoint();
    let views = [
        setup.client.clone(),
        setup.client.require_leader(false),
        setup.client.endpoint(&endpoint),
    ];
    let watches = (0..30).map(|n| views[n % 3].watch(format!("k/{n}")));
    let mut watchers = try_join_all(watches).await.unwrap();
    assert_eq!(counts(&setup).await, (3, 30, 3));
    setup.direct.put("k/0", "before").await.unwrap();
    assert_eq!(next(&mut watchers[0]).await.events.len(), 1);
    let delay = Duration::from_millis(100);
    setup.proxy.delay(Direction::ToServer, delay);
    assert_eq!(views[1].cancel_all_watches().await.unwrap(), 30);
    assert_eq!(counts(&setup).await.1, 0);
    setup.direct.put("k/0", "after").await.unwrap();
    for watcher in &mut watchers {
        assert_eq!(watcher.try_next().await.unwrap(), None);
    }
    assert_eq!(setup.client.cancel_all_watches().await.unwrap(), 0);
}

#[tokio::test]
async fn a_watch_is_cancelled_at_once_while_no_member_is_connected() {
    let setup = setup().await;
    let Setup {
        proxy,
        client,
        direct,
        ..
    } = &setup;
    let cancelled = client.watch("k").await.unwrap();
    let mut other = client.watch("k").await.unwrap();
    proxy.refuse();
    proxy.reset_all();
    wait::until("it is known", LIMIT, async || {
        client.endpoints().active() == 0
    })
    .await
    .unwrap();
    let begun = Instant::now();
    cancelled.cancel().await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );

    proxy.accept().unwrap();
    direct.put("k", "1").await.unwrap();
    assert_eq!(text("", &next(&mut other).await.events), ["put k 1"]);
    assert_eq!(counts(&setup).await.1, 1);
}

#[tokio::test]
async fn a_cancellation_that_is_not_answered_ends_with_the_time_limit_and_holds() {
    let setup = setup().await;
    let Setup { proxy, client, .. } = &setup;
    let limited = client.timeout(Duration::from_millis(300));
    let watcher = limited.watch("k").await.unwrap();
    proxy.block(Direction::Both);
    let error = watcher.cancel().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    proxy.unblock(Direction::Both);
    wait::until("it is cancelled", LIMIT, async || {
        counts(&setup).await.1 == 0
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_cancellation_is_confirmed_by_the_loss_of_the_connection() {
    let setup = setup().await;
    let watcher = setup.client.watch("k").await.unwrap();
    // Keeps the stream, which would otherwise end with its last watch, cancelled or not.
    let mut other = setup.client.watch("k").await.unwrap();
    setup.proxy.block(Direction::Both);
    let mut cancelled = Box::pin(watcher.cancel());
    let early = timeout(Duration::from_millis(50), &mut cancelled).await;
    assert!(early.is_err(), "the member has not confirmed it");
    setup.proxy.reset_all();
    cancelled.await.unwrap();
    setup.proxy.unblock(Direction::Both);
    setup.direct.put("k", "1").await.unwrap();
    assert_eq!(text("", &next(&mut other).await.events), ["put k 1"]);
    assert_eq!(counts(&setup).await.1, 1);
}

#[tokio::test]
async fn watches_are_cancelled_while_they_are_created() {
    let setup = setup().await;
    setup
        .proxy
        .delay(Direction::Both, Duration::from_millis(20));
    let lasting = setup.client.require_leader(false).watch("k").await.unwrap();
    let creates = (0..200).map(|n| {
        let watch = Watch::key(format!("k/{n}")).start_revision(1);
        tokio::spawn(setup.client.watch(watch))
    });
    let creates: Vec<_> = creates.collect();
    // Some are confirmed by then, some are asked for, some are not.
    wait::until("some are there", LIMIT, async || {
        counts(&setup).await.1 > 10
    })
    .await
    .unwrap();
    assert_eq!(setup.client.cancel_all_watches().await.unwrap(), 201);
    assert_eq!(counts(&setup).await.1, 0);
    for create in creates {
        let mut watcher = create.await.unwrap().unwrap();
        assert!(end(&mut watcher).await.is_none());
    }
    drop(lasting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_end_with_the_client_and_none_begins_after_it() {
    let setup = setup().await;
    let Setup { client, direct, .. } = &setup;
    let mut read = client.watch("k").await.unwrap();
    let mut unread = client.require_leader(false).watch("k").await.unwrap();
    direct.put("k", "1").await.unwrap();
    let waits = tokio::spawn(async move {
        next(&mut read).await;
        end(&mut read).await
    });
    wait::until("it was delivered", LIMIT, async || {
        counts(&setup).await.1 == 2
    })
    .await
    .unwrap();
    let create = client.watch("k");
    client.clone().close();
    let closed = |error: &Error| matches!(error, Error::Closed { .. });
    assert!(waits.await.unwrap().as_ref().is_some_and(closed));
    assert!(end(&mut unread).await.as_ref().is_some_and(closed));
    assert!(closed(&create.await.unwrap_err()));
    assert!(closed(&client.watch("k").await.unwrap_err()));
    unread.request_progress();
    unread.cancel().await.unwrap();
    assert_eq!(client.cancel_all_watches().await.unwrap(), 0);
    wait::until("the member has nothing left", LIMIT, async || {
        counts(&setup).await.0 == 0
    })
    .await
    .unwrap();
}

/// Creates and drops watches, some of them before they are confirmed.
async fn churn(client: Client, rounds: usize) {
    for n in 0..rounds {
        let watch = Watch::key("k").start_revision(if n % 2 == 0 { 1 } else { 0 });
        let created = client.watch(watch);
        match n % 4 {
            0 => drop(created.await.unwrap()),
            1 => created.await.unwrap().cancel().await.unwrap(),
            2 => drop(created.now_or_never()),
            _ => {
                let mut created = Box::pin(created);
                let _ = created.as_mut().now_or_never();
                tokio::task::yield_now().await;
                drop(created.now_or_never());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_come_and_go_never_end_another_of_their_stream() {
    let setup = setup().await;
    let Setup { client, direct, .. } = &setup;
    let mut lasting = client.watch("lasting").await.unwrap();
    let first = lasting.start_revision();
    let churns: Vec<_> = (0..20)
        .map(|_| tokio::spawn(churn(client.clone(), 40)))
        .collect();
    let mut last = first;
    for n in 0..200 {
        last = direct
            .put("lasting", n.to_string())
            .await
            .unwrap()
            .revision();
        // Each of these has to see the next change, whatever goes on around it.
        let mut fresh = client.watch(format!("fresh/{n}")).await.unwrap();
        direct.put(format!("fresh/{n}"), "1").await.unwrap();
        assert_eq!(next(&mut fresh).await.events.len(), 1);
    }
    for churn in churns {
        churn.await.unwrap();
    }
    assert_eq!(events(up_to(&mut lasting, last).await).len(), 200);
    wait::until("only the lasting one is left", LIMIT, async || {
        counts(&setup).await.1 == 1
    })
    .await
    .unwrap();
}
