//! TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod smoke;
