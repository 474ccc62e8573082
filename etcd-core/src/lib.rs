//! etcd client.

mod backoff;
mod budget;
mod call;
mod client;
mod cluster;
mod error;
mod kv;
mod limits;
mod maintenance;
mod net;
mod options;
mod pool;
mod range;
mod request;
mod table;
mod txn;

pub use client::Client;
pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LeaseLoss, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use etcd_proto as proto;
pub use kv::{Compact, Delete, Get, Put};
pub use options::ClientBuilder;
pub use range::{IntoBytes, KeyRange};
pub use request::Request;
pub use table::{EndpointState, Endpoints, Row};
pub use txn::{Compare, Op, Txn};
