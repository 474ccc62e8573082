//! Lost connections leave nothing behind.

use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use futures_util::future::{join_all, try_join_all};
use tokio::runtime::Handle;

use super::LIMIT;

const CLIENTS: usize = 10;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Calls on every client, of which some are dropped, and the loss of all connections under them.
async fn lose(clients: &[Client], proxy: &Proxy, how: fn(&Proxy)) {
    proxy.block(Direction::ToClient);
    let spawn = |client: &Client| {
        (
            tokio::spawn(client.get("k")),
            tokio::spawn(client.put("k", "v")),
        )
    };
    let calls: Vec<_> = clients.iter().map(spawn).collect();
    let in_flight = |client: &Client| client.endpoints().rows()[0].in_flight;
    let sent = async || clients.iter().all(|client| in_flight(client) == 2);
    wait::until("all calls are sent", LIMIT, sent)
        .await
        .unwrap();
    calls.iter().for_each(|(_, put)| put.abort());
    how(proxy);
    proxy.unblock(Direction::ToClient);
    for read in join_all(calls.into_iter().map(|(read, _)| read)).await {
        read.unwrap().unwrap();
    }
}

#[tokio::test]
async fn fifty_lost_connections_leave_no_task_and_no_socket() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let without = tasks();
    let connect = || etcd_tests::connect(proxy.endpoint());
    let clients = try_join_all((0..CLIENTS).map(|_| connect())).await.unwrap();
    let with = tasks();

    let losses = [
        Proxy::reset_all,
        Proxy::drop_all,
        Proxy::reset_all,
        Proxy::drop_all,
        Proxy::reset_all,
    ];
    for how in losses {
        lose(&clients, &proxy, how).await;
    }
    assert_eq!(
        proxy.accepted() as usize,
        CLIENTS * (1 + losses.len()),
        "one connection per loss"
    );
    let as_before = async || tasks() == with && proxy.open() == CLIENTS;
    let waited = wait::until("all is as before", LIMIT, as_before).await;
    assert!(
        waited.is_ok(),
        "{} tasks, {with} before; {} connections",
        tasks(),
        proxy.open()
    );

    drop(clients);
    let none = async || proxy.open() == 0 && tasks() == without;
    let waited = wait::until("nothing is left", LIMIT, none).await;
    assert!(
        waited.is_ok(),
        "{} tasks, {without} before; {} connections",
        tasks(),
        proxy.open()
    );
}

/// The end of a client needs no answer from anybody.
#[tokio::test]
async fn clients_that_end_while_nothing_passes_leave_no_task() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let without = tasks();
    let dropped = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let closed = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let links = proxy.open();
    proxy.block(Direction::Both);
    let connecting = etcd_tests::builder([proxy.endpoint()]).build().unwrap();
    let abandoned = tokio::spawn(dropped.put("k", "v"));
    let failing = tokio::spawn(closed.put("k", "v"));
    let sent = async || {
        let in_flight = |client: &Client| client.endpoints().rows()[0].in_flight;
        in_flight(&dropped) == 1 && in_flight(&closed) == 1
    };
    wait::until("calls are in flight", LIMIT, sent)
        .await
        .unwrap();

    abandoned.abort();
    drop((dropped, connecting));
    closed.close();
    assert!(failing.await.unwrap().unwrap_err().is_closed());
    // What is left belongs to the proxy.
    let none = async || tasks() == without + links;
    let waited = wait::until("no task is left", LIMIT, none).await;
    assert!(waited.is_ok(), "{} tasks, {without} before", tasks());
}
