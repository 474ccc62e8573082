//! Unary calls: what stubs send, what is sent with it, and what they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_core::proto::etcdserverpb::lease_client::LeaseClient;
use etcd_core::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_core::proto::etcdserverpb::request_op;
use etcd_core::proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, RequestOp, StatusRequest, TxnRequest,
};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Request, Scripted};
use etcd_tests::tls;
use tokio::time::timeout;
use tonic::Code;
use tower::ServiceBuilder;

use crate::{LIMIT, PUT, RANGE, cause, connect, healthy, kv, put, range, target, until};

#[tokio::test]
async fn stubs_read_and_write_through_the_channel() {
    let (client, prefix) = target().await;
    let mut stub = kv(&client);
    let key = prefix.key("k");
    let written = stub.put(put(&key, "v")).await.unwrap().into_inner();
    let read = stub.range(range(&key)).await.unwrap().into_inner();
    assert_eq!(read.kvs[0].value, "v");
    assert_eq!(read.kvs[0].mod_revision, written.header.unwrap().revision);
    let ask = RequestOp {
        request: Some(request_op::Request::RequestRange(range(&key))),
    };
    let txn = TxnRequest {
        success: vec![ask.clone(), ask],
        ..Default::default()
    };
    let txn = stub.txn(txn).await.unwrap().into_inner();
    assert_eq!(txn.responses.len(), 2);

    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let status = stub.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.db_size > 0);
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let server = healthy(1).await;
    let client = connect(&server).await;
    let stub = kv(&client);
    let calls = (0..500).map(|i| {
        let mut stub = stub.clone();
        async move { stub.put(put(format!("k{i}"), "v")).await }
    });
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    for _ in 0..20 {
        kv(&client).put(put("k", "v")).await.unwrap();
    }
    assert_eq!(server.seen(PUT), 520);
    // Beside the one for the client's own calls.
    assert_eq!(server.connections(), 2);
    assert_eq!(server.resets(), []);
}

#[tokio::test]
async fn a_large_request_and_its_reply_come_through_whole() {
    let (client, prefix) = target().await;
    let mut stub = kv(&client);
    let value: Vec<u8> = (0..1_400_000u32).map(|i| (i % 251) as u8).collect();
    let key = prefix.key("big");
    let call = timeout(LIMIT, stub.put(put(&key, value.clone()))).await;
    call.unwrap().unwrap();
    let read = stub.range(range(&key)).await.unwrap().into_inner();
    assert!(read.kvs[0].value == value);
}

#[tokio::test]
async fn what_etcd_answers_reaches_the_stub_as_it_is() {
    let (client, prefix) = target().await;
    let mut stub = kv(&client);
    let status = stub.put(put("", "v")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: key is not provided");
    let mut future = range(prefix.key("k"));
    future.revision = i64::MAX;
    let status = stub.range(future).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let required = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(status.message(), required);
}

#[tokio::test]
async fn a_layer_of_the_users_sees_every_call_and_adds_to_it() {
    let server = healthy(1).await;
    let builder = tls::builder([server.endpoint()]);
    let builder = builder.header("x-tenant", "ours").header("x-gate", "open");
    let client = builder.connect().await.unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let service = ServiceBuilder::new()
        .map_request(move |mut request: http::Request<_>| {
            count.fetch_add(1, Ordering::Relaxed);
            let headers = request.headers_mut();
            headers.insert("x-tenant", "theirs".parse().unwrap());
            headers.insert("connection", "close".parse().unwrap());
            request
        })
        .service(client.channel().unwrap());
    let mut stub = KvClient::new(service);
    stub.put(put("k", "v")).await.unwrap();
    stub.range(range("k")).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    for path in [PUT, RANGE] {
        let request = &server.requests(path)[0];
        assert_eq!(request.metadata("x-tenant"), Some("theirs"));
        assert_eq!(request.metadata("x-gate"), Some("open"));
        assert_eq!(request.metadata("connection"), None);
        assert_eq!(request.metadata("te"), Some("trailers"));
        let agent = request.metadata("user-agent").unwrap();
        assert!(agent.starts_with("etcd-core/"), "{agent}");
        let authority = request.metadata(":authority").unwrap();
        assert!(server.endpoint().ends_with(authority), "{authority}");
    }
}

#[tokio::test]
async fn a_layer_of_the_users_works_on_real_etcd() {
    let (client, prefix) = target().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let service = ServiceBuilder::new()
        .map_request(move |request: http::Request<_>| {
            count.fetch_add(1, Ordering::Relaxed);
            request
        })
        .service(client.channel().unwrap());
    let mut stub = LeaseClient::new(service);
    let asked = tokio_stream::iter([LeaseKeepAliveRequest { id: 1 }]);
    let mut answers = stub.lease_keep_alive(asked).await.unwrap().into_inner();
    let LeaseKeepAliveResponse { id, ttl, .. } = answers.message().await.unwrap().unwrap();
    assert_eq!((id, ttl), (1, 0));
    assert!(answers.message().await.unwrap().is_none());
    let interceptor = |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("hasleader", "true".parse()?);
        Ok(request)
    };
    let mut stub = KvClient::with_interceptor(client.channel().unwrap(), |request| {
        interceptor(request).map_err(|_: tonic::metadata::errors::InvalidMetadataValue| {
            tonic::Status::internal("no header")
        })
    });
    stub.put(put(prefix.key("k"), "v")).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_view_of_an_endpoint_and_of_a_leader_apply() {
    let servers = [healthy(1).await, healthy(2).await];
    let endpoints = servers.iter().map(Scripted::endpoint);
    let client = tls::builder(endpoints).connect();
    let client = client.await.unwrap();
    until("both are active", async || client.endpoints().active() == 2).await;
    for (i, server) in servers.iter().enumerate() {
        let view = client.endpoint(server.endpoint()).require_leader(true);
        for _ in 0..20 {
            kv(&view).put(put("k", "v")).await.unwrap();
        }
        assert_eq!(server.seen(PUT), 20);
        assert_eq!(servers[1 - i].seen(PUT), 20 * i);
    }
    let required = |server: &Scripted| {
        let requests = server.requests(PUT);
        requests.last().unwrap().metadata("hasleader") == Some("true")
    };
    assert!(servers.iter().all(required));
    kv(&client).put(put("k", "v")).await.unwrap();
    assert!(!servers.iter().all(required));
}

#[tokio::test]
async fn writes_go_to_the_leader_though_another_member_is_nearer() {
    let mut servers = Vec::new();
    let mut proxies = Vec::new();
    for (member, delay) in [(1, 20), (2, 40)] {
        let builder = Scripted::builder().member(member).leader(2);
        let server = builder.start(Request::usual).await.unwrap();
        let proxy = Proxy::start(server.address()).await.unwrap();
        proxy.delay(Direction::ToServer, Duration::from_millis(delay));
        servers.push(server);
        proxies.push(proxy);
    }
    let endpoints = proxies.iter().map(Proxy::endpoint);
    let client = tls::builder(endpoints).connect();
    let client = client.await.unwrap();
    until("both are active", async || client.endpoints().active() == 2).await;
    for _ in 0..10 {
        kv(&client).put(put("k", "v")).await.unwrap();
    }
    assert_eq!([servers[0].seen(PUT), servers[1].seen(PUT)], [0, 10]);
}

#[tokio::test]
async fn a_call_of_a_closed_client_is_cancelled() {
    let server = healthy(1).await;
    let client = connect(&server).await;
    let mut stub = kv(&client);
    stub.put(put("k", "v")).await.unwrap();
    client.close();
    for mut stub in [stub, kv(&client)] {
        let call = timeout(LIMIT, stub.put(put("k", "v")));
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Cancelled);
        assert!(cause(&status).is_closed(), "{status}");
    }
    assert_eq!(server.seen(PUT), 1);
}
