//! What is refused before anything is sent.

use etcd_core::{Channel, Error, Outcome};
use etcd_tests::tls;
use http::Request;
use std::time::Duration;
use tonic::Code;
use tonic::client::GrpcService;

use crate::{PUT, RANGE, cause, connect, healthy, kv, put};

#[tokio::test]
async fn a_channel_in_a_namespace_is_refused() {
    let server = healthy(1).await;
    let client = connect(&server).await;
    let error = client.namespace("app/").channel().unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    assert!(error.to_string().contains("namespace"), "{error}");
    // The empty one is none.
    client.namespace("").channel().unwrap();
}

#[tokio::test]
async fn a_channel_of_a_view_that_cannot_be_is_refused() {
    let server = healthy(1).await;
    let client = connect(&server).await;
    for view in [
        client.endpoint("http://10.255.0.1:2379"),
        client.endpoint("nonsense://"),
        client.timeout(Duration::ZERO),
    ] {
        let error = view.channel().unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}

#[tokio::test]
async fn without_waiting_a_call_fails_at_once_and_says_why() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let client = tls::builder([&address]).build().unwrap();
    let status = kv(&client.wait_ready(false)).put(put("k", "v")).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(cause(&status), Error::NoActiveEndpoint(_)));
    assert!(status.message().contains(&address), "{status}");
}

#[tokio::test]
async fn requests_that_are_no_calls_are_refused() {
    let server = healthy(1).await;
    let client = connect(&server).await;
    let mut channel: Channel = client.channel().unwrap();
    let rows = [
        ("http://nowhere:1", "grpc-timeout", "soon", "grpc-timeout"),
        ("nowhere:1", "x", "y", "no path"),
    ];
    for (uri, name, value, why) in rows {
        let request = Request::builder().uri(uri).header(name, value);
        let request = request.body(tonic::body::Body::empty()).unwrap();
        let error = GrpcService::call(&mut channel, request).await.unwrap_err();
        let status = tonic::Status::from_error(error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(cause(&status).outcome(), Outcome::NotApplied);
        assert!(status.message().contains(why), "{status}");
    }
    assert_eq!(server.seen(PUT) + server.seen(RANGE), 0);
}
