//! Calls that are dropped at any point leave nothing behind.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use etcd_core::Get;
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::Reply;
use etcd_tests::wait;
use futures_util::future::join_all;

use crate::{LIMIT, PUT, RANGE, silent};

const ROUNDS: usize = 1_000;
const AT_ONCE: usize = 100;

/// Polls `call` so many times at most, with other tasks in between, and drops it. True if it ended before.
async fn abandoned<T>(call: impl Future<Output = T>, polls: usize) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let ended = poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if ended {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_hundred_thousand_dropped_calls_leave_the_connection_working() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    client.put("k", "v").await.unwrap();

    let mut random = fastrand::Rng::with_seed(7);
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let calls = (0..AT_ONCE).map(|_| {
            let (polls, write) = (random.usize(..12), random.u8(..10) == 0);
            let client = &client;
            async move {
                if write {
                    abandoned(client.put("k", "v"), polls).await
                } else {
                    abandoned(client.get("k"), polls).await
                }
            }
        });
        ended += join_all(calls)
            .await
            .into_iter()
            .filter(|ended| *ended)
            .count();
    }
    assert!(ended < ROUNDS * AT_ONCE, "none was dropped");

    let got = client.timeout(Duration::from_secs(5)).get("k").await;
    assert_eq!(got.unwrap().first().unwrap().value, "v");
    assert_eq!(proxy.accepted(), 1, "on the same connection");
    wait::until("nothing is in flight, here or there", LIMIT, async || {
        let sum = async |metric| cluster.metric(0, metric, &[]).await.unwrap();
        let open = sum("grpc_server_started_total").await - sum("grpc_server_handled_total").await;
        client.endpoints().rows()[0].in_flight == 0 && open == 0.0
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_dropped_call_that_was_sent_is_cancelled_on_the_server() {
    let server = silent().await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    for n in 1..=500 {
        let get = client.get(Get::key("k"));
        let mut get = pin!(get);
        while server.seen(RANGE) < n {
            assert!(
                tokio::time::timeout(Duration::from_millis(1), &mut get)
                    .await
                    .is_err()
            );
        }
    }
    wait::until("each was reset", LIMIT, async || {
        server.resets().len() == 500
    })
    .await
    .unwrap();
    let cancel = u32::from(h2::Reason::CANCEL);
    assert!(server.resets().iter().all(|reset| reset.code == cancel));
    client.status().await.unwrap();
    assert_eq!((server.connections(), server.goaways().len()), (1, 0));
    assert_eq!(client.endpoints().rows()[0].in_flight, 0);
}

/// More than HTTP/2 libraries remember: 4,096 here. Each late answer to a forgotten call is answered with a reset, and after a
/// thousand of those the connection would be given up if it were not told otherwise.
#[tokio::test]
async fn answers_that_come_after_their_calls_were_dropped_do_no_harm() {
    const CALLS: usize = 5_500;
    const AT_ONCE: usize = 500;
    const HEADERS: u8 = 1;
    const END_STREAM_AND_HEADERS: u8 = 5;
    /// `:status: 200` in HPACK.
    const OK: &[u8] = &[0x88];
    let server = silent().await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    for sent in (AT_ONCE..=CALLS).step_by(AT_ONCE) {
        // Writes, because a read that takes long is asked again.
        let calls = join_all((0..AT_ONCE).map(|_| client.put("k", "v")));
        let all_seen = wait::until("all were seen", LIMIT, async || server.seen(PUT) == sent);
        tokio::select! {
            ended = calls => panic!("an answer came from nowhere: {:?}", ended[0]),
            seen = all_seen => seen.unwrap(),
        }
    }
    wait::until("each was reset", LIMIT, async || {
        server.resets().len() == CALLS
    })
    .await
    .unwrap();
    for request in server.requests(PUT) {
        let late = Reply::raw(HEADERS, END_STREAM_AND_HEADERS, request.stream, OK);
        server.push(0, late).await;
    }
    client.status().await.unwrap();
    assert_eq!((server.connections(), server.goaways().len()), (1, 0));
}

#[tokio::test]
async fn a_call_that_is_never_polled_is_never_sent() {
    let server = silent().await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    drop(client.get("k"));
    client.status().await.unwrap();
    assert_eq!(server.seen(RANGE), 0);
}
