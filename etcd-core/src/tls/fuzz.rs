//! Fuzz target over what operators hand over as certificates and keys.

use super::{Context, Tls};
use crate::error::Error;
use crate::fuzz::Input;

/// Whatever is said to be a CA, a certificate or a key, it is used or refused; and what is said to be a host's name.
pub(crate) fn tls(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let (first, second) = (input.bytes(255), input.rest());
    let tls = match way % 4 {
        0 => Tls::new().ca_pem(first).ca_pem(second),
        1 => Tls::new().ca_pem(second),
        2 => {
            let trusting = Tls::new().danger_accept_invalid_certs();
            trusting.identity_pem(first, second)
        }
        _ => {
            let name = String::from_utf8_lossy(second);
            let trusting = Tls::new().danger_accept_invalid_certs();
            trusting.server_name(name)
        }
    };
    let _ = format!("{tls:?}");
    match Context::new(tls) {
        Ok(context) => {
            let _ = context.server_name(&String::from_utf8_lossy(first));
            let _ = context.connection();
        }
        Err(error) => {
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            crate::error::fuzz::check(&error);
        }
    }
}
