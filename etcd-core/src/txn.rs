//! Transactions as values: conditions, and what to do if they hold or not.

use etcd_proto::etcdserverpb::request_op::Request as WireOp;
use etcd_proto::etcdserverpb::{RequestOp, TxnRequest};

use crate::compare::Compare;
use crate::kv::{Delete, Get, Put};

/// A transaction: if every condition holds then one list of operations is run, else the other one, all at one revision.
///
/// Each method adds to what is there, in any order. Without a condition, the operations of [`Txn::then`] are run.
///
/// ```
/// use etcd_core::{Compare, Get, Put, Txn};
///
/// let create = Txn::new()
///     .when(Compare::version("k").equals(0))
///     .then(Put::new("k", "1"))
///     .or_else(Get::key("k"));
/// assert!(!create.is_read_only());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[doc(alias("TxnRequest", "OpTxn"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Txn {
    compare: Vec<Compare>,
    success: Vec<Op>,
    failure: Vec<Op>,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds conditions: one [`Compare`], or any collection of them.
    #[doc(alias("If", "compare"))]
    pub fn when(mut self, compare: impl IntoIterator<Item = Compare>) -> Self {
        self.compare.extend(compare);
        self
    }

    /// Adds operations to run if every condition holds: one, or a tuple, an array or a vector of them.
    #[doc(alias("Then", "and_then", "success"))]
    pub fn then(mut self, ops: impl IntoOps) -> Self {
        self.success.extend(ops.into_ops());
        self
    }

    /// Adds operations to run if a condition does not hold: one, or a tuple, an array or a vector of them.
    #[doc(alias("Else", "failure"))]
    pub fn or_else(mut self, ops: impl IntoOps) -> Self {
        self.failure.extend(ops.into_ops());
        self
    }

    /// It writes nothing, whichever conditions hold.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| match op {
            Op::Get(_) => true,
            Op::Put(_) | Op::Delete(_) => false,
            Op::Txn(txn) => txn.is_read_only(),
        })
    }
}

impl From<Txn> for TxnRequest {
    fn from(txn: Txn) -> Self {
        fn ops(ops: Vec<Op>) -> Vec<RequestOp> {
            ops.into_iter()
                .map(|op| RequestOp {
                    request: Some(op.into()),
                })
                .collect()
        }
        TxnRequest {
            compare: txn.compare.into_iter().map(Into::into).collect(),
            success: ops(txn.success),
            failure: ops(txn.failure),
        }
    }
}

/// One operation of a transaction, which can be a transaction itself.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("TxnOp", "RequestOp"))]
pub enum Op {
    /// Reads.
    Get(Get),
    /// Writes one key.
    Put(Put),
    /// Deletes.
    Delete(Delete),
    /// Runs a transaction within the transaction.
    Txn(Txn),
}

impl From<Op> for WireOp {
    fn from(op: Op) -> Self {
        match op {
            Op::Get(get) => WireOp::RequestRange(get.into()),
            Op::Put(put) => WireOp::RequestPut(put.into()),
            Op::Delete(delete) => WireOp::RequestDeleteRange(delete.into()),
            Op::Txn(txn) => WireOp::RequestTxn(txn.into()),
        }
    }
}

/// One operation of a transaction, or several: a tuple, an array or a vector.
pub trait IntoOps {
    /// The operations, in order.
    fn into_ops(self) -> Vec<Op>;
}

impl IntoOps for Op {
    fn into_ops(self) -> Vec<Op> {
        vec![self]
    }
}

macro_rules! one_op {
    ($($name:ident)*) => {
        $(
            impl From<$name> for Op {
                fn from(op: $name) -> Self {
                    Op::$name(op)
                }
            }

            impl IntoOps for $name {
                fn into_ops(self) -> Vec<Op> {
                    vec![self.into()]
                }
            }
        )*
    };
}

one_op! { Get Put Delete Txn }

impl<T: Into<Op>> IntoOps for Vec<T> {
    fn into_ops(self) -> Vec<Op> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Op>, const N: usize> IntoOps for [T; N] {
    fn into_ops(self) -> Vec<Op> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! tuple_of_ops {
    ($($name:ident)*) => {
        impl<$($name: Into<Op>),*> IntoOps for ($($name,)*) {
            #[allow(non_snake_case)]
            fn into_ops(self) -> Vec<Op> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    };
}

tuple_of_ops! { A B }
tuple_of_ops! { A B C }
tuple_of_ops! { A B C D }
tuple_of_ops! { A B C D E }
tuple_of_ops! { A B C D E F }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_can_come_in_any_order_and_more_than_once() {
        let (a, b) = (
            Compare::version("a").equals(0),
            Compare::version("b").equals(0),
        );
        let once = Txn::new()
            .when([a.clone(), b.clone()])
            .then([Get::key("x"), Get::key("y")])
            .or_else(Put::new("z", "1"));
        let piecemeal = Txn::new()
            .or_else(Put::new("z", "1"))
            .then(Get::key("x"))
            .when(a)
            .when(vec![b])
            .then((Get::key("y"),).0);
        assert_eq!(once, piecemeal);
    }

    #[test]
    fn operations_of_different_kinds_go_in_as_a_tuple() {
        let nested = Txn::new().then(Delete::key("d"));
        let txn = Txn::new().then((
            Get::key("g"),
            Put::new("p", "v"),
            Delete::key("d"),
            nested.clone(),
        ));
        let success = TxnRequest::from(txn).success;
        let expected = [
            WireOp::RequestRange(Get::key("g").into()),
            WireOp::RequestPut(Put::new("p", "v").into()),
            WireOp::RequestDeleteRange(Delete::key("d").into()),
            WireOp::RequestTxn(nested.into()),
        ];
        assert_eq!(
            success,
            expected.map(|request| RequestOp {
                request: Some(request)
            })
        );
    }

    #[test]
    fn a_transaction_is_read_only_if_no_branch_writes() {
        let read = Txn::new()
            .when(Compare::value("k").equals("v"))
            .then(Get::key("a"))
            .or_else(Get::all());
        assert!(read.is_read_only() && Txn::new().is_read_only());
        assert!(!Txn::new().or_else(Put::new("k", "v")).is_read_only());
        assert!(!Txn::new().then(Delete::key("k")).is_read_only());
        assert!(read.clone().then(read.clone()).is_read_only());
        assert!(
            !read
                .then(Txn::new().or_else(Delete::key("k")))
                .is_read_only()
        );
    }

    #[test]
    fn values_are_not_printed() {
        let txn = Txn::new()
            .when(Compare::value("k").equals("secret"))
            .then(Put::new("k", "secret"));
        let printed = format!("{txn:?}");
        assert!(
            printed.contains("value_len: 6") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
