//! etcd client.

mod backoff;
mod error;
mod net;
mod pool;
mod range;

pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LeaseLoss, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use range::{IntoBytes, KeyRange};
