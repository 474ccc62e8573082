//! The list is changed under a client that runs.

use std::time::{Duration, Instant};

use etcd_core::{Client, EndpointState, Error, KeyRange, Tls, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints::{active, row};
use etcd_tests::proxy::Proxy;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

use crate::{LIMIT, PUT, left, list, refused, servers};

#[tokio::test]
async fn calls_go_to_the_new_endpoints_and_an_endpoint_in_both_lists_keeps_its_connection() {
    let servers = servers(3).await;
    let [a, b, c] = &servers[..] else { panic!() };
    let client = etcd_tests::connect(a.endpoint()).await.unwrap();
    client.add_endpoint(b.endpoint()).unwrap();
    active(&client, &b.endpoint(), LIMIT).await.unwrap();
    let connections = b.connections();

    client.set_endpoints([c.endpoint(), b.endpoint()]).unwrap();
    assert_eq!(list(&client), [c.endpoint(), b.endpoint()]);
    active(&client, &c.endpoint(), LIMIT).await.unwrap();
    left(a).await;
    for n in 0..20 {
        client.put(format!("{n}"), "v").await.unwrap();
    }
    assert_eq!(a.seen(PUT), 0);
    assert_eq!(b.seen(PUT) + c.seen(PUT), 20);
    assert_eq!(b.connections(), connections);

    client.remove_endpoint(b.endpoint()).unwrap();
    left(b).await;
    let before = b.seen(PUT);
    client.put("last", "v").await.unwrap();
    assert_eq!((list(&client), b.seen(PUT)), (vec![c.endpoint()], before));
}

/// A member that takes its time for a put.
async fn slow() -> Scripted {
    let script = |request: &Request| match request.path.as_str() {
        PUT => Reply::delay(
            Duration::from_millis(500),
            Reply::message(&etcd_core::proto::etcdserverpb::PutResponse::default()),
        ),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

#[tokio::test]
async fn a_call_under_way_at_a_removed_endpoint_ends_there_and_then_its_connection_is_closed() {
    let (a, servers) = (slow().await, servers(1).await);
    let b = &servers[0];
    let client = etcd_tests::connect(a.endpoint()).await.unwrap();
    let put = tokio::spawn(client.put("k", "v"));
    wait::until("the put is under way", LIMIT, async || a.seen(PUT) == 1)
        .await
        .unwrap();
    client.set_endpoints([b.endpoint()]).unwrap();
    client.put("other", "v").await.unwrap();
    assert_eq!(b.seen(PUT), 1);
    put.await.unwrap().unwrap();
    assert_eq!((a.seen(PUT), b.seen(PUT)), (1, 1));
    left(&a).await;
}

#[tokio::test]
async fn watches_and_leases_move_off_a_removed_endpoint_and_lose_nothing() {
    let cluster = Cluster::start(3).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let writer = etcd_tests::connect(cluster.endpoint(2)).await.unwrap();
    let mut watcher = client.watch(KeyRange::prefix("w/")).await.unwrap();
    let lease = client.lease(Duration::from_secs(3)).await.unwrap();
    wait::until("the lease has a stream", LIMIT, async || {
        row(&client, &proxy.endpoint()).is_ok_and(|row| row.leases == 1)
    })
    .await
    .unwrap();

    let writes = tokio::spawn(async move {
        for n in 0..300 {
            writer.put(format!("w/{n}"), "v").await.unwrap();
        }
    });
    // Several revisions may come at once.
    let mut next = watcher.try_next().await.unwrap().unwrap().events.len();
    let moved = Instant::now();
    client.set_endpoints([cluster.endpoint(1)]).unwrap();
    wait::until("watch and lease have moved", LIMIT, async || {
        row(&client, &cluster.endpoint(1)).is_ok_and(|row| row.leases == 1 && row.watchers == 1)
    })
    .await
    .unwrap();
    assert!(moved.elapsed() < Duration::from_secs(4), "{moved:?}");
    while next < 300 {
        for event in watcher.try_next().await.unwrap().unwrap().events {
            let key = event.kv.unwrap().key;
            assert_eq!(key, format!("w/{next}"));
            next += 1;
        }
    }
    writes.await.unwrap();
    wait::until("the connections are closed", LIMIT, async || {
        proxy.open() == 0
    })
    .await
    .unwrap();
    // For longer than it would last by itself.
    let granted = Instant::now();
    while granted.elapsed() < Duration::from_secs(5) {
        assert!(lease.is_valid());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left = client.time_to_live(lease.id(), false).await.unwrap();
    assert!(left.ttl > 0, "{left:?}");
}

#[tokio::test]
async fn what_is_on_a_view_of_a_removed_endpoint_ends_and_says_why() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let view = client.endpoint(proxy.endpoint());
    let mut watcher = view.watch(Watch::key("k")).await.unwrap();
    client.set_endpoints([cluster.endpoint(0)]).unwrap();
    let ended = tokio::time::timeout(LIMIT, watcher.try_next()).await;
    assert_eq!(refused(ended.unwrap()), "endpoint");
    assert_eq!(refused(view.put("k", "v").await), "endpoint");
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn the_list_keeps_the_builders_rules_and_is_never_empty() {
    let client = Client::builder().endpoints(["127.0.0.1:1", "127.0.0.1:2"]);
    let client = client.credentials("u", "p").build().unwrap();
    let both = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    let none: [&str; 0] = [];
    for (result, option) in [
        (client.set_endpoints(none), "endpoints"),
        (client.set_endpoints(["127.0.0.1:3", ""]), "endpoints"),
        (client.set_endpoints(["https://127.0.0.1:3"]), "endpoints"),
        (client.add_endpoint("ftp://127.0.0.1"), "endpoints"),
        (
            client.add_endpoint("192.0.2.1:1"),
            "allow_plaintext_credentials",
        ),
        (client.remove_endpoint("127.0.0.1:3"), "endpoints"),
        (client.remove_endpoint(" "), "endpoints"),
    ] {
        assert_eq!(refused(result), option);
        assert_eq!(list(&client), both);
    }
    // Normalised, in their order, none twice.
    client
        .add_endpoint("http://127.0.0.1:1/,LOCALHOST")
        .unwrap();
    assert_eq!(list(&client), [both[0], both[1], "http://localhost:2379"]);
    client
        .set_endpoints(["localhost", "127.0.0.1:2,http://LocalHost:2379/"])
        .unwrap();
    assert_eq!(list(&client), ["http://localhost:2379", both[1]]);
    client.remove_endpoint("http://127.0.0.1:2/").unwrap();
    let last = client.remove_endpoint("localhost").unwrap_err();
    assert!(last.to_string().contains("last"), "{last}");
    assert_eq!(list(&client), ["http://localhost:2379"]);
    client.close();
    let closed = client.set_endpoints(["localhost"]).unwrap_err();
    assert!(matches!(closed, Error::Closed { .. }), "{closed}");
}

#[tokio::test]
async fn an_encrypted_client_takes_no_plaintext_endpoint_later_on() {
    let client = Client::builder().endpoints(["127.0.0.1:1"]);
    let tls = Tls::new().danger_accept_invalid_certs();
    let client = client.tls(tls).build().unwrap();
    assert_eq!(
        refused(client.add_endpoint("http://127.0.0.1:2")),
        "endpoints"
    );
    client.add_endpoint("127.0.0.1:2").unwrap();
    assert_eq!(
        list(&client),
        ["https://127.0.0.1:1", "https://127.0.0.1:2"]
    );
}

#[tokio::test]
async fn an_endpoint_of_another_cluster_is_not_used() {
    let ours = Cluster::start(1).await.unwrap();
    let theirs = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(ours.endpoint(0)).await.unwrap();
    client.add_endpoint(theirs.endpoint(0)).unwrap();
    let mut said = String::new();
    wait::until("it is refused", LIMIT, async || {
        let state = row(&client, &theirs.endpoint(0)).unwrap().state;
        if let EndpointState::Frozen {
            cause: Some(cause), ..
        } = state
        {
            said = cause.to_string();
        }
        !said.is_empty()
    })
    .await
    .unwrap();
    assert!(said.contains("belongs to cluster"), "{said}");
    for n in 0..20 {
        client.put(format!("{n}"), "v").await.unwrap();
    }
    let foreign = etcd_tests::connect(theirs.endpoint(0)).await.unwrap();
    assert!(foreign.get("0").await.unwrap().kvs.is_empty());
}
