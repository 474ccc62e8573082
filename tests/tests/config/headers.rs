//! Extra headers, as gateways want them.

use std::time::Duration;

use etcd_core::proto::etcdserverpb::{PutRequest, StatusRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Error};
use etcd_tests::scripted::{Request, Scripted};
use tokio::time::timeout;

use crate::LIMIT;

#[tokio::test]
async fn extra_headers_are_on_every_request_and_stream() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = Client::builder()
        .endpoints([server.endpoint()])
        .header("X-Tenant", "blue")
        .header("x-tenant", "green")
        .sensitive_header("authorization", "Bearer hunter2");
    let client = client.connect().await.unwrap();
    client.put("k", "v").await.unwrap();
    client.require_leader(true).put("k", "v").await.unwrap();
    let short = client.timeout(Duration::from_millis(500));
    let watch = short.watch("k");
    let (stream, _) = tokio::join!(timeout(LIMIT, server.next_stream()), watch);
    let stream = stream.unwrap();

    let mut requests = vec![stream.request().clone()];
    for path in [StatusRequest::PATH, PutRequest::PATH] {
        requests.extend(server.requests(path));
    }
    assert!(requests.len() >= 4);
    for request in &requests {
        let of = |name: &str| -> Vec<&str> {
            let named = request.headers.iter().filter(|(key, _)| key == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(of("x-tenant"), ["blue", "green"], "{}", request.path);
        assert_eq!(of("authorization"), ["Bearer hunter2"], "{}", request.path);
        assert_eq!(of("te"), ["trailers"]);
    }
    let said: Vec<_> = server.requests(PutRequest::PATH);
    assert_eq!(said[0].metadata("hasleader"), None);
    assert_eq!(said[1].metadata("hasleader"), Some("true"));
}

#[tokio::test]
async fn headers_that_cannot_be_used_make_no_client_and_show_no_value() {
    let builder = || Client::builder().endpoints(["127.0.0.1:2379"]);
    for (builder, name) in [
        (
            builder().header("grpc-timeout", "hunter2"),
            "`grpc-timeout`",
        ),
        (builder().header("te", "hunter2"), "`te`"),
        (builder().sensitive_header("token", "hunter2"), "`token`"),
        (builder().header("x y", "hunter2"), "`x y`"),
        (builder().sensitive_header("x-key", "hunter2\n"), "`x-key`"),
    ] {
        let error = builder.build().unwrap_err();
        let Error::Config(wrong) = &error else {
            panic!("{error}");
        };
        assert_eq!(wrong.option, "header");
        let text = error.to_string();
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_sensitive_header_is_not_printed() {
    let builder = Client::builder()
        .endpoints(["127.0.0.1:1"])
        .header("x-tenant", "blue")
        .sensitive_header("x-key", "hunter2");
    let printed = format!("{builder:?} {builder:#?}");
    assert!(
        printed.contains("blue") && printed.contains("x-key"),
        "{printed}"
    );
    let client = builder.build().unwrap();
    let error = client
        .timeout(Duration::from_millis(100))
        .get("k")
        .await
        .unwrap_err();
    for text in [
        printed,
        format!("{client:?}"),
        format!("{error:?} {error}"),
        client.endpoints().to_string(),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
