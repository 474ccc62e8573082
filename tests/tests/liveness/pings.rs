//! PINGs, counted by a server that answers them or not.

use std::time::{Duration, Instant};

use etcd_core::{Client, EndpointState, Watch};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::time::sleep;

use super::{LIMIT, moment};

const PUT: &str = "/etcdserverpb.KV/Put";

/// Answers everything but puts.
fn silent_to_puts(request: &Request) -> Reply {
    if request.path == PUT {
        Reply::silence()
    } else {
        request.usual()
    }
}

fn pings(server: &Scripted, connection: usize) -> Vec<Instant> {
    let pings = server
        .pings()
        .into_iter()
        .filter(|ping| ping.connection == connection);
    pings.map(|ping| ping.at).collect()
}

#[tokio::test]
async fn a_silent_server_is_pinged_once_suspect_after_300_ms_and_dead_after_3_s_more() {
    let server = Scripted::start(silent_to_puts).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let before = pings(&server, 0).len();
    server.answer_pings(false);

    let called = Instant::now();
    let call = tokio::spawn(client.put("k", "v"));
    let state = || client.endpoints().rows()[0].state.clone();
    let verdicts = async {
        let suspect = moment(|| state() == EndpointState::Suspect).await;
        let dead = moment(|| state() != EndpointState::Suspect).await;
        (suspect - called, dead - called)
    };
    let ((suspect, dead), slack) = wait::with_slack(verdicts).await;
    let ms = Duration::from_millis;
    assert!(
        suspect > ms(280) && suspect < ms(450) + slack,
        "{suspect:?}"
    );
    assert!(dead > ms(3_100) && dead < ms(3_400) + slack, "{dead:?}");
    assert_eq!(pings(&server, 0).len(), before + 1);
    call.abort();
}

#[tokio::test]
async fn within_one_silence_there_is_one_early_ping_and_then_one_per_interval() {
    let server = Scripted::start(silent_to_puts).await.unwrap();
    let interval = Duration::from_secs(1);
    let client = etcd_tests::builder([server.endpoint()])
        .keep_alive_interval(interval)
        .connect()
        .await
        .unwrap();
    let before = pings(&server, 0).len();
    let call = tokio::spawn(client.put("k", "v"));
    let enough = async || pings(&server, 0).len() >= before + 4;
    wait::until("four PINGs", LIMIT, enough).await.unwrap();
    let at = pings(&server, 0).split_off(before);
    for pair in at.windows(2) {
        assert!(pair[1] - pair[0] > interval.mul_f64(0.95), "{at:?}");
    }
    call.abort();
}

#[tokio::test]
async fn without_calls_there_are_no_pings() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let interval = Duration::from_millis(100);
    let client = etcd_tests::builder([server.endpoint()])
        .keep_alive_interval(interval)
        .connect()
        .await
        .unwrap();
    client.get("k").await.unwrap();
    let before = server.pings().len();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(server.pings().len(), before);
}

#[tokio::test]
async fn too_many_pings_doubles_the_interval() {
    let server = Scripted::start(silent_to_puts).await.unwrap();
    let interval = Duration::from_millis(250);
    let client = etcd_tests::builder([server.endpoint()])
        .keep_alive_interval(interval)
        .connect()
        .await
        .unwrap();
    let goaway = || {
        Reply::goaway(
            u32::MAX >> 1,
            h2::Reason::ENHANCE_YOUR_CALM,
            "too_many_pings",
        )
    };
    // As etcd does it, and with the call going on: then it is the next one that meets the GOAWAY.
    for (connection, reply) in [(0, goaway().then(Reply::close())), (1, goaway())] {
        put_on(&server, &client, connection).await;
        server.push(connection, reply).await;
    }
    put_on(&server, &client, 2).await;
    let enough = async || pings(&server, 2).len() >= 5;
    wait::until("PINGs came on the third connection", LIMIT, enough)
        .await
        .unwrap();
    // The first is that of the connect, the second asks about the silent call.
    let at = pings(&server, 2).split_off(1);
    println!(
        "{:?}",
        at.windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect::<Vec<_>>()
    );
    for pair in at.windows(2) {
        assert!(pair[1] - pair[0] > interval.mul_f64(4.0 * 0.95), "{at:?}");
    }
}

#[tokio::test]
async fn too_many_pings_on_the_connection_of_a_watch_doubles_the_interval() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let interval = Duration::from_millis(250);
    let client = etcd_tests::builder([server.endpoint()])
        .keep_alive_interval(interval)
        .connect()
        .await
        .unwrap();
    let watch = tokio::spawn(client.watch(Watch::key("k").start_revision(1)));
    let first = server.next_stream().await.request().connection;
    let goaway = Reply::goaway(
        u32::MAX >> 1,
        h2::Reason::ENHANCE_YOUR_CALM,
        "too_many_pings",
    );
    server.push(first, goaway.then(Reply::close())).await;

    let second = server.next_stream().await.request().connection;
    assert_ne!(second, first);
    let enough = async || pings(&server, second).len() >= 4;
    wait::until("PINGs came on the second connection", LIMIT, enough)
        .await
        .unwrap();
    let at = pings(&server, second).split_off(1);
    for pair in at.windows(2) {
        assert!(pair[1] - pair[0] > interval.mul_f64(2.0 * 0.95), "{at:?}");
    }
    watch.abort();
}

/// A put that arrives on connection `connection` and is not answered; those before it find their connection closing.
async fn put_on(server: &Scripted, client: &Client, connection: usize) {
    let arrived = async || {
        let put = client
            .timeout(Duration::from_millis(50))
            .put("k", "v")
            .await;
        println!("{}", put.unwrap_err());
        server
            .requests(PUT)
            .iter()
            .any(|request| request.connection == connection)
    };
    wait::until("the put came", LIMIT, arrived).await.unwrap();
    tokio::spawn(client.put("k", "v"));
}
