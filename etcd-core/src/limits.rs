//! Whether etcd would refuse a request, known before it is sent.
//!
//! A request is refused here only if every etcd refuses it, in the way that etcd's own check counts.

use std::any::Any;
use std::collections::HashSet;

use etcd_proto::etcdserverpb::request_op::Request as Op;
use etcd_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::error::{Error, Result};
use crate::range::check_key;

/// Limits that etcd's operator can set and that this client should know. 0 leaves the check to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// etcd's `--max-txn-ops`.
    pub(crate) max_txn_ops: usize,
    /// etcd's `--max-request-bytes`.
    pub(crate) max_request_bytes: usize,
}

impl Default for Limits {
    /// etcd's defaults.
    fn default() -> Self {
        Self {
            max_txn_ops: 128,
            max_request_bytes: 1_572_864,
        }
    }
}

/// Refuses a message that is longer than etcd takes.
pub(crate) fn check_len(encoded_len: usize, limits: &Limits) -> Result<()> {
    let max = limits.max_request_bytes;
    if max != 0 && encoded_len > max {
        return Err(Error::invalid_request(format!(
            "{encoded_len} bytes are more than max_request_bytes, {max}"
        )));
    }
    Ok(())
}

/// Refuses a message that etcd would refuse for what is in it.
pub(crate) fn check(wire: &dyn Any, limits: &Limits) -> Result<()> {
    if let Some(range) = wire.downcast_ref::<RangeRequest>() {
        check_key(&range.key)
    } else if let Some(put) = wire.downcast_ref::<PutRequest>() {
        check_put(put)
    } else if let Some(delete) = wire.downcast_ref::<DeleteRangeRequest>() {
        check_key(&delete.key)
    } else if let Some(txn) = wire.downcast_ref::<TxnRequest>() {
        let max = limits.max_txn_ops;
        check_txn(txn, if max == 0 { usize::MAX } else { max }, max)?;
        put_keys(&txn.success).and(put_keys(&txn.failure)).map(drop)
    } else {
        Ok(())
    }
}

fn check_put(put: &PutRequest) -> Result<()> {
    check_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::invalid_request(
            "a put with ignore_value has a value",
        ));
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::invalid_request(
            "a put with ignore_lease has a lease",
        ));
    }
    Ok(())
}

/// As etcd counts: the longest of the three lists may take up the budget; a transaction within has what is left of it.
fn check_txn(txn: &TxnRequest, budget: usize, max: usize) -> Result<()> {
    let longest = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    let Some(left) = budget.checked_sub(longest) else {
        return Err(Error::invalid_request(format!(
            "more operations in the transaction than max_txn_ops, {max}"
        )));
    };
    for compare in &txn.compare {
        check_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Op::RequestRange(range)) => check_key(&range.key)?,
            Some(Op::RequestPut(put)) => check_put(put)?,
            Some(Op::RequestDeleteRange(delete)) => check_key(&delete.key)?,
            Some(Op::RequestTxn(txn)) => check_txn(txn, left, max)?,
            None => {
                return Err(Error::invalid_request(
                    "an operation of the transaction is empty",
                ));
            }
        }
    }
    Ok(())
}

/// The keys that these operations put, no key twice. The two branches of a transaction within may put the same key.
fn put_keys(ops: &[RequestOp]) -> Result<HashSet<&[u8]>> {
    let mut keys = HashSet::new();
    for op in ops {
        match &op.request {
            Some(Op::RequestPut(put)) => add(&mut keys, &put.key)?,
            Some(Op::RequestTxn(txn)) => {
                let mut of_either = put_keys(&txn.success)?;
                of_either.extend(put_keys(&txn.failure)?);
                for key in of_either {
                    add(&mut keys, key)?;
                }
            }
            Some(Op::RequestRange(_) | Op::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(keys)
}

fn add<'a>(keys: &mut HashSet<&'a [u8]>, key: &'a [u8]) -> Result<()> {
    if keys.insert(key) {
        return Ok(());
    }
    Err(Error::invalid_request(format!(
        "the transaction puts the key \"{}\" twice",
        key.escape_ascii()
    )))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::compare::Compare;
    use crate::kv::{Delete, Get, Put};
    use crate::request::Request;
    use crate::txn::{IntoOps, Txn};

    fn check_of(request: impl Request) -> Result<(), String> {
        check_with(request, &Limits::default())
    }

    fn check_with(request: impl Request, limits: &Limits) -> Result<(), String> {
        let wire = request.into_wire().unwrap();
        match check_len(wire.encoded_len(), limits).and_then(|()| check(&wire, limits)) {
            Ok(()) => Ok(()),
            Err(Error::InvalidRequest(reason)) => Err(reason.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    /// A request of any kind is also checked where it stands within a transaction.
    fn refused(request: impl Request + IntoOps + Clone, reason: &str) {
        let nested = Txn::new().or_else(Txn::new().then(request.clone()));
        for error in [
            check_of(request).unwrap_err(),
            check_of(nested).unwrap_err(),
        ] {
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_request_without_a_key_is_refused() {
        refused(Get::key(""), "empty");
        refused(Get::range("a", ""), "empty");
        refused(Put::new("", "v"), "empty");
        refused(Delete::key(""), "empty");
        refused(Delete::prefix(""), "all()");
        refused(Txn::new().when(Compare::version("").equals(0)), "empty");
        for valid in [
            check_of(Get::all()),
            check_of(Get::prefix("")),
            check_of(Delete::all()),
            check_of(Put::new("k", "")),
        ] {
            assert_eq!(valid, Ok(()));
        }
    }

    #[test]
    fn a_put_that_contradicts_itself_is_refused() {
        refused(Put::new("k", "v").ignore_value(), "ignore_value");
        refused(Put::new("k", "v").lease(1).ignore_lease(), "ignore_lease");
        assert_eq!(check_of(Put::new("k", "").lease(1).ignore_value()), Ok(()));
        assert_eq!(check_of(Put::new("k", "v").ignore_lease()), Ok(()));
    }

    fn gets(n: usize) -> Vec<Get> {
        vec![Get::key("k"); n]
    }

    fn conditions(n: usize) -> Vec<Compare> {
        vec![Compare::version("k").equals(0); n]
    }

    #[test]
    fn operations_are_counted_as_etcd_counts_them() {
        let txn = |compare, success, failure| {
            Txn::new()
                .when(conditions(compare))
                .then(gets(success))
                .or_else(gets(failure))
        };
        // The longest of the three lists counts, not their sum.
        assert_eq!(check_of(txn(128, 128, 128)), Ok(()));
        for too_many in [txn(129, 0, 0), txn(0, 129, 0), txn(0, 0, 129)] {
            assert!(check_of(too_many).unwrap_err().contains("max_txn_ops, 128"));
        }
        // A transaction within has what its parent leaves: 128 - 28 - 1.
        let within = |inner| Txn::new().then(gets(28)).then(inner);
        assert_eq!(check_of(within(txn(99, 99, 99))), Ok(()));
        assert!(check_of(within(txn(0, 0, 100))).is_err());
        // Siblings do not share: each has the whole rest.
        assert_eq!(
            check_of(Txn::new().then([txn(0, 126, 0), txn(0, 126, 0)])),
            Ok(())
        );
        assert!(check_of(Txn::new().then([txn(0, 126, 0), txn(0, 127, 0)])).is_err());
        let limits = |max_txn_ops| Limits {
            max_txn_ops,
            ..Limits::default()
        };
        assert!(check_with(txn(0, 3, 0), &limits(2)).is_err());
        assert_eq!(
            check_with(txn(1_000, 1_000, 0), &limits(0)),
            Ok(()),
            "0 leaves it to the server"
        );
    }

    #[test]
    fn a_transaction_puts_no_key_twice_except_in_branches_that_exclude_each_other() {
        let put = || Put::new("k", "v");
        let both = || Txn::new().then(put()).or_else(put());
        for valid in [
            both(),
            Txn::new().then(both()),
            Txn::new().then((put(), Delete::key("x"), Put::new("l", "v"))),
        ] {
            assert_eq!(check_of(valid), Ok(()));
        }
        for twice in [
            Txn::new().then([put(), put()]),
            Txn::new().or_else([put(), put()]),
            Txn::new().then((put(), both())),
            Txn::new().then([both(), both()]),
            Txn::new().then(Txn::new().or_else([put(), put()])),
        ] {
            assert_eq!(
                check_of(twice).unwrap_err(),
                "the transaction puts the key \"k\" twice"
            );
        }
    }

    #[test]
    fn a_request_larger_than_the_server_takes_is_refused() {
        let limits = Limits {
            max_request_bytes: 100,
            ..Limits::default()
        };
        let of_len = |len: usize| Put::new("k", vec![0; len - 5]);
        assert_eq!(of_len(100).into_wire().unwrap().encoded_len(), 100);
        assert_eq!(check_with(of_len(100), &limits), Ok(()));
        assert!(
            check_with(of_len(101), &limits)
                .unwrap_err()
                .contains("101 bytes")
        );
        assert_eq!(
            check_with(
                of_len(101),
                &Limits {
                    max_request_bytes: 0,
                    ..limits
                }
            ),
            Ok(())
        );
        assert!(check_of(Put::new("k", vec![0; 1_572_864])).is_err());
    }

    #[test]
    fn an_empty_operation_is_refused() {
        let txn = TxnRequest {
            success: vec![RequestOp { request: None }],
            ..Default::default()
        };
        assert!(check_of(txn).is_err());
    }
}
