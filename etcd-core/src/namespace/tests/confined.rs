//! Whatever is asked under a namespace is answered, and done, as if its keys were the only ones there are.

use etcd_proto::etcdserverpb::compare::{CompareResult, TargetUnion};
use etcd_proto::etcdserverpb::request_op::Request;
use etcd_proto::etcdserverpb::{DeleteRangeRequest, RequestOp};
use proptest::prelude::*;

use super::store::{Store, selects};
use super::*;

/// Few byte values, so that keys share prefixes and meet both ends of the alphabet.
fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xfe), Just(0xff)];
    prop::collection::vec(byte, length).prop_map(Bytes::from)
}

fn key() -> impl Strategy<Value = Bytes> {
    bytes(1..4)
}

/// `key` and `range_end` as on the wire: also backwards, and with ends that look like the sign for none.
fn range() -> impl Strategy<Value = (Bytes, Bytes)> {
    range_of(key().boxed())
}

fn range_of(keys: BoxedStrategy<Bytes>) -> impl Strategy<Value = (Bytes, Bytes)> {
    let end = prop_oneof![Just(Bytes::new()), Just(NUL), bytes(1..4)];
    (keys, end)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(Bytes::from("v")), Just(Bytes::from("w"))]
}

fn compare(keys: BoxedStrategy<Bytes>) -> impl Strategy<Value = Compare> {
    (range_of(keys), prop::option::of(value()), any::<bool>()).prop_map(
        |((key, range_end), value, equal)| {
            let result = if equal {
                CompareResult::Equal
            } else {
                CompareResult::NotEqual
            };
            Compare {
                key,
                range_end,
                result: result.into(),
                target_union: Some(value.map_or(TargetUnion::Version(0), TargetUnion::Value)),
                ..Default::default()
            }
        },
    )
}

fn op(keys: BoxedStrategy<Bytes>) -> impl Strategy<Value = Request> {
    let get = range_of(keys.clone()).prop_map(|(key, range_end)| {
        Request::RequestRange(RangeRequest {
            key,
            range_end,
            ..Default::default()
        })
    });
    let put = (keys.clone(), value()).prop_map(|(key, value)| {
        Request::RequestPut(PutRequest {
            key,
            value,
            prev_kv: true,
            ..Default::default()
        })
    });
    let delete = range_of(keys).prop_map(|(key, range_end)| {
        Request::RequestDeleteRange(DeleteRangeRequest {
            key,
            range_end,
            prev_kv: true,
        })
    });
    prop_oneof![get, put, delete]
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    txn_over(key().boxed())
}

fn txn_over(keys: BoxedStrategy<Bytes>) -> impl Strategy<Value = TxnRequest> {
    let compares = prop::collection::vec(compare(keys.clone()), 0..3).boxed();
    let of = move |op: BoxedStrategy<Request>| {
        let ops = move || {
            let op = op.clone().prop_map(|request| RequestOp {
                request: Some(request),
            });
            prop::collection::vec(op, 0..3)
        };
        (compares.clone(), ops(), ops()).prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
    };
    let nested = of(op(keys.clone()).boxed()).prop_map(Request::RequestTxn);
    of(prop_oneof![3 => op(keys), 1 => nested].boxed())
}

/// Is every key in it a key?
fn has_keys(txn: &TxnRequest) -> bool {
    let ops = txn.success.iter().chain(&txn.failure);
    let mut keys = ops.map(|op| match &op.request {
        Some(Request::RequestRange(range)) => !range.key.is_empty(),
        Some(Request::RequestPut(put)) => !put.key.is_empty(),
        Some(Request::RequestDeleteRange(delete)) => !delete.key.is_empty(),
        Some(Request::RequestTxn(txn)) => has_keys(txn),
        None => true,
    });
    keys.all(|has| has) && txn.compare.iter().all(|compare| !compare.key.is_empty())
}

/// A prefix, and keys that are mostly under it or just beside it.
fn world() -> impl Strategy<Value = (Bytes, Store)> {
    (
        bytes(0..4),
        prop::collection::vec((bytes(0..4), 0..6u8), 0..16),
    )
        .prop_map(|(prefix, keys)| {
            let mut store = Store::default();
            for (rest, kind) in keys {
                let near = match kind {
                    0 => rest.to_vec(),
                    1 => prefix_end(&prefix).to_vec(),
                    2 => prefix[..prefix.len().saturating_sub(1)].to_vec(),
                    _ => [&prefix[..], &rest].concat(),
                };
                if !near.is_empty() {
                    store.0.insert(near.into(), "v".into());
                }
            }
            (prefix, store)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_transaction_sees_and_touches_only_what_is_inside((prefix, mut store) in world(), txn in txn()) {
        let (mut inside, outside) = store.split(&prefix);
        let expected = inside.run(&txn);

        let mut sent = txn;
        let namespace = Namespace::within(None, &prefix);
        if let Some(namespace) = &namespace {
            namespace.enter(TxnRequest::PATH, &mut sent).unwrap();
        }
        let mut reply = store.run(&sent);
        if let Some(namespace) = &namespace {
            namespace.leave(TxnRequest::PATH, &mut reply).unwrap();
        }

        prop_assert_eq!(reply, expected);
        prop_assert_eq!(store.split(&prefix), (inside, outside));
    }

    /// With the prefix it would be the one key that is just outside.
    #[test]
    fn a_transaction_with_an_empty_key_anywhere_is_refused_and_no_other_is(
        prefix in bytes(1..4), mut txn in txn_over(bytes(0..3).boxed())
    ) {
        let has_keys = has_keys(&txn);
        let entered = namespace(&prefix).enter(TxnRequest::PATH, &mut txn);
        prop_assert_eq!(entered.is_ok(), has_keys);
    }

    /// The names of locks and elections may be empty: etcd makes keys of them.
    #[test]
    fn the_keys_of_locks_and_elections_come_back_as_they_are_sent_or_not_at_all(
        prefix in bytes(1..4), name in bytes(0..4), key in bytes(0..7)
    ) {
        let namespace = namespace(&prefix);
        let mut lock = LockRequest { name: name.clone(), lease: 7 };
        namespace.enter(LockRequest::PATH, &mut lock).unwrap();
        prop_assert_eq!(&lock.name, &[&prefix[..], &name].concat());

        let mut locked = LockResponse { key: key.clone(), ..Default::default() };
        let inside = key.starts_with(&prefix) && key != prefix;
        prop_assert_eq!(namespace.leave(LockRequest::PATH, &mut locked).is_ok(), inside);
        if inside {
            let mut unlock = UnlockRequest { key: locked.key };
            namespace.enter(UnlockRequest::PATH, &mut unlock).unwrap();
            prop_assert_eq!(&unlock.key, &key);
            let mut won = elected(lock.name.clone(), key.clone());
            namespace.leave(CampaignRequest::PATH, &mut won).unwrap();
            prop_assert_eq!(&won.leader.as_ref().unwrap().name, &name);
            let mut resign = ResignRequest { leader: won.leader };
            namespace.enter(ResignRequest::PATH, &mut resign).unwrap();
            prop_assert_eq!(resign.leader, elected(lock.name, key).leader);
        }
    }

    #[test]
    fn a_range_holds_the_same_keys_as_without_the_prefix(
        prefix in bytes(1..4), range in range(), key in bytes(0..7)
    ) {
        let mapped = namespace(&prefix).range(&KeyRange::from_parts(range.0.clone(), range.1.clone()));
        let expected = key
            .strip_prefix(&prefix[..])
            .is_some_and(|rest| !rest.is_empty() && selects(&range.0, &range.1, rest));
        prop_assert_eq!(selects(mapped.start(), mapped.end(), &key), expected);
        prop_assert_eq!(mapped.contains(&key), expected);
    }

    #[test]
    fn a_namespace_within_another_is_the_namespace_of_both_prefixes(
        outer in bytes(0..3), inner in bytes(0..3), txn in txn()
    ) {
        let nested = Namespace::within(Namespace::within(None, &outer).as_ref(), &inner);
        let flat = Namespace::within(None, &[&outer[..], &inner].concat());
        prop_assert_eq!(&nested, &flat);
        // Both prefixes one after the other come to the same: a view of a view is no special case.
        let (mut at_once, mut in_turn) = (txn.clone(), txn);
        if let Some(flat) = flat {
            flat.enter(TxnRequest::PATH, &mut at_once).unwrap();
        }
        for prefix in [inner, outer] {
            if let Some(namespace) = Namespace::within(None, &prefix) {
                namespace.enter(TxnRequest::PATH, &mut in_turn).unwrap();
            }
        }
        prop_assert_eq!(at_once, in_turn);
    }

    #[test]
    fn a_key_comes_back_as_it_went_or_not_at_all(prefix in bytes(1..4), key in bytes(0..7)) {
        let namespace = namespace(&prefix);
        let mut reply = RangeResponse { kvs: vec![pair(&key)], ..Default::default() };
        match namespace.leave(RangeRequest::PATH, &mut reply) {
            Ok(()) => {
                prop_assert!(!reply.kvs[0].key.is_empty());
                prop_assert_eq!([&prefix[..], &reply.kvs[0].key].concat(), key);
            }
            Err(Foreign) => prop_assert!(!key.starts_with(&prefix) || key == prefix),
        }
    }
}
