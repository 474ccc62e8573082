//! Fuzz target over what servers say in words, and what must hold for every error.

use super::{Code, Error, EtcdError, decide};
use crate::fuzz::Input;

/// Whatever the code and the message, they are kept as they are, recognised by the message alone, and safe to show.
pub(crate) fn errors(data: &[u8]) {
    let mut input = Input::new(data);
    let (reason, code) = (input.flag(), Code::from_number(u32::from(input.byte())));
    let text = String::from_utf8_lossy(input.rest());
    let error = if reason {
        Error::from_cancel_reason("http://a:2379", &*text)
    } else {
        Error::from_status("http://a:2379", code, &*text)
    };
    check(&error);
    let Error::Server(server) = &error else {
        unreached(&error);
        return;
    };
    assert_eq!(server.message, text);
    assert!(reason || server.code == code);
    if let Some(message) = server.kind.message() {
        assert!(text.ends_with(message), "{text:?} is no {message:?}");
    } else {
        assert_eq!(server.kind, EtcdError::Unrecognised);
    }
    // A write is repeated only where it was not applied.
    let again = decide(&error, false) != super::Decision::Fail;
    assert!(!again || error.outcome() == super::Outcome::NotApplied);
}

/// An error is shown in one line, whatever is in it.
pub(crate) fn check(error: &Error) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    let _ = format!("{error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        source = cause.source();
    }
    let _ = (
        error.outcome(),
        error.code(),
        error.etcd(),
        error.is_auth(),
        error.is_timeout(),
    );
    let _ = decide(error, true);
}

fn unreached(error: &Error) {
    assert!(matches!(error, Error::Server(_)), "{error:?}");
}
