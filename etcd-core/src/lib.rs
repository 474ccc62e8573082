//! An etcd v3 client that can be trusted with a list of endpoints: members may die, hang, be cut off and come back, and a
//! call ends with the right answer or with an error that says what is known.
//!
//! - [`Client`]: one cheap handle; its verbs, and [`send`](Client::send) for values and for every generated unary request.
//! - [`Get`], [`Put`], [`Delete`], [`Txn`], [`Compare`], [`Watch`]: requests as values of wire fields.
//! - [`Watcher`]: whole revisions, in order, exactly once, across failovers. [`Lease`]: kept alive until it is dropped, known to
//!   be lost before etcd lets it go.
//! - [`Channel`]: the same endpoints under the stubs that tonic generates.
//! - [`Error`]: by what the caller can do about it, with the [`Outcome`] of a write.
//!
//! ```no_run
//! # async fn run() -> etcd_core::Result<()> {
//! use etcd_core::{Client, Get, Watch};
//!
//! let client = Client::connect("10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379").await?;
//! client.put("svc/a", "10.0.0.7:80").await?;
//! let services = client.get(Get::prefix("svc/")).await?;
//! let mut changes = client.watch(Watch::prefix("svc/").start_revision(services.revision() + 1)).await?;
//! while let Some(batch) = changes.try_next().await? {
//!     println!("up to revision {}: {:?}", batch.revision, batch.events);
//! }
//! # Ok(()) }
//! ```
//!
//! # What it does not do
//!
//! A write whose answer was lost is not sent again unless the caller says that this does no harm
//! ([`idempotent`](Client::idempotent)). A lease that is valid here can be revoked elsewhere at any time. A watch may go on when
//! its user may not read the keys any more: etcd asks that when it creates the watch, not for each event.

mod auth;
mod backoff;
mod budget;
mod call;
mod channel;
mod class;
mod client;
mod clock;
mod cluster;
mod compare;
mod config;
mod credentials;
mod election;
mod endpoints;
mod error;
mod fields;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod guarded;
mod health;
mod kv;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod namespace;
mod net;
pub mod observability;
mod observe;
mod options;
mod pool;
mod range;
mod range_stream;
mod replies;
mod request;
mod scan;
mod seen;
mod snapshot;
mod table;
mod tls;
mod token;
mod txn;
mod verbs;
mod watch;

pub use auth::Permission;
pub use channel::{Channel, ChannelBody};
pub use client::Client;
pub use compare::{Compare, Operand};
pub use election::LeaderChanges;
pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError, FileFailed,
    InvalidOption, LoginFailed, LostReason, Outcome, Result, ServerError, TimedOut, TlsError,
    TooLarge, Unreachable, Unsupported,
};
pub use etcd_proto as proto;
pub use etcd_proto::etcdserverpb::AlarmType;
pub use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
pub use guarded::{Guard, PutIf};
pub use health::{EndpointHealth, Health};
pub use kv::{Compact, Delete, Get, Put};
pub use lease::{Granted, Lease, LeaseId, LeaseState};
pub use net::Tcp;
pub use options::{ClientBuilder, Open};
pub use pool::Balance;
pub use range::{IntoBytes, KeyRange};
pub use range_stream::RangeStream;
pub use request::Request;
pub use scan::Scan;
pub use snapshot::{Snapshot, SnapshotProgress};
pub use table::{EndpointState, Endpoints, Row};
pub use tls::Tls;
pub use txn::{IntoOps, Op, Txn};
pub use watch::{Batch, Watch, Watcher};
