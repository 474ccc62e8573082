//! On the machine's own addresses.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(2);

async fn listener(last: u8) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that neither accepts nor refuses: its listener's queue is full.
async fn hole() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(socket) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(socket.unwrap());
    }
    (address, (listener, queued))
}

fn refusing() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 1).into()
}

#[tokio::test]
async fn all_addresses_are_tried_also_behind_one_that_refuses_and_one_that_is_silent() {
    let (good, address) = listener(1).await;
    let (silent, _hole) = hole().await;
    let began = Instant::now();
    let tcp = Tcp::new();
    let addresses = [silent, refusing(), address];
    let socket = timeout(LIMIT, first(&addresses, LIMIT, &tcp)).await;
    let socket = socket.unwrap().unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "the first had its time"
    );
    good.accept().await.unwrap();
    drop(socket);
    let error = first(&[refusing(), refusing()], LIMIT, &tcp)
        .await
        .err()
        .unwrap()
        .to_string();
    assert_eq!(error.matches("127.0.0.1:1").count(), 2, "{error}");
    let error = first(&[refusing()], LIMIT, &tcp).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_connection_has_the_options_of_tcp() {
    use rustix::net::sockopt;
    let (good, address) = listener(1).await;
    let tcp = Tcp::new()
        .nodelay(false)
        .keepalive(Duration::from_secs(7))
        .user_timeout(Duration::from_secs(9))
        .bind_address(Ipv4Addr::new(127, 0, 0, 9));
    let socket = open(address, &tcp).await.unwrap();
    assert!(!socket.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(&socket).unwrap());
    assert_eq!(
        sockopt::tcp_keepidle(&socket).unwrap(),
        Duration::from_secs(7)
    );
    assert_eq!(
        sockopt::tcp_keepintvl(&socket).unwrap(),
        Duration::from_secs(7)
    );
    #[cfg(target_os = "linux")]
    assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 9_000);
    let (_, from) = good.accept().await.unwrap();
    assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 9));

    let plain = open(address, &Tcp::new()).await.unwrap();
    assert!(plain.nodelay().unwrap() && !sockopt::socket_keepalive(&plain).unwrap());
    let other = Tcp::new().bind_address("::1");
    let error = open(address, &other).await.unwrap_err();
    assert!(error.to_string().contains("::1"), "{error}");
}
