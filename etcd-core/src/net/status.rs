//! Our errors, as the stubs of gRPC understand them.

use std::sync::Arc;

use tonic::{Code, Status};

use crate::error::Error;

/// The error of a service that has no type of its own for them.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A status with the code that says most about the error, which is its source.
pub(crate) fn status(error: Error) -> BoxError {
    let mut status = Status::new(code(&error), error.to_string());
    status.set_source(Arc::new(error));
    status.into()
}

fn code(error: &Error) -> Code {
    match error {
        Error::Config(_) | Error::InvalidRequest(_) => Code::InvalidArgument,
        Error::NoActiveEndpoint(_) | Error::Connection(_) => Code::Unavailable,
        Error::Timeout(_) => Code::DeadlineExceeded,
        Error::Server(answer) => Code::from_i32(answer.code as i32),
        Error::Protocol(_) => Code::Internal,
        Error::Unsupported(_) => Code::Unimplemented,
        Error::TooLarge(_) => Code::ResourceExhausted,
        Error::ClusterChanged(_) => Code::FailedPrecondition,
        Error::Login(_) => Code::Unauthenticated,
        Error::Closed { .. } => Code::Cancelled,
        // None of a call.
        Error::File(_)
        | Error::Compacted { .. }
        | Error::Lagged { .. }
        | Error::LeaseLost { .. } => Code::Unknown,
    }
}
