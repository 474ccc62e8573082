//! What this client refuses, etcd refuses, and what etcd runs is not refused here.

use etcd_core::proto::etcdserverpb::{PutRequest, TxnRequest};
use etcd_core::{Client, Code, Compare, Error, EtcdError, Get, Outcome, Put, Txn};
use etcd_tests::cluster::{Prefix, Target};
use prost::Message;

/// One client with etcd's default limits, and one that leaves them to the server.
async fn clients() -> (Client, Client, Prefix) {
    let target = Target::get().await.unwrap();
    let builder = etcd_tests::builder(target.endpoints());
    let unlimited = builder.clone().max_txn_ops(0).max_request_bytes(0);
    (
        builder.connect().await.unwrap(),
        unlimited.connect().await.unwrap(),
        target.prefix(),
    )
}

fn gets(prefix: &Prefix, count: usize) -> Vec<Get> {
    vec![Get::key(prefix.key("k")); count]
}

/// A transaction with so many conditions and operations in its branches.
fn txn(prefix: &Prefix, conditions: usize, then: usize, or_else: usize) -> Txn {
    Txn::new()
        .when(vec![
            Compare::version(prefix.key("k")).equals(0);
            conditions
        ])
        .then(gets(prefix, then))
        .or_else(gets(prefix, or_else))
}

#[tokio::test]
async fn operations_are_counted_as_the_server_counts_them() {
    let (client, unlimited, prefix) = clients().await;
    let flat = |a, b, c| txn(&prefix, a, b, c);
    let within = |outer, inner: Txn| flat(0, outer, 0).then(inner);
    let rows = [
        (flat(0, 0, 0), true),
        (flat(0, 128, 0), true),
        (flat(0, 129, 0), false),
        (flat(128, 128, 128), true),
        (flat(129, 0, 0), false),
        (flat(0, 0, 129), false),
        // The transaction within takes one place, and has what its parent leaves.
        (within(27, flat(0, 100, 0)), true),
        (within(27, flat(0, 101, 0)), false),
        (within(27, flat(101, 0, 0)), false),
        (within(0, within(0, flat(0, 126, 0))), true),
        (within(0, within(0, flat(0, 127, 0))), false),
        // Where it stands does not matter, nor whether it is run.
        (flat(0, 28, 0).or_else(flat(0, 0, 100)), true),
        (flat(0, 28, 0).or_else(flat(0, 0, 101)), false),
        // The longest list counts, wherever the transaction within stands.
        (flat(100, 1, 0).then(flat(0, 28, 0)), true),
        (flat(100, 1, 0).then(flat(0, 29, 0)), false),
        // Each of two beside each other has all that is left.
        (within(0, flat(0, 126, 0)).then(flat(0, 126, 0)), true),
        (within(0, flat(0, 126, 0)).then(flat(0, 127, 0)), false),
        // No place is left, and none is needed.
        (within(127, flat(0, 0, 0)), true),
        (within(127, flat(0, 1, 0)), false),
    ];
    for (row, (txn, runs)) in rows.into_iter().enumerate() {
        let ours = client.txn(txn.clone()).await;
        let theirs = unlimited.txn(txn).await;
        if runs {
            assert!(ours.is_ok() && theirs.is_ok(), "{row}: {ours:?} {theirs:?}");
        } else {
            assert!(matches!(ours, Err(Error::InvalidRequest(_))), "{row}");
            let kind = theirs.unwrap_err().etcd();
            assert_eq!(kind, Some(EtcdError::TooManyOps), "{row}");
        }
    }
}

#[tokio::test]
async fn what_puts_a_key_twice_is_what_the_server_takes_for_it() {
    let (client, _, prefix) = clients().await;
    let endpoint = Target::get().await.unwrap().endpoints()[0].clone();
    let channel = etcd_tests::tls::channel(endpoint).await.unwrap();
    let mut bare = etcd_core::proto::etcdserverpb::kv_client::KvClient::new(channel);

    let put = || Put::new(prefix.key("k"), "v");
    let other = || Put::new(prefix.key("l"), "v");
    let both = || Txn::new().then(put()).or_else(put());
    let rows = [
        (both(), true),
        (Txn::new().then((both(), other())), true),
        (Txn::new().then(Txn::new().then((both(), other()))), true),
        (Txn::new().then([put(), put()]), false),
        (Txn::new().or_else([put(), put()]), false),
        (Txn::new().then((put(), both())), false),
        (Txn::new().then([both(), both()]), false),
        (
            Txn::new().then((Txn::new().then(put()), Txn::new().or_else(put()))),
            false,
        ),
        (Txn::new().then(Txn::new().or_else([put(), put()])), false),
    ];
    for (row, (txn, runs)) in rows.into_iter().enumerate() {
        let ours = client.txn(txn.clone()).await;
        let theirs = bare.txn(TxnRequest::from(txn)).await;
        if runs {
            assert!(ours.is_ok() && theirs.is_ok(), "{row}: {ours:?} {theirs:?}");
        } else {
            assert!(matches!(ours, Err(Error::InvalidRequest(_))), "{row}");
            let message = theirs.unwrap_err().message().to_owned();
            assert_eq!(message, "etcdserver: duplicate key given in txn request");
        }
    }
}

#[tokio::test]
async fn a_request_of_the_largest_size_is_left_to_the_server_and_a_larger_one_is_not() {
    let (client, unlimited, prefix) = clients().await;
    const LIMIT: usize = 1_572_864;
    let sized = |len: usize| {
        let empty = PutRequest::from(Put::new(prefix.key("k"), "")).encoded_len();
        // Tag and length of the value take 4 bytes at this size.
        let put = Put::new(prefix.key("k"), vec![0; len - empty - 4]);
        assert_eq!(PutRequest::from(put.clone()).encoded_len(), len);
        put
    };
    // etcd adds a few dozen bytes of its own before it compares: that part is the server's to judge.
    client.send(sized(LIMIT - 1_000)).await.unwrap();
    let by_server = client.send(sized(LIMIT)).await.unwrap_err();
    assert_eq!(by_server.etcd(), Some(EtcdError::RequestTooLarge));

    let unsent = client.send(sized(LIMIT + 1)).await.unwrap_err();
    assert!(matches!(unsent, Error::InvalidRequest(_)), "{unsent}");
    let sent = unlimited.send(sized(LIMIT + 1)).await.unwrap_err();
    assert_eq!(
        (sent.code(), sent.etcd(), sent.outcome()),
        (
            Some(Code::InvalidArgument),
            Some(EtcdError::RequestTooLarge),
            Outcome::NotApplied
        )
    );
    let kv = client.get(prefix.key("k")).await.unwrap().into_first();
    assert_eq!(kv.unwrap().version, 1);
}
