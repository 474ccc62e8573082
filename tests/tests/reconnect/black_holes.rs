//! Connections on which nothing passes any more, though nobody closes them.

use std::time::{Duration, Instant};

use etcd_core::{Client, Outcome};
use etcd_tests::endpoints;
use etcd_tests::proxy::{Direction, Proxy};
use futures_util::future::join_all;

use super::{LIMIT, Pair, Proxied};

/// Within half a second reads go on through the other endpoint.
async fn reads_go_on(client: &Client) {
    for _ in 0..5 {
        let reads = (0..20).map(|_| {
            let client = client.clone();
            async move {
                let started = Instant::now();
                client.get("k").await.unwrap();
                started.elapsed()
            }
        });
        let slowest = join_all(reads).await.into_iter().max().unwrap();
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    }
}

/// A put that hangs in the hole is given up when the connection is declared dead.
async fn a_put_is_unknown(client: &Client, proxy: &Proxy, key: &str) {
    let sent = Instant::now();
    let error = client
        .endpoint(proxy.endpoint())
        .put(key, "v")
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(
        (2_900..3_800).contains(&sent.elapsed().as_millis()),
        "{:?}: {error}",
        sent.elapsed()
    );
}

#[tokio::test]
async fn reads_leave_a_blocked_connection_and_writes_on_it_end_as_unknown() {
    let pair = Pair::start().await;
    let direct = Client::connect(&pair.direct).await.unwrap();
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
    for read in join_all(reads).await {
        read.unwrap().unwrap();
    }
    // Declared dead 3.2 s after the first call, and replaced at once.
    assert!(
        started.elapsed() < Duration::from_millis(4_500),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(proxy.accepted(), 2);
}
