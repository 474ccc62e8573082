//! A stream: one span, from its opening to its end.

use tracing::Span;
use tracing::field::Empty;

use super::{meter, record_server};

/// A stream that was opened on an endpoint. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    method: &'static str,
    span: Span,
}

impl Stream {
    pub(crate) fn opened(path: &'static str, endpoint: &str) -> Self {
        let method = path.strip_prefix('/').unwrap_or(path);
        let span = tracing::debug_span!(
            target: "etcd_core::stream",
            "etcd.stream",
            otel.kind = "client",
            otel.name = method,
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
            error.type = Empty,
        );
        record_server(&span, endpoint);
        meter::stream_opened(method);
        Self { method, span }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        meter::stream_closed(self.method);
    }
}
