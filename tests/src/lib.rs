//! What the test suites stand on: real etcd clusters, a TCP proxy that breaks connections on cue, and a scripted server.
//!
//! | module | gives |
//! |---|---|
//! | [`cluster`] | [`Cluster`](cluster::Cluster): real etcd members to kill, pause and restart; [`Target`](cluster::Target): one shared member, or the user's cluster |
//! | [`endpoints`] | what a client thinks of one endpoint |
//! | [`example`] | an etcd for the programs in `tests/examples` |
//! | [`load`] | [`Load`](load::Load): workers that read and write while members fail, and a check of all they were told |
//! | [`proxy`] | [`Proxy`](proxy::Proxy): a TCP proxy that blocks, delays, cuts and resets |
//! | [`scripted`] | [`Scripted`](scripted::Scripted): a gRPC server that misbehaves, frame by frame |
//! | [`tls`] | certificates of all kinds; [`connect`] and [`builder`] make clients for plaintext and TLS alike |
//! | [`versions`] | what the release under test lacks, asserted and noted |
//! | [`wait`] | waiting for a condition in place of sleeping |
//!
//! Nothing here outlives the test: dropping a value ends what it started, and when the test process itself is killed, a
//! small shell beside each etcd sees its pipe close, kills it, and removes its files.

pub mod cluster;
pub mod endpoints;
pub mod example;
mod http;
pub mod load;
mod ports;
pub mod proxy;
pub mod scripted;
pub mod tls;
pub mod versions;
pub mod wait;

pub use tls::{builder, connect};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks also after a panic in another test thread: the harness must still be able to clean up.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The code in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
