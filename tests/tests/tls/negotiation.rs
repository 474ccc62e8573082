//! Versions, protocols, and servers that speak no TLS or too much of it.

use std::time::Duration;

use etcd_core::{Client, Error, TlsError};

use etcd_tests::wait;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{DIAL, LIMIT, authority, dial, explained, refused, serve, serve_plaintext};

/// A server that answers the first bytes of every connection with these and closes it. Returns its endpoint, and the first
/// bytes it gets.
async fn answering(answer: &'static [u8]) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let first = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut got = vec![0; 4096];
        let n = socket.read(&mut got).await.unwrap();
        got.truncate(n);
        socket.write_all(answer).await.unwrap();
        socket.shutdown().await.unwrap();
        socket.read_to_end(&mut got).await.unwrap();
        got
    });
    (endpoint, first)
}

/// The first failure of a client of this endpoint, as told by a call that does not wait.
async fn first_failure(endpoint: &str) -> Error {
    let builder = Client::builder().endpoints([endpoint]);
    let client = builder.tls(authority().trusted()).build().unwrap();
    let mut failure = None;
    wait::until("the first attempt has failed", LIMIT, async || {
        let error = client.wait_ready(false).get("k").await.unwrap_err();
        let Error::NoActiveEndpoint(found) = &error else {
            return false;
        };
        let failed = found.endpoints[0].cause.is_some();
        failure = failed.then_some(error);
        failed
    })
    .await
    .unwrap();
    failure.unwrap()
}

#[tokio::test]
async fn each_version_of_tls_that_is_not_broken_works_alone() {
    for version in [&TLS12, &TLS13] {
        let identity = authority().identity().unwrap();
        let server = serve(identity.server_for(&[version], None).unwrap()).await;
        let client = dial(&server.endpoint(), authority().trusted())
            .await
            .unwrap();
        client.put("k", "v").await.unwrap();
    }
}

/// A ServerHello of TLS 1.1: 32 bytes of randomness, no session, AES with CBC, no compression.
const OLD_HELLO: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\xc0\x13\x00";
/// Alerts: handshake_failure and protocol_version.
const NO_CIPHER: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
const NO_VERSION: &[u8] = b"\x15\x03\x03\x00\x02\x02\x46";

#[tokio::test]
async fn a_server_with_no_version_or_cipher_in_common_is_named_as_such() {
    for answer in [OLD_HELLO, NO_CIPHER, NO_VERSION] {
        let (endpoint, _) = answering(answer).await;
        let wrong = explained(&first_failure(&endpoint).await, &endpoint);
        assert!(matches!(wrong, TlsError::Incompatible { .. }), "{wrong}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_offer_http2_is_refused() {
    for version in [&TLS12, &TLS13] {
        for offered in [vec![], vec![b"http/1.1".to_vec()]] {
            let identity = authority().identity().unwrap();
            let mut config = identity.server_for(&[version], None).unwrap();
            config.alpn_protocols = offered;
            let server = serve(config).await;
            let wrong = refused(&server, &server.endpoint(), authority().trusted()).await;
            assert_eq!(wrong, TlsError::NoHttp2);
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_behind_an_https_endpoint_gets_a_client_hello_and_no_more() {
    let http2_settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let http1 = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    for answer in [&http2_settings[..], http1] {
        let (endpoint, got) = answering(answer).await;
        let wrong = explained(&first_failure(&endpoint).await, &endpoint);
        assert_eq!(wrong, TlsError::NotTls);
        let got = got.await.unwrap();
        assert_eq!(got[..2], [22, 3], "a handshake record");
        assert!(!got.windows(3).any(|part| part == b"PRI"), "no preface");
    }
    // The whole server, which would answer requests.
    let server = serve_plaintext().await;
    let endpoint = server.endpoint().replace("http://", "https://");
    let error = dial(&endpoint, authority().trusted()).await.unwrap_err();
    assert_eq!(explained(&error, &endpoint), TlsError::NotTls);
    assert_eq!(server.seen("/etcdserverpb.Maintenance/Status"), 0);
}

#[tokio::test]
async fn a_server_that_closes_during_the_handshake_may_come_back() {
    let (endpoint, _) = answering(b"").await;
    let error = first_failure(&endpoint).await;
    let wrong = explained(&error, &endpoint);
    assert!(matches!(wrong, TlsError::Closed { .. }), "{wrong}");
    assert!(
        error
            .to_string()
            .contains("during the TLS handshake; does it speak TLS?"),
        "{error}"
    );
    // Unlike a certificate that is wrong, that is no reason to give up before the time.
    let builder = Client::builder().endpoints([&endpoint]);
    let builder = builder.tls(authority().trusted()).dial_timeout(DIAL);
    let connecting = tokio::time::timeout(Duration::from_millis(500), builder.connect());
    assert!(connecting.await.is_err());
}

#[tokio::test]
async fn a_server_that_is_silent_in_the_handshake_is_given_up_in_that_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let builder = Client::builder().endpoints([&endpoint]);
    let builder = builder.tls(authority().trusted());
    let builder = builder.tls_handshake_timeout(Duration::from_millis(300));
    let connecting = builder.dial_timeout(Duration::from_secs(1)).connect();
    let error = connecting.await.unwrap_err().to_string();
    assert!(
        error.contains("connected, but no TLS handshake within 300ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_the_server_speaks_tls() {
    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    let endpoint = server.endpoint().replace("https://", "http://");
    let error = Client::connect(&endpoint).await.unwrap_err();
    assert_eq!(explained(&error, &endpoint), TlsError::TlsOnly);
    assert!(
        error.to_string().contains("is it a https:// endpoint?"),
        "{error}"
    );
    assert_eq!(server.received(), 0);
}
