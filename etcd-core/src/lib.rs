//! etcd client.

mod auth;
mod backoff;
mod budget;
mod call;
mod class;
mod client;
mod clock;
mod cluster;
mod compare;
mod config;
mod election;
mod error;
mod guarded;
mod kv;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod namespace;
mod net;
mod options;
mod pool;
mod range;
mod range_stream;
mod replies;
mod request;
mod snapshot;
mod table;
mod txn;
mod verbs;
mod watch;

pub use auth::Permission;
pub use client::Client;
pub use compare::{Compare, Operand};
pub use election::LeaderChanges;
pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError, FileFailed,
    InvalidOption, LostReason, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use etcd_proto as proto;
pub use etcd_proto::etcdserverpb::AlarmType;
pub use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
pub use guarded::{Guard, PutIf};
pub use kv::{Compact, Delete, Get, Put};
pub use lease::{Granted, Lease, LeaseId, LeaseState};
pub use options::ClientBuilder;
pub use range::{IntoBytes, KeyRange};
pub use range_stream::RangeStream;
pub use request::Request;
pub use snapshot::{Snapshot, SnapshotProgress};
pub use table::{EndpointState, Endpoints, Row};
pub use txn::{IntoOps, Op, Txn};
pub use watch::{Batch, Watch, Watcher};
