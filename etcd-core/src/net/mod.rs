//! Endpoints, sockets, HTTP/2 and gRPC frames.

#[cfg_attr(
    not(test),
    allow(dead_code, reason = "its users come with the connection")
)]
pub(crate) mod endpoint;
