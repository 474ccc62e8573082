//! The head of a call that somebody else made, as a stub does.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Uri, request};

use crate::error::{Error, Result};

/// How long the caller gives the server, as gRPC writes it.
const TIMEOUT: &str = "grpc-timeout";

/// What of a head is about one connection, and not ours: HTTP/2 forbids most of it. `te` has one value, which is set.
const OF_A_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Path and headers of a request; the rest of its head is the endpoint's. Has no `Debug`: headers may hold secrets.
pub(crate) struct RawHead {
    path: PathAndQuery,
    headers: HeaderMap,
}

impl RawHead {
    pub(crate) fn new(head: request::Parts) -> Result<Self> {
        let mut headers = head.headers;
        for name in OF_A_CONNECTION {
            headers.remove(name);
        }
        Ok(Self {
            path: path(&head.uri)?,
            headers,
        })
    }

    pub(crate) fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Puts its headers in place of those of the same names.
    pub(super) fn lay_over(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.clone());
    }
}

fn path(uri: &Uri) -> Result<PathAndQuery> {
    let path = uri.path_and_query().filter(|path| path.as_str() != "*");
    let missing = || Error::invalid_request("the request has no path, which names the RPC");
    path.cloned().ok_or_else(missing)
}

/// The time limit that a request carries: up to eight digits and a unit.
///
/// # Errors
/// `InvalidRequest` for anything else.
pub(crate) fn time_limit(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let limit = value.to_str().ok().and_then(parse);
    let wrong = || Error::invalid_request(format!("{TIMEOUT} is {value:?}, and no time limit"));
    limit.map(Some).ok_or_else(wrong)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn time_limits_are_read_as_grpc_writes_them() {
        let rows = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("1.5S", None),
            ("123456789S", None),
            ("5\u{e9}", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "{text:?}");
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            headers.insert(TIMEOUT, value);
            let limit = time_limit(&headers);
            assert_eq!(limit.is_err(), expected.is_none(), "{limit:?}");
        }
        assert_eq!(time_limit(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_callers_headers_replace_ours_and_those_of_its_connection_are_left_out() {
        let request = Request::builder()
            .uri("http://nowhere/a.B/C")
            .header("x-tenant", "blue")
            .header("x-tenant", "green")
            .header("connection", "close")
            .header("host", "nowhere")
            .header("te", "gzip")
            .body(());
        let head = RawHead::new(request.unwrap().into_parts().0).unwrap();
        assert_eq!(head.path().as_str(), "/a.B/C");
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_static("ours"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        head.lay_over(&mut headers);
        let tenants: Vec<_> = headers.get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["blue", "green"]);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers[TE], "trailers");
    }

    #[test]
    fn a_request_without_a_path_is_refused() {
        for uri in ["*", "nowhere:80"] {
            let request = Request::builder().uri(uri).body(()).unwrap();
            let refused = RawHead::new(request.into_parts().0);
            assert!(matches!(refused, Err(Error::InvalidRequest(_))), "{uri}");
        }
    }
}
