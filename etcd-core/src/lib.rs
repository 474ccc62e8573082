//! etcd client.

#[allow(dead_code)]
mod backoff;
#[allow(dead_code)]
mod class;
mod compare;
#[allow(dead_code, unused_imports)]
mod error;
mod kv;
#[allow(dead_code)]
mod limits;
#[allow(dead_code)]
mod range;
mod request;
mod txn;

pub use compare::{Compare, Operand};
pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LeaseLoss, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
pub use kv::{Compact, Delete, Get, Put};
pub use range::{IntoBytes, KeyRange};
pub use request::Request;
pub use txn::{IntoOps, Op, Txn};
