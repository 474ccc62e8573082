//! etcd client.

#[allow(dead_code)]
mod backoff;
#[allow(dead_code, unused_imports)]
mod error;
mod net;
mod pool;
#[allow(dead_code)]
mod range;

pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LeaseLoss, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use range::{IntoBytes, KeyRange};
