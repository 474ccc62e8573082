//! Calls that block by design, and an election: silence that means nothing.

use std::time::Duration;

use etcd_core::proto::v3lockpb::{LockRequest, UnlockRequest};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::proxy::Proxy;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{LIMIT, while_active};

fn lock() -> LockRequest {
    LockRequest {
        name: "lock".into(),
        ..Default::default()
    }
}

/// Named to start first: it takes the longest.
#[tokio::test]
async fn a_blocked_lock_call_keeps_its_silent_connection_for_20_s() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let holder = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let held = holder.send(lock()).await.unwrap();

    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let blocked = tokio::spawn(client.send(lock()));
    while_active(&client, &[proxy.endpoint()], sleep(Duration::from_secs(20))).await;
    assert!(!blocked.is_finished());

    holder.send(UnlockRequest { key: held.key }).await.unwrap();
    let reply = timeout(LIMIT, blocked).await.unwrap().unwrap();
    assert!(reply.is_ok(), "{reply:?}");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_blocked_call_on_a_busy_connection_raises_no_suspicion() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let _held = client.send(lock()).await.unwrap();
    let blocked = tokio::spawn(client.send(lock()));
    let busy = async {
        for _ in 0..20 {
            client.get("k").await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
    };
    while_active(&client, &[proxy.endpoint()], busy).await;
    assert!(!blocked.is_finished());
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn an_election_of_2_s_keeps_the_connections_of_the_surviving_members() {
    // Twice etcd's default, so that an election takes 2 to 4 s.
    let args = ["--election-timeout=2000", "--heartbeat-interval=200"];
    let cluster = Cluster::builder()
        .members(3)
        .args(args)
        .start()
        .await
        .unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let starts = (0..3).map(|i| Proxy::start(cluster.address(i)));
    let proxies: Vec<_> = join_all(starts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let urls: Vec<_> = proxies.iter().map(Proxy::endpoint).collect();
    let client = etcd_tests::builder(&urls).connect().await.unwrap();
    for url in &urls {
        endpoints::active(&client, url, LIMIT).await.unwrap();
    }
    client.put("k", "v").await.unwrap();
    let survivors: Vec<_> = (0..3)
        .filter(|i| *i != leader)
        .map(|i| urls[i].clone())
        .collect();

    cluster.kill(leader).await.unwrap();
    // One call on each survivor, which hangs until there is a leader.
    let pinned: Vec<_> = survivors.iter().map(|url| client.endpoint(url)).collect();
    let calls = join_all(pinned.iter().map(|client| client.get("k")));
    let began = std::time::Instant::now();
    let calls = while_active(&client, &survivors, calls).await;
    println!("{:?}", began.elapsed());
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "there was no election to wait for"
    );
    for call in calls {
        assert!(call.unwrap().into_first().is_some());
    }
    for proxy in proxies
        .iter()
        .filter(|proxy| survivors.contains(&proxy.endpoint()))
    {
        assert_eq!(proxy.accepted(), 1);
    }
}
