//! etcd's v3 wire schema, for anyone who wants the bare wire: all messages, a table of the RPCs, and tonic stubs.
//!
//! The schema is that of etcd 3.7 (older and newer servers ignore what they do not know). Everything here is committed
//! output of a generator and a few helpers by hand; building the crate needs no `protoc`.
//!
//! - One module per package of the schema: [`etcdserverpb`], [`mvccpb`], [`authpb`], [`v3lockpb`], [`v3electionpb`],
//!   and [`health`] for `grpc.health.v1`. Keys, values and all other bytes are [`bytes::Bytes`].
//! - [`rpc`]: which request belongs to which RPC, what it answers with, and how it behaves.
//! - [`FILE_DESCRIPTOR_SET`]: the schema as data.
//!
//! # Features
//!
//! Both are off by default: `client` adds tonic's client stubs, `server` the server stubs, in modules such as
//! `etcdserverpb::kv_client` and `etcdserverpb::kv_server`.
//!
//! # Stability
//!
//! A later etcd adds fields. That is a minor release here, so write `..Default::default()` in literals of messages.
//!
//! # Secrets
//!
//! Messages with passwords or tokens leave them out of their `Debug` output.

mod helpers;
#[rustfmt::skip]
#[path = "generated/replies.rs"]
mod replies;
pub mod rpc;
mod secret;
#[rustfmt::skip]
#[path = "generated/secrets.rs"]
mod secrets;

/// Package `authpb`: users, roles and permissions.
#[rustfmt::skip]
#[path = "generated/authpb.rs"]
pub mod authpb;

/// Package `etcdserverpb`: keys, watches, leases, membership, maintenance, users and roles.
#[rustfmt::skip]
#[path = "generated/etcdserverpb.rs"]
pub mod etcdserverpb;

/// Package `grpc.health.v1`: the health service that gRPC servers have in common.
#[rustfmt::skip]
#[path = "generated/grpc.health.v1.rs"]
pub mod health;

/// Package `mvccpb`: key-value pairs and events.
#[rustfmt::skip]
#[path = "generated/mvccpb.rs"]
pub mod mvccpb;

/// Package `v3electionpb`: elections that the server keeps.
#[rustfmt::skip]
#[path = "generated/v3electionpb.rs"]
pub mod v3electionpb;

/// Package `v3lockpb`: locks that the server keeps.
#[rustfmt::skip]
#[path = "generated/v3lockpb.rs"]
pub mod v3lockpb;

/// The schema as data: an encoded `google.protobuf.FileDescriptorSet` without comments, as server reflection and
/// generic tools take it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
