//! A call: one span, one summary if it fails, and its numbers.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use super::{meter, record_end, record_server};
use crate::error::{Error, Result};

/// A call from its beginning to its end, with all attempts. One that is dropped before has ended as `dropped`.
#[derive(Debug)]
pub(crate) struct Call {
    method: &'static str,
    span: Span,
    started: Instant,
    attempts: u32,
    /// The endpoints of the attempts that failed.
    tried: Vec<Arc<str>>,
    ended: bool,
}

impl Call {
    /// `path` is that of an RPC of etcd's.
    pub(crate) fn begin(path: &'static str) -> Self {
        let method = path.strip_prefix('/').unwrap_or(path);
        meter::call_began();
        Self {
            method,
            span: tracing::debug_span!(
                target: "etcd_core::call",
                "etcd.call",
                otel.kind = "client",
                otel.name = method,
                otel.status_code = Empty,
                rpc.system.name = "grpc",
                rpc.method = method,
                rpc.response.status_code = Empty,
                server.address = Empty,
                server.port = Empty,
                error.type = Empty,
            ),
            started: Instant::now(),
            attempts: 0,
            tried: Vec::new(),
            ended: false,
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// An attempt begins.
    pub(crate) fn attempt(&mut self, endpoint: &str) {
        self.attempts += 1;
        record_server(&self.span, endpoint);
    }

    /// The last attempt failed.
    pub(crate) fn failed_on(&mut self, endpoint: &Arc<str>) {
        if !self.tried.contains(endpoint) {
            self.tried.push(endpoint.clone());
        }
    }

    /// The call has ended with `result`, which is given back.
    pub(crate) fn end<T>(&mut self, result: Result<T>) -> Result<T> {
        self.ended(result.as_ref().err());
        result
    }

    /// The call has ended. Only its first end counts.
    pub(crate) fn ended(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        record_end(&self.span, error);
        if let Some(error) = error {
            self.summary(error);
        }
        self.measure(error.map_or("ok", Error::name));
    }

    /// The one event that says that a call has failed, with all that was tried. Others say why it is tried again.
    fn summary(&self, error: &Error) {
        macro_rules! tell {
            ($level:expr) => {
                tracing::event!(
                    target: "etcd_core::call",
                    parent: &self.span,
                    $level,
                    rpc.method = self.method,
                    error.type = error.name(),
                    attempts = self.attempts,
                    endpoints = self.tried.join(","),
                    elapsed_ms = millis(self.started.elapsed()),
                    outcome = ?error.outcome(),
                    %error,
                    "call failed"
                )
            };
        }
        // What etcd answers is the caller's business: a key that must exist and does not is no trouble of the client's.
        match error {
            Error::Server(_) | Error::Unsupported(_) | Error::LeaseLost { .. } => {
                tell!(tracing::Level::DEBUG)
            }
            Error::Closed { .. } => tell!(tracing::Level::DEBUG),
            _ => tell!(tracing::Level::WARN),
        }
    }

    fn measure(&self, result: &'static str) {
        meter::call_ended(self.method, result, self.started, self.attempts);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.measure("dropped");
        }
    }
}

/// For events: whole milliseconds, as a number.
pub(super) fn millis(elapsed: std::time::Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
