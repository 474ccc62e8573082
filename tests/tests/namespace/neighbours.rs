//! Reads and deletes, of everything and of ranges at the edges.

use bytes::Bytes;
use etcd_core::proto::etcdserverpb::response_op::Response;
use etcd_core::proto::etcdserverpb::{DeleteRangeRequest, RangeRequest, TxnResponse};
use etcd_core::proto::mvccpb::KeyValue;
use etcd_core::{Client, Compare, Delete, Get, KeyRange, Put, Txn};
use etcd_tests::versions::since;

use crate::{PREFIXES, beside, client, keys, outside, own};

/// Keys of every namespace, in their order.
const INSIDE: [&[u8]; 6] = [b"\0", b"a", b"b", b"b\xff", b"c", b"\xff\xff"];

/// Empties the cluster, then puts keys into the namespace and beside it.
async fn seed(client: &Client, prefix: &[u8]) -> (Client, Vec<KeyValue>) {
    client.delete(Delete::all()).await.unwrap();
    for key in beside(prefix) {
        client.put(key, "a neighbour's").await.unwrap();
    }
    let inside = client.namespace(prefix);
    for key in INSIDE {
        inside.put(key, "mine").await.unwrap();
    }
    let neighbours = outside(client, prefix).await;
    assert_eq!(neighbours.len(), beside(prefix).len());
    (inside, neighbours)
}

#[tokio::test]
async fn a_read_of_everything_is_a_read_of_the_namespace() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        let (inside, neighbours) = seed(&client, prefix).await;
        let rows: [(Get, &[&[u8]]); 8] = [
            (Get::all(), &INSIDE),
            (Get::prefix(""), &INSIDE),
            (Get::from_key(""), &INSIDE),
            (Get::from_key("b"), &INSIDE[2..]),
            (Get::prefix([0xff]), &INSIDE[5..]),
            (Get::prefix("b"), &INSIDE[2..4]),
            (Get::range("", "b"), &INSIDE[..2]),
            (Get::key("c"), &INSIDE[4..5]),
        ];
        for (get, expected) in rows {
            let reply = inside.get(get.clone()).await.unwrap();
            assert_eq!(keys(&reply.kvs), expected, "{get:?} in {prefix:?}");
            assert_eq!(reply.count, expected.len() as i64);
            assert!(reply.kvs.iter().all(|kv| kv.value == "mine"));
        }
        assert_eq!(inside.get(Get::all().count_only()).await.unwrap().count, 6);
        assert_eq!(outside(&client, prefix).await, neighbours);
    }
}

#[tokio::test]
async fn a_read_in_pieces_is_confined_too() {
    let (cluster, client) = own().await;
    let version = cluster.version(0).await.unwrap();
    for prefix in PREFIXES {
        let (inside, neighbours) = seed(&client, prefix).await;
        let pieces = inside.range_stream(Get::all()).await;
        let Some(mut pieces) = since((3, 7), version, "RangeStream", pieces) else {
            return;
        };
        let mut kvs = Vec::new();
        while let Some(piece) = pieces.try_next().await.unwrap() {
            kvs.extend(piece.kvs);
        }
        assert_eq!(keys(&kvs), INSIDE, "in {prefix:?}");
        assert_eq!(outside(&client, prefix).await, neighbours);
    }
}

#[tokio::test]
async fn a_delete_of_everything_is_a_delete_of_the_namespace() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        for (delete, expected) in [
            (Delete::all(), &INSIDE[..]),
            (Delete::from_key("\0"), &INSIDE[..]),
            (Delete::from_key("b"), &INSIDE[2..]),
            (Delete::prefix([0xff]), &INSIDE[5..]),
            (Delete::range("", "b"), &INSIDE[..2]),
            (Delete::range("c", "b"), &[]),
            (Delete::key("c"), &INSIDE[4..5]),
        ] {
            let (inside, neighbours) = seed(&client, prefix).await;
            let reply = inside.delete(delete.clone().prev_kv()).await.unwrap();
            assert_eq!(keys(&reply.prev_kvs), expected, "{delete:?} in {prefix:?}");
            assert_eq!(reply.deleted, expected.len() as i64);
            let left = inside.get(Get::all()).await.unwrap().count;
            assert_eq!(left, 6 - expected.len() as i64);
            assert_eq!(outside(&client, prefix).await, neighbours, "{delete:?}");
        }
    }
}

/// The keys in the answer to an operation of a transaction; of the first one within, if it is a transaction itself.
fn answered(reply: &TxnResponse, at: usize) -> Vec<Bytes> {
    match reply.responses[at].response.as_ref().unwrap() {
        Response::ResponseRange(range) => keys(&range.kvs),
        Response::ResponsePut(put) => keys(put.prev_kv.as_slice()),
        Response::ResponseDeleteRange(delete) => keys(&delete.prev_kvs),
        Response::ResponseTxn(txn) => answered(txn, 0),
    }
}

#[tokio::test]
async fn a_transaction_compares_reads_and_deletes_in_the_namespace_only() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        let (inside, neighbours) = seed(&client, prefix).await;
        // No key beside it has this value, and every key inside: true only if no other is looked at.
        let all_mine = || Compare::value(KeyRange::all()).equals("mine");
        let txn = Txn::new()
            .when([
                all_mine(),
                Compare::value(KeyRange::from_key("b")).equals("mine"),
            ])
            .when(Compare::version("missing").equals(0))
            .then((
                Txn::new()
                    .when(all_mine())
                    .then(Delete::from_key("c").prev_kv())
                    .or_else(Put::new("wrong", "branch")),
                Put::new("a", "changed").prev_kv(),
                Delete::prefix("b").prev_kv(),
                Get::all(),
            ))
            .or_else(Put::new("wrong", "branch"));
        let reply = inside.txn(txn).await.unwrap();
        assert!(reply.succeeded, "in {prefix:?}");
        assert_eq!(answered(&reply, 0), INSIDE[4..]);
        assert_eq!(answered(&reply, 1), ["a"]);
        assert_eq!(answered(&reply, 2), INSIDE[2..4]);
        assert_eq!(answered(&reply, 3), INSIDE[..2]);
        assert_eq!(outside(&client, prefix).await, neighbours);
    }
}

#[tokio::test]
async fn the_messages_of_the_schema_are_confined_as_well() {
    let (_cluster, client) = own().await;
    for prefix in PREFIXES {
        let (inside, neighbours) = seed(&client, prefix).await;
        let everything = RangeRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            ..Default::default()
        };
        let read = inside.send(everything).await.unwrap();
        assert_eq!(keys(&read.kvs), INSIDE);
        let everything = DeleteRangeRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            prev_kv: true,
        };
        assert_eq!(inside.send(everything).await.unwrap().deleted, 6);
        assert_eq!(outside(&client, prefix).await, neighbours);
    }
}

#[tokio::test]
async fn namespaces_nest_and_keep_what_the_view_says_besides() {
    let (client, prefix) = client().await;
    let app = client.namespace(&*prefix).idempotent().namespace("app/");
    let cache = app.namespace("").namespace(b"cache/");
    cache.put("k", "v").await.unwrap();
    app.put("k", "w").await.unwrap();
    for (view, key) in [
        (&client, prefix.key("app/cache/k")),
        (&client.namespace(prefix.key("app/")), "cache/k".to_owned()),
        (&app, "cache/k".to_owned()),
        (&cache, "k".to_owned()),
    ] {
        let kv = view.get(&key).await.unwrap().into_first().unwrap();
        assert_eq!(
            (kv.value_str().unwrap(), kv.key_str().unwrap()),
            ("v", &*key)
        );
    }
    assert_eq!(cache.delete(Delete::all()).await.unwrap().deleted, 1);
    assert_eq!(app.get(Get::all()).await.unwrap().count, 1);
    let pinned = app.endpoint("http://127.0.0.1:1").namespace("x");
    assert!(
        pinned.get("k").await.is_err(),
        "it is still a view of an endpoint"
    );
}

#[tokio::test]
async fn an_empty_namespace_is_the_client_itself() {
    let (client, prefix) = client().await;
    let same = client.namespace("");
    same.put(prefix.key("k"), "v").await.unwrap();
    let kv = client.get(prefix.key("k")).await.unwrap().into_first();
    assert_eq!(kv.unwrap().value, "v");
    assert_eq!(format!("{same:?}"), format!("{client:?}"));
}
