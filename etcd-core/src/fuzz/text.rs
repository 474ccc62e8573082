//! What operators write: endpoints, connection strings, variables.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::Input;
use crate::error::Error;
use crate::net::endpoint::{Address, Endpoint};
use crate::options::ClientBuilder;
use crate::pool::Version;

/// Whatever the text, it is read or refused with one line that names an option. An endpoint that is read is written so that
/// it is read as the same one.
pub(super) fn text(data: &[u8]) {
    let mut input = Input::new(data);
    let (way, tls) = (input.byte() % 4, input.flag());
    let text = String::from_utf8_lossy(input.rest());
    match way {
        0 => match Endpoint::parse(&text, tls) {
            Ok(endpoint) => {
                let again = Endpoint::parse(endpoint.url(), tls).ok();
                assert_eq!(again.as_ref(), Some(&endpoint), "{text:?}");
                assert_eq!(endpoint.is_tls(), tls);
                assert!(!matches!(endpoint.address(), Address::Tcp { port: 0, .. }));
            }
            Err(error) => refused(&error),
        },
        1 => match text.parse::<ClientBuilder>() {
            Ok(builder) => built(&builder),
            Err(error) => refused(&error),
        },
        2 => match ClientBuilder::from_variables(|_| Some(OsString::from(&*text))) {
            Ok(builder) => built(&builder),
            Err(error) => refused(&error),
        },
        _ => {
            if let Some(version) = Version::parse(&text) {
                assert_eq!(Version::parse(&version.to_string()), Some(version));
            }
        }
    }
}

fn built(builder: &ClientBuilder) {
    let _ = format!("{builder:?}");
    match builder.options.check() {
        Ok(()) => assert!(Instant::now().checked_add(longest(builder)).is_some()),
        Err(error) => refused(&error),
    }
    if let Err(error) = Endpoint::parse_list(&builder.endpoints, builder.options.tls.is_some()) {
        refused(&error);
    }
}

fn longest(builder: &ClientBuilder) -> Duration {
    let options = &builder.options;
    options
        .request_timeout
        .max(options.read_attempt_timeout)
        .max(options.ping.keep_alive_interval)
}

fn refused(error: &Error) {
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    crate::error::fuzz::check(error);
}
