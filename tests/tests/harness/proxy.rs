//! Each control of the proxy does what it says, seen from both ends of a connection.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
/// How long nothing must happen for a test to believe that nothing happens.
const SILENCE: Duration = Duration::from_millis(100);

/// A proxy to a listener of the test's own.
async fn proxy() -> (Proxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().to_string())
        .await
        .unwrap();
    (proxy, listener)
}

/// Both ends of a connection through a proxy.
async fn connected(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    (client, server)
}

/// `bytes` get from one end to the other.
async fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
    let mut read = vec![0; bytes.len()];
    timeout(LIMIT, to.read_exact(&mut read))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, bytes);
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read_u8()).await.is_err()
}

/// Everything up to the end, and how it ended.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut read = Vec::new();
    let end = timeout(LIMIT, stream.read_to_end(&mut read)).await.unwrap();
    (read, end.err().map(|cause| cause.kind()))
}

#[tokio::test]
async fn bytes_and_their_end_pass_both_ways_and_are_counted() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    passes(&mut client, &mut server, b"question").await;
    passes(&mut server, &mut client, b"answer").await;
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    assert_eq!(
        (
            proxy.bytes(Direction::ToServer),
            proxy.bytes(Direction::ToClient)
        ),
        (8, 6)
    );

    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut server).await, (vec![], None), "half closed");
    passes(&mut server, &mut client, b"more").await;
    drop(server);
    assert_eq!(rest(&mut client).await, (vec![], None));
    wait::until("the link is gone", LIMIT, async || proxy.open() == 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn ten_megabytes_pass_whole_in_both_directions_at_once() {
    let (proxy, listener) = proxy().await;
    let (client, server) = connected(&proxy, &listener).await;
    let data: Vec<u8> = (0..10_000_000_u32).map(|i| (i % 251) as u8).collect();
    let echo = tokio::spawn(async move {
        let (mut reader, mut writer) = server.into_split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let (mut reader, mut writer) = client.into_split();
    let sent = data.clone();
    tokio::spawn(async move { writer.write_all(&sent).await.unwrap() });
    let mut read = Vec::new();
    timeout(LIMIT, reader.read_to_end(&mut read))
        .await
        .unwrap()
        .unwrap();
    assert!(read == data);
    echo.await.unwrap();
}

#[tokio::test]
async fn a_reset_by_one_end_is_a_reset_at_the_other() {
    let (proxy, listener) = proxy().await;
    let (mut client, server) = connected(&proxy, &listener).await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));

    let (client, mut server) = connected(&proxy, &listener).await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rest(&mut server).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_blocked_direction_holds_its_bytes_and_the_other_goes_on() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    proxy.block(Direction::ToClient);
    passes(&mut client, &mut server, b"put").await;
    server.write_all(b"done").await.unwrap();
    assert!(is_silent(&mut client).await);
    let (mut client2, mut server2) = connected(&proxy, &listener).await;
    passes(
        &mut client2,
        &mut server2,
        b"new connections are open one way too",
    )
    .await;

    proxy.unblock(Direction::ToClient);
    let mut read = [0; 4];
    timeout(LIMIT, client.read_exact(&mut read))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&read, b"done");

    proxy.block(Direction::ToServer);
    client.write_all(b"put").await.unwrap();
    drop(client);
    assert!(is_silent(&mut server).await, "neither byte nor FIN");
    proxy.unblock(Direction::Both);
    assert_eq!(rest(&mut server).await, (b"put".to_vec(), None));
}

#[tokio::test]
async fn a_blocked_proxy_is_a_black_hole_for_new_connections_until_unblocked() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    proxy.block(Direction::Both);
    client.write_all(b"a").await.unwrap();
    server.write_all(b"b").await.unwrap();
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    late.write_all(b"c").await.unwrap();
    assert!(
        is_silent(&mut client).await && is_silent(&mut server).await && is_silent(&mut late).await
    );
    assert_eq!(
        (proxy.accepted(), proxy.open(), proxy.bytes(Direction::Both)),
        (1, 1, 0)
    );

    proxy.unblock(Direction::Both);
    assert_eq!(
        timeout(LIMIT, server.read_u8()).await.unwrap().unwrap(),
        b'a'
    );
    assert_eq!(
        timeout(LIMIT, client.read_u8()).await.unwrap().unwrap(),
        b'b'
    );
    let (mut server2, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    assert_eq!(
        timeout(LIMIT, server2.read_u8()).await.unwrap().unwrap(),
        b'c'
    );
}

#[tokio::test]
async fn frozen_connections_stay_half_open_while_new_ones_work() {
    let (proxy, listener) = proxy().await;
    let (mut old_client, old_server) = connected(&proxy, &listener).await;
    proxy.freeze_all();
    drop(old_server);
    old_client.write_all(b"a").await.unwrap();
    assert!(is_silent(&mut old_client).await, "no FIN, no RST");
    let (mut client, mut server) = connected(&proxy, &listener).await;
    passes(&mut client, &mut server, b"b").await;

    proxy.reset_all();
    assert_eq!(
        rest(&mut old_client).await.1,
        Some(ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn a_refusing_proxy_refuses_at_once_and_keeps_what_is_open() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    for _ in 0..20 {
        proxy.refuse();
        let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        passes(&mut client, &mut server, b"still here").await;
        proxy.accept().unwrap();
        let (mut client2, mut server2) = connected(&proxy, &listener).await;
        passes(&mut client2, &mut server2, b"back").await;
    }
}

#[tokio::test]
async fn drop_all_is_seen_as_an_end_and_reset_all_as_a_reset_on_both_sides() {
    let (proxy, listener) = proxy().await;
    for unread in [false, true] {
        let (mut client, mut server) = connected(&proxy, &listener).await;
        passes(&mut client, &mut server, b"established").await;
        if unread {
            proxy.block(Direction::Both);
            client.write_all(b"never delivered").await.unwrap();
        }
        proxy.drop_all();
        assert_eq!(proxy.open(), 0);
        assert_eq!(rest(&mut client).await, (vec![], None));
        assert_eq!(rest(&mut server).await, (vec![], None));
        proxy.unblock(Direction::Both);
    }
    let (mut client, mut server) = connected(&proxy, &listener).await;
    passes(&mut client, &mut server, b"established").await;
    proxy.reset_all();
    assert_eq!(proxy.open(), 0);
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(rest(&mut server).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn delay_moves_bytes_later_in_order_and_leaves_throughput_alone() {
    const DELAY: Duration = Duration::from_millis(150);
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    passes(&mut client, &mut server, b"warm").await;
    proxy.delay(Direction::Both, DELAY);
    let start = Instant::now();
    passes(&mut client, &mut server, b"ping").await;
    let one_way = start.elapsed();
    passes(&mut server, &mut client, b"pong").await;
    assert!(one_way >= DELAY && start.elapsed() >= 2 * DELAY);

    // 100 messages of 40 kB at once: if each had to wait for the one before it, this would take 15 s.
    let (sender, mut arrived) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut read = vec![0; 4_000_000];
        server.read_exact(&mut read).await.unwrap();
        sender.send(read).await.unwrap();
    });
    let start = Instant::now();
    for i in 0..100 {
        client.write_all(&[i; 40_000]).await.unwrap();
    }
    let read = timeout(LIMIT, arrived.recv()).await.unwrap().unwrap();
    assert!(read.is_sorted());
    assert!(
        (DELAY..20 * DELAY).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn what_was_under_way_when_a_direction_was_blocked_does_not_arrive_either() {
    let (proxy, listener) = proxy().await;
    let (mut client, mut server) = connected(&proxy, &listener).await;
    passes(&mut client, &mut server, b"established").await;
    proxy.delay(Direction::ToServer, SILENCE * 2);
    client.write_all(b"late").await.unwrap();
    assert!(is_silent(&mut server).await, "it is on its way");
    proxy.block(Direction::ToServer);
    for _ in 0..3 {
        assert!(is_silent(&mut server).await);
    }
    proxy.unblock(Direction::ToServer);
    let mut read = [0; 4];
    timeout(LIMIT, server.read_exact(&mut read))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&read, b"late");
}

#[tokio::test]
async fn a_cut_lets_exactly_so_many_bytes_through_and_happens_once() {
    let (proxy, listener) = proxy().await;
    for close in [Close::Fin, Close::Reset] {
        let expected = (close == Close::Reset).then_some(ErrorKind::ConnectionReset);
        let (mut client, mut server) = connected(&proxy, &listener).await;
        proxy.cut_after(Direction::ToServer, 5, close);
        passes(&mut client, &mut server, b"12345").await;
        client.write_all(b"67").await.unwrap();
        assert_eq!(rest(&mut server).await, (vec![], expected));
        assert_eq!(rest(&mut client).await, (vec![], expected));

        let (mut client, mut server) = connected(&proxy, &listener).await;
        proxy.cut_after(Direction::ToClient, 0, close);
        passes(&mut client, &mut server, b"the request gets through").await;
        server.write_all(b"the reply does not").await.unwrap();
        assert_eq!(rest(&mut client).await, (vec![], expected));

        let (mut client, mut server) = connected(&proxy, &listener).await;
        passes(&mut client, &mut server, b"not this one").await;
    }
}

#[tokio::test]
async fn a_connection_to_a_dead_server_is_reset_and_a_dropped_proxy_closes_all() {
    let (proxy, listener) = proxy().await;
    let (mut client, _server) = connected(&proxy, &listener).await;
    drop(listener);
    let mut late = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(rest(&mut late).await.1, Some(ErrorKind::ConnectionReset));
    let address = proxy.address();
    drop(proxy);
    assert_eq!(rest(&mut client).await, (vec![], None));
    assert!(TcpStream::connect(address).await.is_err());
}
