//! What errors are called where only a short name fits: in spans and metrics.

use super::{Code, Error};

impl Error {
    /// The variant.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Error::Config(_) => "Config",
            Error::InvalidRequest(_) => "InvalidRequest",
            Error::NoActiveEndpoint(_) => "NoActiveEndpoint",
            Error::Timeout(_) => "Timeout",
            Error::Connection(_) => "Connection",
            Error::Server(_) => "Server",
            Error::Unsupported(_) => "Unsupported",
            Error::Protocol(_) => "Protocol",
            Error::TooLarge(_) => "TooLarge",
            Error::ClusterChanged(_) => "ClusterChanged",
            Error::Login(_) => "Login",
            Error::File(_) => "File",
            Error::Compacted { .. } => "Compacted",
            Error::Lagged { .. } => "Lagged",
            Error::LeaseLost { .. } => "LeaseLost",
            Error::Closed { .. } => "Closed",
        }
    }

    /// The status code of gRPC that says most about it: that of the server, or what a client says by itself.
    pub(crate) fn status(&self) -> Code {
        match self {
            Error::Config(_) | Error::InvalidRequest(_) => Code::InvalidArgument,
            Error::NoActiveEndpoint(_) | Error::Connection(_) => Code::Unavailable,
            Error::Timeout(_) => Code::DeadlineExceeded,
            Error::Server(answer) => answer.code,
            Error::Protocol(_) => Code::Internal,
            Error::Unsupported(_) => Code::Unimplemented,
            Error::TooLarge(_) => Code::ResourceExhausted,
            Error::ClusterChanged(_) => Code::FailedPrecondition,
            Error::Login(_) => Code::Unauthenticated,
            Error::Closed { .. } => Code::Canceled,
            // None of a call.
            Error::File(_)
            | Error::Compacted { .. }
            | Error::Lagged { .. }
            | Error::LeaseLost { .. } => Code::Unknown,
        }
    }

    /// That code as gRPC writes it.
    pub(crate) fn status_name(&self) -> &'static str {
        match self.status() {
            Code::OK => "OK",
            Code::Canceled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}
