//! Transactions that etcd refuses: by this client before they are sent where that is certain, else by the server, typed.

use etcd_core::proto::etcdserverpb::{CompactionRequest, TxnRequest};
use etcd_core::{Code, Compare, Delete, Error, EtcdError, Get, Outcome, Put, Txn};
use etcd_tests::cluster::{Prefix, Target};

use crate::{client, value};

fn puts(prefix: &Prefix, count: usize) -> Vec<Put> {
    (0..count)
        .map(|n| Put::new(prefix.key(format!("{n:03}")), "v"))
        .collect()
}

fn assert_refused_unsent(error: &Error, reason: &str) {
    assert!(
        matches!(error, Error::InvalidRequest(text) if text.contains(reason)),
        "{error}"
    );
    assert_eq!(error.outcome(), Outcome::NotApplied);
}

#[tokio::test]
async fn a_transaction_of_128_operations_runs_and_one_of_129_is_refused() {
    let (client, prefix) = client().await;
    let txn = |count| Txn::new().then(puts(&prefix, count));
    let reply = client.txn(txn(128)).await.unwrap();
    let all = Get::prefix(&*prefix).min_mod_revision(reply.revision());
    assert_eq!(client.get(all).await.unwrap().kvs.len(), 128);

    client.delete(Delete::prefix(&*prefix)).await.unwrap();
    let error = client.txn(txn(129)).await.unwrap_err();
    assert_refused_unsent(&error, "max_txn_ops, 128");

    // The server says the same.
    let endpoints = Target::get().await.unwrap().endpoints().to_vec();
    let unlimited = etcd_tests::builder(endpoints).max_txn_ops(0);
    let unlimited = unlimited.connect().await.unwrap();
    let error = unlimited.txn(txn(129)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.etcd(), error.outcome()),
        (
            Some(Code::InvalidArgument),
            Some(EtcdError::TooManyOps),
            Outcome::NotApplied
        )
    );
    assert_eq!(client.get(Get::prefix(&*prefix)).await.unwrap().count, 0);
}

#[tokio::test]
async fn no_key_is_put_twice() {
    let (client, prefix) = client().await;
    let put = || Put::new(prefix.key("k"), "v");
    let error = client.txn(Txn::new().then([put(), put()])).await;
    assert_refused_unsent(&error.unwrap_err(), "twice");

    // In branches that exclude each other it can be.
    let either = Txn::new().then(put()).or_else(put());
    client.txn(either).await.unwrap();
}

/// Which ranges overlap is left to the server.
#[tokio::test]
async fn no_key_is_put_and_deleted_at_once() {
    let (client, prefix) = client().await;
    let txn = Txn::new().then((
        Put::new(prefix.key("k"), "v"),
        Delete::prefix(prefix.key("")),
    ));
    let error = client.txn(txn).await.unwrap_err();
    assert_eq!(
        (error.code(), error.etcd(), error.outcome()),
        (
            Some(Code::InvalidArgument),
            Some(EtcdError::DuplicateKey),
            Outcome::NotApplied
        )
    );
    assert_eq!(value(&client, prefix.key("k")).await, None);
}

/// One operation that fails, here a read of the future, fails all.
#[tokio::test]
async fn a_transaction_that_fails_changes_nothing() {
    let (client, prefix) = client().await;
    let now = client.put(prefix.key("a"), "1").await.unwrap().revision();
    let txn = Txn::new().then((
        Put::new(prefix.key("a"), "2"),
        Get::key(prefix.key("a")).revision(now + 1_000_000),
    ));
    let error = client.txn(txn).await.unwrap_err();
    assert!(error.is_future_revision(), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(value(&client, prefix.key("a")).await.unwrap(), "1");
}

#[tokio::test]
async fn keys_must_not_be_empty_wherever_they_stand() {
    let (client, prefix) = client().await;
    for txn in [
        Txn::new().when(Compare::version("").equals(0)),
        Txn::new().then(Put::new("", "v")),
        Txn::new().or_else(Get::key("")),
        Txn::new().then(Txn::new().or_else(Delete::prefix(""))),
        Txn::new().then((Put::new(prefix.key("k"), "v"), Put::new("", "v"))),
    ] {
        assert_refused_unsent(&client.txn(txn).await.unwrap_err(), "empty");
    }
    assert_eq!(value(&client, prefix.key("k")).await, None);
}

#[tokio::test]
async fn generated_messages_are_sent_like_values() {
    let (client, prefix) = client().await;
    let txn = Txn::new().then(Put::new(prefix.key("k"), "v"));
    assert!(client.send(TxnRequest::from(txn)).await.unwrap().succeeded);
    assert_eq!(value(&client, prefix.key("k")).await.unwrap(), "v");

    let compaction = CompactionRequest {
        revision: i64::MAX,
        physical: false,
    };
    let error = client.send(compaction).await.unwrap_err();
    assert!(error.is_future_revision(), "{error}");
}
