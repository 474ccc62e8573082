//! Conditions: on each target, with each operator, on one key and on ranges.

use etcd_core::proto::etcdserverpb::LeaseGrantRequest;
use etcd_core::{Client, Compare, KeyRange, Put, Txn};

use crate::client;

async fn holds(client: &Client, compare: Compare) -> bool {
    client
        .txn(Txn::new().when(compare))
        .await
        .unwrap()
        .succeeded
}

#[tokio::test]
async fn each_target_is_compared_with_each_operator() {
    let (client, prefix) = client().await;
    let grant = LeaseGrantRequest {
        ttl: 60,
        ..Default::default()
    };
    let lease = client.send(grant).await.unwrap().id;
    let key = prefix.key("k");
    let created = client.put(&key, "1").await.unwrap().revision();
    client.put(&key, "2").await.unwrap();
    let put = Put::new(&key, "m").lease(lease);
    let modified = client.send(put).await.unwrap().revision();

    let numbers = [
        ("version", Compare::version as fn(String) -> _, 3),
        ("create", Compare::create_revision, created),
        ("mod", Compare::mod_revision, modified),
        ("lease", Compare::lease, lease),
    ];
    for (target, operand, is) in numbers {
        for (than, [equal, not_equal, greater, less]) in [
            (is - 1, [false, true, true, false]),
            (is, [true, false, false, false]),
            (is + 1, [false, true, false, true]),
        ] {
            let of = || operand(key.clone());
            let found = [
                holds(&client, of().equals(than)).await,
                holds(&client, of().not_equals(than)).await,
                holds(&client, of().greater(than)).await,
                holds(&client, of().less(than)).await,
            ];
            assert_eq!(found, [equal, not_equal, greater, less], "{target} {than}");
        }
    }
    for (than, expected) in [
        ("l", [false, true, true, false]),
        ("m", [true, false, false, false]),
        ("ma", [false, true, false, true]),
    ] {
        let of = || Compare::value(&*key);
        let found = [
            holds(&client, of().equals(than)).await,
            holds(&client, of().not_equals(than)).await,
            holds(&client, of().greater(than)).await,
            holds(&client, of().less(than)).await,
        ];
        assert_eq!(found, expected, "value {than}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_has_version_revisions_and_lease_zero_and_no_value() {
    let (client, prefix) = client().await;
    let key = prefix.key("missing");
    for compare in [
        Compare::version(&*key).equals(0),
        Compare::create_revision(&*key).equals(0),
        Compare::mod_revision(&*key).less(1),
        Compare::lease(&*key).not_equals(7),
    ] {
        assert!(holds(&client, compare.clone()).await, "{compare:?}");
    }
    for compare in [
        Compare::value(&*key).equals(""),
        Compare::value(&*key).not_equals("v"),
        Compare::version(&*key).greater(0),
    ] {
        assert!(!holds(&client, compare.clone()).await, "{compare:?}");
    }
}

#[tokio::test]
async fn a_condition_on_a_range_holds_when_it_holds_for_every_key() {
    let (client, prefix) = client().await;
    for name in ["r/a", "r/b", "r/c"] {
        client.put(prefix.key(name), "other").await.unwrap();
    }
    client.put(prefix.key("s"), "x").await.unwrap();
    let txn = || {
        Txn::new()
            .when(Compare::value(KeyRange::prefix(prefix.key("r/"))).not_equals("x"))
            .then(Put::new(prefix.key("took"), "then"))
            .or_else(Put::new(prefix.key("took"), "else"))
    };
    assert!(client.txn(txn()).await.unwrap().succeeded, "all differ");
    client.put(prefix.key("r/b"), "x").await.unwrap();
    assert!(!client.txn(txn()).await.unwrap().succeeded, "one is x");
    assert_eq!(
        crate::value(&client, prefix.key("took")).await.unwrap(),
        "else"
    );

    let to_end = Compare::version(KeyRange::range(prefix.key("r/"), prefix.key("r0")));
    assert!(holds(&client, to_end.clone().less(3)).await);
    assert!(!holds(&client, to_end.less(2)).await, "r/b was put twice");
}

/// On every number an empty range is like a missing key; on a value nothing holds.
#[tokio::test]
async fn a_range_without_keys_is_like_a_missing_key() {
    let (client, prefix) = client().await;
    let range = || KeyRange::prefix(prefix.key("none/"));
    assert!(holds(&client, Compare::version(range()).equals(0)).await);
    assert!(!holds(&client, Compare::version(range()).greater(0)).await);
    assert!(!holds(&client, Compare::value(range()).not_equals("x")).await);
}
