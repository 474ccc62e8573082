//! etcd client.

#[allow(dead_code)]
mod backoff;
#[allow(dead_code, unused_imports)]
mod error;
#[allow(dead_code)]
mod range;
#[allow(dead_code)]
mod watch;

pub use error::{
    BadReply, ClusterChanged, Code, ConnectionLost, EndpointReport, Error, EtcdError,
    InvalidOption, LeaseLoss, Outcome, Result, ServerError, TimedOut, TooLarge, Unreachable,
};
pub use range::{IntoBytes, KeyRange};
