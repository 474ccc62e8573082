//! What the client tells of itself: spans, events and, with the feature `metrics`, metrics. How they are called, and when they
//! come, is in [`observability`](crate::observability); everything that is called so is made here.

mod call;
mod connect;
mod endpoints;
mod lease;
mod meter;
mod stream;
mod watch;

pub(crate) use self::call::Call;
pub(crate) use self::connect::{Login, phase};
pub(crate) use self::endpoints::Endpoints;
pub(crate) use self::lease::Leases;
pub(crate) use self::meter::Lag;
pub(crate) use self::stream::Stream;
pub(crate) use self::watch::{Watch, WatchState};

use tracing::Span;

use crate::error::Error;

/// Where an endpoint is, as OpenTelemetry wants it told: a host and a port, or the path of a socket.
fn record_server(span: &Span, endpoint: &str) {
    if span.is_disabled() {
        return;
    }
    let rest = endpoint.split_once(':').map_or(endpoint, |(_, rest)| rest);
    let Some(authority) = rest.strip_prefix("//") else {
        span.record("server.address", rest);
        return;
    };
    match authority.rsplit_once(':') {
        Some((host, port)) => {
            span.record("server.address", host.trim_matches(['[', ']']));
            if let Ok(port) = port.parse::<u16>() {
                span.record("server.port", port);
            }
        }
        None => {
            span.record("server.address", authority);
        }
    }
}

/// How what the span is for ended.
pub(crate) fn record_end(span: &Span, error: Option<&Error>) {
    if span.is_disabled() {
        return;
    }
    let status = error.map_or("OK", Error::status_name);
    span.record("rpc.response.status_code", status);
    if let Some(error) = error {
        span.record("error.type", error.name());
        span.record("otel.status_code", "ERROR");
    }
}
