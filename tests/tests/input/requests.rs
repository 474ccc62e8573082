//! Requests that are refused unsent: the server has not seen one of them.

use std::time::Duration;

use etcd_core::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Compare, Delete, Error, Get, Outcome, Put, Request as Sendable, Txn};
use etcd_tests::scripted::{Request, Scripted};

/// A client of a server that counts what it sees.
async fn counted() -> (Scripted, Client) {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    (server, client)
}

/// How many requests for keys the server has seen.
fn seen(server: &Scripted) -> usize {
    [
        PutRequest::PATH,
        RangeRequest::PATH,
        DeleteRangeRequest::PATH,
        TxnRequest::PATH,
    ]
    .iter()
    .map(|path| server.seen(path))
    .sum()
}

async fn refused<R: Sendable>(client: &Client, request: R, reason: &str) {
    let error = client.send(request).await.unwrap_err();
    let Error::InvalidRequest(text) = &error else {
        panic!("not refused for what it is: {error}");
    };
    assert!(text.contains(reason), "{text}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains("before it was sent"), "{error}");
}

#[tokio::test]
async fn an_empty_key_is_not_sent() {
    let (server, client) = counted().await;
    refused(&client, Put::new("", "v"), "empty").await;
    refused(&client, Get::key(""), "empty").await;
    refused(&client, Get::range("a", ""), "empty").await;
    refused(&client, Delete::key(""), "empty").await;
    refused(&client, Delete::range("a", ""), "empty").await;
    refused(&client, PutRequest::default(), "empty").await;
    refused(&client, RangeRequest::default(), "empty").await;
    refused(&client, DeleteRangeRequest::default(), "empty").await;
    let compare = Txn::new().when(Compare::version("").equals(0));
    refused(&client, compare, "empty").await;
    let nested = Txn::new().then(Txn::new().or_else(Get::key("")));
    refused(&client, nested, "empty").await;
    let nothing = TxnRequest {
        success: vec![RequestOp { request: None }],
        ..Default::default()
    };
    refused(&client, nothing, "empty").await;
    assert_eq!(seen(&server), 0);
}

#[tokio::test]
async fn an_empty_prefix_does_not_delete_everything() {
    let (server, client) = counted().await;
    refused(&client, Delete::prefix(""), "all()").await;
    refused(&client, Txn::new().then(Delete::prefix("")), "all()").await;
    assert_eq!(seen(&server), 0);
}

#[tokio::test]
async fn more_operations_than_max_txn_ops_are_not_sent() {
    let (server, client) = counted().await;
    let gets = |count| vec![Get::key("k"); count];
    let too_many = "more operations in the transaction than max_txn_ops, 128";
    refused(&client, Txn::new().then(gets(129)), too_many).await;
    refused(&client, Txn::new().or_else(gets(129)), too_many).await;
    let conditions = vec![Compare::version("k").equals(0); 129];
    refused(&client, Txn::new().when(conditions), too_many).await;
    let nested = Txn::new().then(gets(100)).then(Txn::new().then(gets(28)));
    refused(&client, nested, too_many).await;

    let strict = etcd_tests::builder([server.endpoint()]).max_txn_ops(2);
    let strict = strict.connect().await.unwrap();
    refused(&strict, Txn::new().then(gets(3)), "max_txn_ops, 2").await;
    assert_eq!(seen(&server), 0);
}

#[tokio::test]
async fn more_bytes_than_max_request_bytes_are_not_sent() {
    let (server, client) = counted().await;
    let too_large = "bytes are more than max_request_bytes, 1572864";
    refused(&client, Put::new("k", vec![0; 1_572_864]), too_large).await;
    let halves = Txn::new().then([
        Put::new("a", vec![0; 800_000]),
        Put::new("b", vec![0; 800_000]),
    ]);
    refused(&client, halves, too_large).await;

    let strict = etcd_tests::builder([server.endpoint()]);
    let strict = strict.max_request_bytes(100).connect().await.unwrap();
    refused(&strict, Put::new("k", vec![0; 96]), "101 bytes").await;
    assert_eq!(seen(&server), 0);
    strict.send(Put::new("k", vec![0; 95])).await.unwrap();
    assert_eq!(seen(&server), 1);
}

#[tokio::test]
async fn a_put_that_contradicts_itself_is_not_sent() {
    let (server, client) = counted().await;
    refused(&client, Put::new("k", "v").ignore_value(), "ignore_value").await;
    let lease = Put::new("k", "v").lease(7).ignore_lease();
    refused(&client, lease, "ignore_lease").await;
    let twice = Txn::new().then([Put::new("k", "1"), Put::new("k", "2")]);
    refused(&client, twice, "twice").await;
    assert_eq!(seen(&server), 0);
}

#[tokio::test]
async fn a_call_without_any_time_is_not_sent() {
    let (server, client) = counted().await;
    for _ in 0..100 {
        let error = client.timeout(Duration::ZERO).put("k", "v").await;
        let Err(Error::Config(wrong)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(wrong.option, "timeout");
    }
    assert_eq!(seen(&server), 0);
    // However short, any other time is a time.
    let short = client.timeout(Duration::from_millis(50));
    short.put("k", "v").await.unwrap();
}
