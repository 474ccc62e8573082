//! Servers that answer with what was not asked for.

use etcd_core::proto::etcdserverpb::response_op::Response;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RangeStreamResponse, ResponseOp, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use etcd_core::proto::mvccpb::{Event, KeyValue};
use etcd_core::proto::rpc::{RANGE_STREAM_PATH, Unary};
use etcd_core::{Delete, Error, Get, Put, Txn, Watch};
use etcd_tests::scripted::{Reply, Request, Scripted};
use tokio::time::timeout;

use crate::LIMIT;

fn pair(key: &'static [u8]) -> KeyValue {
    KeyValue {
        key: key.into(),
        mod_revision: 7,
        value: "a neighbour's".into(),
        ..Default::default()
    }
}

/// Answers everything with this key.
fn with(key: &'static [u8]) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let range = move || RangeResponse {
        kvs: vec![pair(key)],
        ..Default::default()
    };
    move |request| match request.path.as_str() {
        RangeRequest::PATH => Reply::message(&range()),
        PutRequest::PATH => Reply::message(&PutResponse {
            prev_kv: Some(pair(key)),
            ..Default::default()
        }),
        DeleteRangeRequest::PATH => Reply::message(&DeleteRangeResponse {
            prev_kvs: vec![pair(key)],
            ..Default::default()
        }),
        TxnRequest::PATH => {
            let op = |response| ResponseOp {
                response: Some(response),
            };
            let txn = |responses| TxnResponse {
                responses,
                ..Default::default()
            };
            let inner = txn(vec![op(Response::ResponseRange(range()))]);
            Reply::message(&txn(vec![op(Response::ResponseTxn(inner))]))
        }
        _ => request.usual(),
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_is_an_error_and_is_not_shown() {
    for key in [&b""[..], b"a", b"app/", b"app0", b"beside", b"\xff"] {
        let server = Scripted::start(with(key)).await.unwrap();
        let client = etcd_tests::connect(server.endpoint()).await.unwrap();
        let inside = client.namespace("app/");
        for error in [
            inside.get(Get::all()).await.unwrap_err(),
            inside.send(Put::new("k", "v").prev_kv()).await.unwrap_err(),
            inside.delete(Delete::all().prev_kv()).await.unwrap_err(),
            inside
                .txn(Txn::new().then(Txn::new().then(Get::all())))
                .await
                .unwrap_err(),
        ] {
            assert!(matches!(error, Error::Protocol(_)), "{error}");
            let text = error.to_string();
            assert!(text.contains("outside the namespace"), "{text}");
            assert!(
                text.contains(&server.endpoint()) && !text.contains("beside"),
                "{text}"
            );
        }
        // Without a namespace it is the server's affair.
        client.get(Get::all()).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_of_somebody_else_ends_what_comes_in_pieces() {
    let piece = |key| RangeStreamResponse {
        range_response: Some(RangeResponse {
            kvs: vec![pair(key)],
            ..Default::default()
        }),
    };
    let script = move |request: &Request| match request.path.as_str() {
        RANGE_STREAM_PATH => Reply::headers()
            .then(Reply::part(&piece(b"app/mine")))
            .then(Reply::part(&piece(b"beside")))
            .then(Reply::trailers(0, "")),
        _ => request.usual(),
    };
    let server = Scripted::start(script).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let mut pieces = client
        .namespace("app/")
        .range_stream(Get::all())
        .await
        .unwrap();
    let first = pieces.try_next().await.unwrap().unwrap();
    assert_eq!(first.kvs[0].key, "mine");
    let error = pieces.try_next().await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert!(
        error.to_string().contains("outside the namespace"),
        "{error}"
    );
    assert!(pieces.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn events_of_somebody_else_do_not_reach_a_watch_in_a_namespace() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let inside = client.namespace("app/");
    let watch = inside.watch(Watch::all().start_revision(1).prev_kv());
    let serve = async {
        let mut stream = server.next_stream().await;
        let request: WatchRequest = stream.decode().await.unwrap();
        let Some(RequestUnion::CreateRequest(create)) = request.request_union else {
            panic!("{request:?}");
        };
        assert_eq!(
            (&create.key[..], &create.range_end[..]),
            (&b"app/\0"[..], &b"app0"[..])
        );
        let header = stream.request().header();
        let answer = |created, events| WatchResponse {
            header: Some(header),
            watch_id: create.watch_id,
            created,
            events,
            ..Default::default()
        };
        let events = [
            &b""[..],
            b"a",
            b"app/",
            b"app0",
            b"beside",
            b"app/mine",
            b"\xff",
        ];
        let event = |key| Event {
            kv: Some(pair(key)),
            ..Default::default()
        };
        let created = answer(true, vec![]);
        let events = answer(false, events.map(event).to_vec());
        stream.send(&created).await;
        stream.send(&events).await;
        stream
    };
    let both = async { tokio::join!(watch, serve) };
    let (watcher, _stream) = timeout(LIMIT, both).await.unwrap();
    let mut watcher = watcher.unwrap();
    let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
    let events = batch.unwrap().unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kv.as_ref().unwrap().key, "mine");
}
