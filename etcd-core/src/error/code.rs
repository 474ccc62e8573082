//! gRPC's status codes, without a gRPC library's type.

use std::fmt;

macro_rules! codes {
    ($($number:literal $name:ident $doc:literal;)*) => {
        /// A gRPC status code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Code {
            $(#[doc = $doc] $name = $number,)*
        }

        impl Code {
            /// The code of that number; [`Code::Unknown`] for a number that gRPC does not define, as gRPC asks for.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Code::$name,)*
                    _ => Code::Unknown,
                }
            }

            /// The code of that name, as Go prints it (`InvalidArgument`).
            pub(super) fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Code::$name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    0 OK "No error.";
    1 Canceled "The call was cancelled, by either side.";
    2 Unknown "No more precise code fits; also every number that gRPC does not define.";
    3 InvalidArgument "The request is wrong whatever the state of the cluster is.";
    4 DeadlineExceeded "The time allowed was over before the call ended.";
    5 NotFound "Something that was asked for does not exist.";
    6 AlreadyExists "Something that was to be created exists.";
    7 PermissionDenied "The caller is known, and may not do this.";
    8 ResourceExhausted "A quota or a limit has been reached.";
    9 FailedPrecondition "The cluster is not in a state that allows this.";
    10 Aborted "The call was given up, mostly because of a conflict with another one.";
    11 OutOfRange "A value is outside the range that exists, such as a compacted revision.";
    12 Unimplemented "The server does not know this method.";
    13 Internal "Something that must hold on the server, or in gRPC, does not.";
    14 Unavailable "The server cannot serve now; it may later.";
    15 DataLoss "Data was lost or is corrupt.";
    16 Unauthenticated "The caller did not show who it is.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_name_leads_to_its_code() {
        for number in 0..=16 {
            let code = Code::from_number(number);
            assert_eq!(code as u32, number);
            assert_eq!(Code::from_name(&code.to_string()), Some(code));
        }
    }

    #[test]
    fn an_undefined_number_is_unknown() {
        assert_eq!(Code::from_number(17), Code::Unknown);
        assert_eq!(Code::from_number(u32::MAX), Code::Unknown);
        assert_eq!(Code::from_name("Code(17)"), None);
    }
}
