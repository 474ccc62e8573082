//! Our errors, as the stubs of gRPC understand them.

use std::sync::Arc;

use tonic::{Code, Status};

use crate::error::Error;

/// The error of a service that has no type of its own for them.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A status with the code that says most about the error, which is its source.
pub(crate) fn status(error: Error) -> BoxError {
    let code = Code::from_i32(error.status() as i32);
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status.into()
}
