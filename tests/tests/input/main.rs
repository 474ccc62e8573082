//! Bad input is a typed error before anything is sent, and only what etcd itself would refuse is bad.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod endpoints;
mod requests;
mod verdicts;
