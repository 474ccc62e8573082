//! How many endpoints `connect` waits for.

use std::time::{Duration, Instant};

use etcd_core::{Balance, Client, ClientBuilder, Error, Open};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::Scripted;

use crate::{refused, servers};

const DIAL: Duration = Duration::from_millis(700);

/// Some that serve, and some where nobody listens.
struct Mixed {
    _good: Vec<Scripted>,
    dead: Vec<Proxy>,
    builder: ClientBuilder,
}

async fn mixed(good: u64, bad: usize) -> Mixed {
    let good = servers(good).await;
    let mut dead = Vec::new();
    for _ in 0..bad {
        let proxy = Proxy::start("127.0.0.1:1").await.unwrap();
        proxy.refuse();
        dead.push(proxy);
    }
    let urls = good.iter().map(Scripted::endpoint);
    let urls = urls.chain(dead.iter().map(Proxy::endpoint));
    let builder = etcd_tests::builder(urls).dial_timeout(DIAL);
    Mixed {
        _good: good,
        dead,
        builder,
    }
}

async fn open(builder: &ClientBuilder, open: Open) -> (Result<Client, Error>, Duration) {
    let began = Instant::now();
    let client = builder.clone().open(open).connect().await;
    (client, began.elapsed())
}

#[tokio::test]
async fn as_many_endpoints_are_waited_for_as_the_policy_says() {
    for (good, bad, policies) in [
        (0, 2, &[Open::Lazy][..]),
        (1, 2, &[Open::Lazy, Open::Any]),
        (1, 1, &[Open::Lazy, Open::Any]),
        (2, 1, &[Open::Lazy, Open::Any, Open::Majority]),
        (3, 0, &[Open::Lazy, Open::Any, Open::Majority, Open::All]),
    ] {
        let mixed = mixed(good, bad).await;
        for policy in [Open::Lazy, Open::Any, Open::Majority, Open::All] {
            let (client, took) = open(&mixed.builder, policy).await;
            if policies.contains(&policy) {
                let client = client.unwrap();
                let active = client.endpoints().active();
                let enough = match policy {
                    Open::Majority => active > (good as usize + bad) / 2,
                    Open::All => active == good as usize,
                    _ => true,
                };
                assert!(enough, "{policy:?}: {}", client.endpoints());
                continue;
            }
            let error = client.unwrap_err();
            assert!(took >= DIAL, "{policy:?} after {took:?}: {error}");
            let unreachable = matches!(error, Error::NoActiveEndpoint(_));
            assert_eq!(unreachable, good == 0, "{error}");
            let text = error.to_string();
            for proxy in &mixed.dead {
                assert!(text.contains(&proxy.endpoint()), "{text}");
            }
            assert!(text.contains("refused"), "{text}");
        }
    }
}

#[tokio::test]
async fn pinned_and_more_than_one_endpoint_exclude_each_other() {
    for policy in [Open::Majority, Open::All] {
        let builder = Client::builder().endpoints(["127.0.0.1:1"]);
        let builder = builder.balance(Balance::Pinned).open(policy);
        assert_eq!(refused(builder.build()), "open");
    }
}
