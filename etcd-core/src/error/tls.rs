//! What can be wrong between this client and a server about TLS.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Why TLS with an endpoint did not come about, or why TLS is what it needs. Found by [`Error::tls`](super::Error::tls).
///
/// No request, and no credential, was sent to the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate has expired, or this machine's clock is wrong.
    #[error("the server's certificate expired at {}; it is {} here", Utc(.not_after), Utc(.now))]
    Expired {
        /// The end of its validity.
        not_after: SystemTime,
        /// What this machine's clock said.
        now: SystemTime,
    },

    /// The server's certificate is not valid yet, or this machine's clock is wrong.
    #[error("the server's certificate is valid from {} on; it is {} here", Utc(.not_before), Utc(.now))]
    NotYetValid {
        /// The beginning of its validity.
        not_before: SystemTime,
        /// What this machine's clock said.
        now: SystemTime,
    },

    /// No certificate authority that this client trusts has issued the server's certificate: it is self-signed, another
    /// authority's, or the server does not send the intermediate certificates between the two.
    #[error(
        "the server's certificate was issued by nobody whom this client trusts (an unknown CA, a self-signed certificate, or a missing intermediate one)"
    )]
    UnknownIssuer,

    /// The server's certificate is for other names. The common name of a certificate does not count, only its subject
    /// alternative names do.
    #[error("the server's certificate is not for {expected} but for {}", Names(.names))]
    WrongName {
        /// The host name or IP address of the endpoint, or the name given to [`Tls::server_name`](crate::Tls::server_name).
        expected: String,
        /// The names and addresses that it is for.
        names: Vec<String>,
    },

    /// Something else is wrong with the server's certificate.
    #[error("the server's certificate is not acceptable: {reason}")]
    BadCertificate {
        /// What is wrong with it.
        reason: String,
    },

    /// The server does not speak HTTP/2, by what it says in the TLS handshake (ALPN).
    #[error("the server does not offer HTTP/2 (no `h2` by ALPN)")]
    NoHttp2,

    /// What answers at an endpoint with TLS does not speak TLS.
    #[error("the server does not speak TLS; is it a plaintext endpoint (http://)?")]
    NotTls,

    /// What answers at an endpoint without TLS speaks TLS.
    #[error("the server speaks TLS; is it a https:// endpoint?")]
    TlsOnly,

    /// The two have no version of TLS or no cipher in common. This client speaks TLS 1.2 and 1.3.
    #[error("no TLS version or cipher in common with the server: {reason}")]
    Incompatible {
        /// What is missing.
        reason: String,
    },

    /// The server wants a certificate of this client, which has none: see
    /// [`Tls::identity_files`](crate::Tls::identity_files).
    #[error("the server requires a client certificate, and this client has none")]
    ClientCertificateRequired,

    /// The server does not accept the certificate of this client.
    #[error("the server refused the client's certificate: {reason}")]
    ClientCertificateRefused {
        /// What the server said.
        reason: String,
    },

    /// The connection ended where it says something about TLS, but not what.
    #[error("the server closed the connection {when}")]
    Closed {
        /// At which point, and what that may mean.
        when: String,
    },

    /// The handshake failed in another way.
    #[error("TLS handshake: {reason}")]
    Handshake {
        /// What happened.
        reason: String,
    },
}

impl TlsError {
    /// Will the same happen again until somebody changes the server's or this client's configuration?
    pub(crate) fn lasts(&self) -> bool {
        !matches!(self, TlsError::Closed { .. } | TlsError::Handshake { .. })
    }
}

/// The names in a certificate, as the end of a sentence.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no name at all (a common name does not count)"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

/// A point in time, to the second.
struct Utc<'a>(&'a SystemTime);

impl fmt::Display for Utc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.as_ref().map_or(0, Duration::as_secs);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// The date in the Gregorian calendar, so many days after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // A certificate can be valid for millennia, but 400 years are always as long.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_735_689_600, "2025-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (13_569_465_600, "2400-01-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(&time).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_the_names_that_would_be_right() {
        let wrong = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let expected = "10.0.0.1".to_owned();
            TlsError::WrongName { expected, names }.to_string()
        };
        assert_eq!(
            wrong(&["etcd-0", "*.example.com"]),
            "the server's certificate is not for 10.0.0.1 but for etcd-0, *.example.com"
        );
        assert!(wrong(&[]).ends_with("but for no name at all (a common name does not count)"));
    }
}
