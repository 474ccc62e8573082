//! etcd client.

mod backoff;
mod budget;
mod call;
mod class;
mod client;
mod clock;
mod cluster;
mod compare;
mod error;
mod kv;
mod lease;
mod limits;
mod maintenance;
mod net;
mod options;
mod pool;
mod range;
mod request;
mod table;
mod tls;
mod txn;
mod verbs;
mod watch;

pub use client::Client;
pub use compare::{Compare, Operand};
pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LostReason, Outcome, Result, ServerError, TimedOut, TlsError, TooLarge,
    Unreachable,
};
pub use etcd_proto as proto;
pub use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
pub use kv::{Compact, Delete, Get, Put};
pub use lease::{Granted, Lease, LeaseId, LeaseState};
pub use options::ClientBuilder;
pub use range::{IntoBytes, KeyRange};
pub use request::Request;
pub use table::{EndpointState, Endpoints, Row};
pub use tls::Tls;
pub use txn::{IntoOps, Op, Txn};
pub use watch::{Batch, Watch, Watcher};
