//! Sockets, HTTP/2 and gRPC frames. Nothing outside knows HTTP.

mod cell;
pub(crate) mod connect;
pub(crate) mod connection;
mod driver;
pub(crate) mod endpoint;
mod exchange;
mod frames;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
pub(crate) mod grpc;
mod head;
mod headers;
mod names;
mod outcome;
pub(crate) mod ping;
mod pulse;
mod raw;
mod ready;
mod reply;
mod settings;
mod socket;
mod status;
pub(crate) mod stream;
mod tap;
mod tcp;
mod tls;
mod token;
mod unary;
mod wake;

pub(crate) use cell::{Call, Step};
pub(crate) use connection::{Condition, Connection, ConnectionOptions};
pub(crate) use exchange::{Broken, Exchange, Incoming};
pub(crate) use head::Metadata;
pub(crate) use headers::Headers;
pub(crate) use names::Names;
pub(crate) use raw::{RawHead, time_limit};
pub(crate) use status::{BoxError, status};
pub(crate) use stream::{Inbound, Outbound};
pub use tcp::Tcp;
pub(crate) use token::{CurrentToken, Token};
