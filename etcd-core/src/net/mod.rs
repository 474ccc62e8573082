//! Sockets, HTTP/2 and gRPC frames. Nothing outside knows HTTP.

mod cell;
pub(crate) mod connect;
pub(crate) mod connection;
mod driver;
pub(crate) mod endpoint;
mod frames;
pub(crate) mod grpc;
mod head;
mod headers;
mod outcome;
pub(crate) mod ping;
mod pulse;
mod ready;
mod reply;
mod settings;
mod socket;
pub(crate) mod stream;
mod tap;
mod tls;
mod unary;
mod wake;

pub(crate) use cell::{Call, Step};
pub(crate) use connection::{Condition, Connection, ConnectionOptions};
pub(crate) use head::Metadata;
pub(crate) use headers::Headers;
pub(crate) use stream::{Inbound, Outbound};
