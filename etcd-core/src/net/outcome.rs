//! What a failure seen in HTTP/2 says about a request: was it certainly not processed?
//!
//! The rules (measured against scripted frames, h2 0.4):
//! - a GOAWAY whose last stream id is below ours arrives as a remote go-away error on our stream: not processed;
//! - RST_STREAM with REFUSED_STREAM before anything else came on the stream: not processed (RFC 9113 §8.7);
//! - a lost connection of which not a byte of our HEADERS reached the kernel: not processed;
//! - everything else, including protocol errors that our own side found: unknown.

use std::sync::Arc;

use h2::Reason;

use crate::error::{Error, Outcome};

/// Is the request certainly unprocessed, whatever became of the connection?
pub(crate) fn of_stream_error(error: &h2::Error, received_anything: bool) -> Outcome {
    let refused_by_goaway = error.is_go_away() && error.is_remote();
    let refused_by_reset = error.is_reset()
        && error.is_remote()
        && error.reason() == Some(Reason::REFUSED_STREAM)
        && !received_anything;
    if refused_by_goaway || refused_by_reset {
        Outcome::NotApplied
    } else {
        Outcome::Unknown
    }
}

/// The same when the connection is gone: what was not written will not be.
pub(crate) fn of_lost_connection(
    error: &h2::Error,
    received_anything: bool,
    written: bool,
) -> Outcome {
    if written {
        of_stream_error(error, received_anything)
    } else {
        Outcome::NotApplied
    }
}

/// The error of a stream that ended so. `received`: anything at all came on it; `written`: a byte of its request reached the
/// kernel.
pub(super) fn error(
    error: &h2::Error,
    endpoint: &Arc<str>,
    received: bool,
    written: bool,
) -> Error {
    let known = if error.is_io() {
        of_lost_connection(error, received, written)
    } else {
        of_stream_error(error, received)
    };
    Error::connection(endpoint.clone(), known, describe(error))
}

/// One line for people: h2 hides the useful part in its source.
pub(crate) fn describe(error: &h2::Error) -> String {
    if let Some(io) = error.get_io() {
        return format!("connection lost: {io}");
    }
    match (error.is_go_away(), error.is_reset(), error.reason()) {
        (true, _, Some(reason)) => {
            format!("the server closed the connection: {reason:?} ({error})")
        }
        (_, true, Some(reason)) => format!("the server reset the stream: {reason:?}"),
        _ => format!("HTTP/2 error: {error}"),
    }
}
