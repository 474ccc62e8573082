//! What operators configure: connection strings, the environment, extra headers, the oldest etcd to talk to.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod headers;
mod text;
mod version;

use std::time::Duration;

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);
