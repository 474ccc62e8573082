//! Connections on which nothing passes any more, though nobody closes them.

use std::time::{Duration, Instant};

use etcd_core::{Client, Outcome};
use etcd_tests::endpoints;
use etcd_tests::load::slowest_read;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use futures_util::future::join_all;

use super::{LIMIT, Pair, Proxied};

/// Within half a second reads go on through the other endpoint.
async fn reads_go_on(client: &Client) {
    for _ in 0..5 {
        let (slowest, slack) = wait::with_slack(slowest_read(client, 20)).await;
        let slowest = slowest.unwrap();
        assert!(slowest < Duration::from_millis(500) + slack, "{slowest:?}");
    }
}

/// A put that hangs in the hole is given up when the connection is declared dead.
async fn a_put_is_unknown(client: &Client, proxy: &Proxy, key: &str) {
    let sent = Instant::now();
    let pinned = client.endpoint(proxy.endpoint());
    let (put, slack) = wait::with_slack(pinned.put(key, "v")).await;
    let (took, error) = (sent.elapsed(), put.unwrap_err());
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(took > Duration::from_millis(2_900), "{took:?}: {error}");
    assert!(
        took < Duration::from_millis(3_800) + slack,
        "{took:?}: {error}"
    );
}

#[tokio::test]
async fn reads_leave_a_blocked_connection_and_writes_on_it_end_as_unknown() {
    let pair = Pair::start().await;
    let direct = etcd_tests::connect(&pair.direct).await.unwrap();
    let client = &pair.client;
    for direction in [Direction::Both, Direction::ToServer, Direction::ToClient] {
        let key = format!("{direction:?}");
        endpoints::active(client, &pair.proxy.endpoint(), LIMIT)
            .await
            .unwrap();
        pair.proxy.block(direction);
        tokio::join!(
            a_put_is_unknown(client, &pair.proxy, &key),
            reads_go_on(client)
        );
        pair.proxy.unblock(direction);
        endpoints::active(client, &pair.proxy.endpoint(), LIMIT)
            .await
            .unwrap();
        let kv = direct.get(key).await.unwrap().into_first();
        if direction == Direction::ToClient {
            assert_eq!(kv.as_ref().unwrap().version, 1);
        }
        assert!(kv.is_none_or(|kv| kv.version == 1));
    }
}

#[tokio::test]
async fn a_half_open_connection_is_left_by_reads_and_replaced() {
    let pair = Pair::start().await;
    let accepted = pair.proxy.accepted();
    pair.proxy.freeze_all();
    tokio::join!(
        a_put_is_unknown(&pair.client, &pair.proxy, "lost"),
        reads_go_on(&pair.client)
    );
    endpoints::active(&pair.client, &pair.proxy.endpoint(), LIMIT)
        .await
        .unwrap();
    pair.client
        .endpoint(pair.proxy.endpoint())
        .put("k", "v")
        .await
        .unwrap();
    assert_eq!(pair.proxy.accepted(), accepted + 1);
}

#[tokio::test]
async fn reads_on_the_only_connection_survive_its_being_half_open() {
    let Proxied {
        cluster: _cluster,
        proxy,
        client,
    } = Proxied::start().await;
    proxy.freeze_all();
    let started = Instant::now();
    let reads: Vec<_> = (0..20).map(|_| tokio::spawn(client.get("k"))).collect();
    let (reads, slack) = wait::with_slack(join_all(reads)).await;
    for read in reads {
        read.unwrap().unwrap();
    }
    // Declared dead 3.2 s after the first call, and replaced at once.
    let took = started.elapsed();
    assert!(took < Duration::from_millis(4_500) + slack, "{took:?}");
    assert_eq!(proxy.accepted(), 2);
}
