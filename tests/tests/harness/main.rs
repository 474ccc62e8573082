//! The harness itself: what every other suite relies on.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;
mod cluster;
mod proxy;
mod scripted;
mod streams;
