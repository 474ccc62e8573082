//! Connections that end.

use std::time::Duration;

use etcd_core::{Client, Outcome};
use etcd_tests::endpoints;
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::scripted::{Reply, Scripted};
use etcd_tests::wait;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{LIMIT, Proxied};

/// Waits until `calls` calls have been sent through the proxy and are not answered.
async fn in_flight(client: &Client, proxy: &Proxy, calls: usize) {
    let sent = async || endpoints::row(client, &proxy.endpoint()).unwrap().in_flight == calls;
    wait::until("calls are in flight", LIMIT, sent)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_under_a_hundred_reads_fails_none_and_is_replaced_by_one() {
    let Proxied {
        cluster: _cluster,
        proxy,
        client,
    } = Proxied::start().await;
    client.put("k", "v").await.unwrap();
    let cuts: [fn(&Proxy); 4] = [
        Proxy::reset_all,
        Proxy::drop_all,
        |proxy| proxy.cut_after(Direction::ToClient, 50, Close::Reset),
        |proxy| proxy.cut_after(Direction::ToClient, 50, Close::Fin),
    ];
    for (cuts_before, cut) in cuts.into_iter().enumerate() {
        assert_eq!(proxy.accepted(), 1 + cuts_before as u64);
        proxy.block(Direction::ToClient);
        let reads: Vec<_> = (0..100).map(|_| tokio::spawn(client.get("k"))).collect();
        in_flight(&client, &proxy, 100).await;
        cut(&proxy);
        proxy.unblock(Direction::ToClient);
        for read in join_all(reads).await {
            assert_eq!(read.unwrap().unwrap().into_first().unwrap().value, "v");
        }
        endpoints::active(&client, &proxy.endpoint(), LIMIT)
            .await
            .unwrap();
    }
    assert_eq!(proxy.accepted(), 5);
}

#[tokio::test]
async fn failures_that_callers_see_late_leave_the_next_connection_alone() {
    let Proxied {
        cluster: _cluster,
        proxy,
        client,
    } = Proxied::start().await;
    proxy.block(Direction::ToClient);
    let mut reads: Vec<_> = (0..10).map(|_| Box::pin(client.get("k"))).collect();
    for read in &mut reads {
        assert!(read.now_or_never().is_none(), "it is sent, and waits");
    }
    in_flight(&client, &proxy, 10).await;
    proxy.reset_all();
    proxy.unblock(Direction::ToClient);
    let replaced = async || proxy.accepted() == 2 && client.endpoints().active() == 1;
    wait::until("the connection is replaced", LIMIT, replaced)
        .await
        .unwrap();

    for read in join_all(reads).await {
        read.unwrap();
    }
    client.get("k").await.unwrap();
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_reply_is_cut_off_is_unknown_and_applied_once() {
    let proxied = Proxied::start().await;
    let direct = proxied.direct().await;
    let Proxied {
        cluster: _cluster,
        proxy,
        client,
    } = proxied;
    for (key, close) in [
        ("reset", Proxy::reset_all as fn(&Proxy)),
        ("fin", Proxy::drop_all),
    ] {
        endpoints::active(&client, &proxy.endpoint(), LIMIT)
            .await
            .unwrap();
        proxy.block(Direction::ToClient);
        let put = tokio::spawn(client.put(key, "v"));
        let applied = async || direct.get(key).await.unwrap().into_first().is_some();
        wait::until("the put is applied", LIMIT, applied)
            .await
            .unwrap();
        close(&proxy);
        proxy.unblock(Direction::ToClient);
        let error = put.await.unwrap().unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        assert!(error.to_string().contains("connection"), "{error}");

        client.get(key).await.unwrap();
        assert_eq!(
            direct.get(key).await.unwrap().into_first().unwrap().version,
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_made_while_the_port_is_closed_wait_and_are_applied_once() {
    let Proxied {
        cluster: _cluster,
        proxy,
        client,
    } = Proxied::start().await;
    proxy.refuse();
    proxy.reset_all();
    let puts: Vec<_> = (0..10)
        .map(|i| tokio::spawn(client.put(format!("k{i}"), "v")))
        .collect();
    endpoints::frozen(&client, &proxy.endpoint(), LIMIT)
        .await
        .unwrap();
    proxy.accept().unwrap();
    for put in join_all(puts).await {
        let reply = put.unwrap();
        assert!(reply.is_ok(), "{reply:?}");
    }
    for i in 0..10 {
        assert_eq!(
            client
                .get(format!("k{i}"))
                .await
                .unwrap()
                .into_first()
                .unwrap()
                .version,
            1
        );
    }
}

/// What the last server said hides nothing once no server is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_refused_by_a_member_that_then_goes_away_ends_with_every_cause() {
    let server = Scripted::start(|request| match request.path.as_str() {
        "/etcdserverpb.KV/Range" => Reply::status(14, "etcdserver: server stopped"),
        _ => request.usual(),
    })
    .await
    .unwrap();
    let endpoint = server.endpoint();
    let client = etcd_tests::connect(&endpoint).await.unwrap();
    let read = tokio::spawn(client.timeout(Duration::from_secs(1)).get("k"));
    let asked = async || server.seen("/etcdserverpb.KV/Range") > 0;
    wait::until("the read was refused", LIMIT, asked)
        .await
        .unwrap();
    drop(server);
    let error = read.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains(&endpoint) && error.contains("refused"),
        "{error}"
    );
}
