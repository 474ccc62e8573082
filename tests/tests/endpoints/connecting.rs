//! How an endpoint is connected: phases, and connections that somebody else opens.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::StatusRequest;
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, EndpointState, Tcp};
use etcd_tests::endpoints::row;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::net::TcpStream;

use crate::{LIMIT, PUT, refused};

/// Why the only endpoint of a client failed.
async fn cause(client: &Client) -> String {
    let endpoint = crate::list(client).remove(0);
    let mut cause = None;
    wait::until("it has failed", LIMIT, async || {
        if let EndpointState::Frozen { cause: why, .. } = row(client, &endpoint).unwrap().state {
            cause = why;
        }
        cause.is_some()
    })
    .await
    .unwrap();
    cause.unwrap().to_string()
}

#[tokio::test]
async fn the_phase_that_takes_too_long_is_named() {
    let limit = Duration::from_millis(200);
    let nameless = Client::builder()
        .endpoints(["nobody.invalid:1"])
        .dns_timeout(limit);
    let said = cause(&nameless.build().unwrap()).await;
    assert!(said.contains("nobody.invalid cannot be resolved"), "{said}");

    let silent = |request: &Request| match request.path.as_str() {
        StatusRequest::PATH => Reply::silence(),
        _ => request.usual(),
    };
    let server = Scripted::start(silent).await.unwrap();
    let client = etcd_tests::builder([server.endpoint()]).connect_timeout(limit);
    let said = cause(&client.build().unwrap()).await;
    assert!(said.contains("no reply from etcd within 200ms"), "{said}");
}

#[tokio::test]
async fn an_attempt_has_the_dial_timeout_for_all_its_phases() {
    let server = Scripted::start(|request| request.usual()).await.unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.block(Direction::Both);
    let long = Duration::from_secs(60);
    let client = etcd_tests::builder([proxy.endpoint()]).connect_timeout(long);
    let client = client.tls_handshake_timeout(long);
    let client = client.dial_timeout(Duration::from_millis(400));
    let began = Instant::now();
    let said = cause(&client.build().unwrap()).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{began:?}: {said}"
    );
    assert!(said.contains("connected, but no"), "{said}");
}

#[tokio::test]
async fn connections_are_opened_by_the_connector_that_was_given() {
    let server = Scripted::builder().plaintext();
    let server = server.start(|request| request.usual()).await.unwrap();
    let (address, asked) = (server.address(), Arc::new(Mutex::new(Vec::new())));
    let (to, seen) = (address.clone(), asked.clone());
    let client = Client::builder().endpoints(["http://etcd.invalid:7"]);
    let client = client.connector(move |host, port| {
        seen.lock().unwrap().push((host.to_owned(), port));
        TcpStream::connect(to.clone())
    });
    let client = client.connect().await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(server.seen(PUT), 1);
    assert_eq!(asked.lock().unwrap()[0], ("etcd.invalid".to_owned(), 7));
}

#[tokio::test]
async fn options_of_tcp_that_cannot_be_are_refused_by_name() {
    let tcp = Tcp::new;
    for (tcp, option) in [
        (tcp().bind_address("localhost"), "tcp_bind_address"),
        (tcp().keepalive(Duration::from_millis(1)), "tcp_keepalive"),
        (
            tcp().user_timeout(Duration::from_secs(40_000)),
            "tcp_user_timeout",
        ),
    ] {
        let builder = Client::builder().endpoints(["127.0.0.1:1"]).tcp(tcp);
        assert_eq!(refused(builder.build()), option);
    }
}
