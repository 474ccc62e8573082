//! What a transaction does when it is run.

use etcd_core::proto::etcdserverpb::TxnResponse;
use etcd_core::proto::etcdserverpb::response_op::Response;
use etcd_core::{Compare, Delete, Get, Put, Txn};

use crate::{answers, client, value};

#[tokio::test]
async fn a_compare_and_swap_on_a_stale_revision_fails_and_on_a_fresh_one_succeeds() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    let stale = client.put(&key, "one").await.unwrap().revision();
    let fresh = client.put(&key, "two").await.unwrap().revision();
    let swap = |revision| {
        Txn::new()
            .when(Compare::mod_revision(&*key).equals(revision))
            .then(Put::new(&key, "three").prev_kv())
            .or_else(Get::key(&key))
    };

    let lost = client.txn(swap(stale)).await.unwrap();
    assert!(!lost.succeeded);
    let [Response::ResponseRange(found)] = &answers(lost)[..] else {
        panic!("the other branch was run");
    };
    assert_eq!(found.first().unwrap().mod_revision, fresh);
    assert_eq!(value(&client, key.clone()).await.unwrap(), "two");

    let won = client.txn(swap(fresh)).await.unwrap();
    assert!(won.succeeded);
    let [Response::ResponsePut(put)] = &answers(won)[..] else {
        panic!("the other branch was run");
    };
    assert_eq!(put.prev_kv.as_ref().unwrap().value, "two");
    assert_eq!(value(&client, key.clone()).await.unwrap(), "three");
}

#[tokio::test]
async fn operations_run_in_order_at_one_revision_and_see_each_other() {
    let (client, prefix) = client().await;
    let before = client.put(prefix.key("old"), "v").await.unwrap().revision();
    let txn = Txn::new().then((
        Get::key(prefix.key("a")),
        Put::new(prefix.key("a"), "1"),
        Get::key(prefix.key("a")),
        Put::new(prefix.key("b"), "2"),
        Delete::key(prefix.key("old")).prev_kv(),
        Get::prefix(&*prefix),
    ));
    let reply = client.txn(txn).await.unwrap();
    assert!(reply.succeeded, "without a condition");
    let revision = reply.revision();
    assert!(revision > before);
    let [
        Response::ResponseRange(first),
        Response::ResponsePut(_),
        Response::ResponseRange(second),
        Response::ResponsePut(_),
        Response::ResponseDeleteRange(deleted),
        Response::ResponseRange(all),
    ] = &answers(reply)[..]
    else {
        panic!("answers of other kinds");
    };
    assert_eq!(first.count, 0);
    assert_eq!(second.first().unwrap().value, "1");
    assert_eq!(deleted.prev_kvs[0].value, "v");
    let revisions: Vec<_> = all.kvs.iter().map(|kv| kv.mod_revision).collect();
    assert_eq!(revisions, [revision, revision]);
}

#[tokio::test]
async fn every_condition_must_hold() {
    let (client, prefix) = client().await;
    client.put(prefix.key("a"), "1").await.unwrap();
    let a = || Compare::value(prefix.key("a")).equals("1");
    let b = |version| Compare::version(prefix.key("b")).equals(version);
    for (b, holds) in [(b(0), true), (b(1), false)] {
        let txn = Txn::new().when([a(), b]);
        let reply = client.txn(txn).await.unwrap();
        assert_eq!((reply.succeeded, reply.responses.len()), (holds, 0));
    }
}

/// A transaction in a transaction: on each level, in both branches, the conditions choose.
#[tokio::test]
async fn a_transaction_within_a_transaction_chooses_for_itself() {
    let (client, prefix) = client().await;
    client.put(prefix.key("outer"), "yes").await.unwrap();
    let branch = |level: &str, then: &str, or_else: &str| {
        Txn::new()
            .when(Compare::value(prefix.key(level)).equals("yes"))
            .then(Put::new(prefix.key("took"), then))
            .or_else(Put::new(prefix.key("took"), or_else))
    };
    let outer = Txn::new()
        .when(Compare::value(prefix.key("outer")).equals("yes"))
        .then((
            Put::new(prefix.key("beside"), "1"),
            branch("inner", "then then", "then else"),
        ))
        .or_else(branch("inner", "else then", "else else"));

    for (level, put, took, succeeded) in [
        ("inner", "no", "then else", [true, false]),
        ("inner", "yes", "then then", [true, true]),
        ("outer", "no", "else then", [false, true]),
        ("inner", "no", "else else", [false, false]),
    ] {
        client.put(prefix.key(level), put).await.unwrap();
        let reply = client.txn(outer.clone()).await.unwrap();
        let outer_succeeded = reply.succeeded;
        let Some(Response::ResponseTxn(inner)) = answers(reply).pop() else {
            panic!("the last operation is a transaction");
        };
        assert_eq!([outer_succeeded, inner.succeeded], succeeded);
        assert_eq!(value(&client, prefix.key("took")).await.unwrap(), took);
    }
}

#[tokio::test]
async fn a_transaction_of_reads_changes_nothing() {
    let (client, prefix) = client().await;
    let put = client.put(prefix.key("k"), "v").await.unwrap();
    let txn = Txn::new()
        .when(Compare::create_revision(prefix.key("k")).equals(put.revision()))
        .then([Get::key(prefix.key("k")), Get::prefix(&*prefix)]);
    assert!(txn.is_read_only());
    let TxnResponse {
        succeeded,
        responses,
        ..
    } = client.txn(txn).await.unwrap();
    assert!(succeeded && responses.len() == 2);
    let kv = client.get(prefix.key("k")).await.unwrap().into_first();
    assert_eq!(kv.unwrap().version, 1);
}
