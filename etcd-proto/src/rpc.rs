//! The RPCs: which request belongs to which, what it answers with, and how it behaves.
//!
//! ```
//! use etcd_proto::etcdserverpb::PutRequest;
//! use etcd_proto::rpc::{Class, Unary};
//!
//! assert_eq!(PutRequest::PATH, "/etcdserverpb.KV/Put");
//! assert_eq!(PutRequest::CLASS, Class::Write);
//! ```
#[rustfmt::skip]
#[path = "generated/rpc.rs"]
mod table;

pub use table::*;

use std::fmt::Debug;

use crate::etcdserverpb::ResponseHeader;

/// How an RPC behaves, which decides its time limit and whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads something small and changes nothing: answered soon or not at all, and safe to send again elsewhere.
    PointRead,
    /// Reads as much as its range holds and changes nothing: safe to send again, but its answer may take long to arrive.
    Range,
    /// Changes something: sent again only where it is known not to have been applied.
    Write,
    /// Keeps the asked member busy for as long as its database is large; meant for that member.
    Long,
    /// Waits on the server, without limit, for other clients.
    Blocking,
}

/// A request of a unary RPC. Each message is the request of at most one unary RPC, and so names it.
pub trait Unary: prost::Message + Clone + Debug + Default + 'static {
    /// What the RPC answers with.
    type Reply: Reply;
    /// The path of the RPC, such as `/etcdserverpb.KV/Range`.
    const PATH: &'static str;
    /// How the RPC behaves. That of a range or a transaction is the most that it may do: a particular request can be
    /// a mere point read.
    const CLASS: Class;
}

/// A reply. etcd's carry a header.
pub trait Reply: prost::Message + Debug + Default + 'static {
    /// What the reply says about where and when it was made: `None` if the server left it out, or for a kind of reply
    /// that has none.
    fn header(&self) -> Option<&ResponseHeader>;
}

/// A unary RPC: one row of [`UNARY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rpc {
    /// The path, such as `/etcdserverpb.KV/Range`.
    pub path: &'static str,
    /// The service with its package, such as `etcdserverpb.KV`.
    pub service: &'static str,
    /// The method, such as `Range`.
    pub method: &'static str,
    /// The request message with its package, such as `etcdserverpb.RangeRequest`.
    pub request: &'static str,
    /// The reply message with its package.
    pub reply: &'static str,
    /// How it behaves.
    pub class: Class,
}

/// A streaming RPC: one row of [`STREAMING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streaming {
    /// The path, such as `/etcdserverpb.Watch/Watch`.
    pub path: &'static str,
    /// The service with its package, such as `etcdserverpb.Watch`.
    pub service: &'static str,
    /// The method, such as `Watch`.
    pub method: &'static str,
    /// The request message with its package.
    pub request: &'static str,
    /// The reply message with its package.
    pub reply: &'static str,
    /// The client sends any number of requests.
    pub client_streaming: bool,
    /// The server sends any number of replies.
    pub server_streaming: bool,
}
