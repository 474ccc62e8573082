//! Endpoints, sockets, HTTP/2 and gRPC frames.

#[allow(dead_code, reason = "its users come with the connection")]
pub(crate) mod endpoint;
#[allow(dead_code, reason = "its users come with the connection")]
pub(crate) mod ping;
