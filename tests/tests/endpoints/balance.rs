//! How calls are spread.

use std::time::{Duration, Instant};

use etcd_core::{Balance, EndpointState};
use etcd_tests::endpoints::row;
use etcd_tests::scripted::Scripted;
use etcd_tests::wait;

use crate::{LIMIT, PUT, all_active, left, servers};

fn urls(servers: &[Scripted]) -> Vec<String> {
    servers.iter().map(Scripted::endpoint).collect()
}

#[tokio::test]
async fn round_robin_asks_each_in_turn_though_one_of_them_leads() {
    let servers = servers(3).await;
    let client = etcd_tests::builder(urls(&servers)).balance(Balance::RoundRobin);
    let client = client.connect().await.unwrap();
    all_active(&client).await;
    for _ in 0..30 {
        client.put("k", "v").await.unwrap();
    }
    let seen: Vec<_> = servers.iter().map(|server| server.seen(PUT)).collect();
    assert_eq!(seen, [10, 10, 10]);
}

#[tokio::test]
async fn pinned_has_one_connection_and_takes_the_next_when_that_is_lost() {
    let mut servers = servers(3).await;
    let all = urls(&servers);
    let client = etcd_tests::builder(&all).balance(Balance::Pinned);
    let client = client.connect().await.unwrap();
    for lost in 0..2 {
        for _ in 0..10 {
            client.put("k", "v").await.unwrap();
        }
        let open: Vec<_> = servers.iter().map(Scripted::open).collect();
        assert_eq!(
            open.iter().sum::<usize>(),
            1,
            "{open:?}\n{}",
            client.endpoints()
        );
        let spare = |url: &&String| {
            matches!(
                row(&client, url).unwrap().state,
                EndpointState::Spare { .. }
            )
        };
        assert_eq!(
            all.iter().filter(spare).count(),
            2,
            "{}",
            client.endpoints()
        );
        let at = open.iter().position(|open| *open == 1).unwrap();
        let url = servers.remove(at).endpoint();
        let next = (all.iter().position(|known| *known == url).unwrap() + 1) % 3;
        let began = Instant::now();
        client.get("k").await.unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "loss {lost}: {took:?}");
        if lost == 0 {
            assert_eq!(
                row(&client, &all[next]).unwrap().state,
                EndpointState::Active
            );
        }
    }
}

#[tokio::test]
async fn pinned_connects_another_one_for_a_view_that_asks_for_it() {
    let servers = servers(2).await;
    let client = etcd_tests::builder(urls(&servers)).balance(Balance::Pinned);
    let client = client.connect().await.unwrap();
    for server in &servers {
        client
            .endpoint(server.endpoint())
            .put("k", "v")
            .await
            .unwrap();
        assert_eq!(server.seen(PUT), 1);
    }
    client.close();
    wait::until("they are left", LIMIT, async || {
        servers.iter().all(|s| s.open() == 0)
    })
    .await
    .unwrap();
    left(&servers[0]).await;
}
