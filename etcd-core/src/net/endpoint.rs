//! Endpoint URLs: what a caller writes, checked and normalised.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::error::{Error, Result};

const SCHEME: &str = "http://";

/// Where etcd listens for clients unless told otherwise.
const DEFAULT_PORT: u16 = 2379;

/// The longest host name DNS can carry.
const MAX_HOST_LEN: usize = 253;

/// The address of one member: a host name or an IP address, and a port.
///
/// Two spellings of one address are equal: `LOCALHOST` and `http://localhost:2379/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    url: Arc<str>,
    port: u16,
}

/// What is wrong with an endpoint.
type Wrong = &'static str;

const NO_TLS: Wrong = "TLS is not available in this version, and plaintext never takes its place";

impl Endpoint {
    /// Reads `http://host:port`, `host:port` or `host` (port 2379); an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// `Config`, which names the endpoint and what is wrong with it, never a password that stands in it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        read(text).map_err(|wrong| {
            Error::config(
                "endpoints",
                format!("`{}`: {wrong}", without_userinfo(text)),
            )
        })
    }

    /// Reads a list of endpoints, each item of which may be a list itself, separated by commas.
    /// Duplicates are dropped, the order is kept.
    ///
    /// # Errors
    /// `Config`, for the first bad item, a blank item, or an empty list.
    pub(crate) fn parse_list(list: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Vec<Self>> {
        let mut endpoints = Vec::new();
        let mut seen = HashSet::new();
        for item in list {
            for text in item.as_ref().split(',') {
                let endpoint = Self::parse(text.trim())?;
                if seen.insert(endpoint.clone()) {
                    endpoints.push(endpoint);
                }
            }
        }
        if endpoints.is_empty() {
            return Err(Error::config("endpoints", "the list is empty"));
        }
        Ok(endpoints)
    }

    /// The host name or IP address, without brackets.
    pub(crate) fn host(&self) -> &str {
        let authority = self.authority();
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// Can others than this machine read what goes to it?
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.host();
        let name = host.strip_suffix('.').unwrap_or(host);
        let here = match name.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        };
        !here
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, with an IPv6 address in brackets: the `:authority` of a request.
    pub(crate) fn authority(&self) -> &str {
        &self.url[SCHEME.len()..]
    }

    /// `http://host:port`, as it is shown everywhere; cheap to clone.
    pub(crate) fn url(&self) -> &Arc<str> {
        &self.url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part of [`Endpoint::parse`] that says only what is wrong.
fn read(text: &str) -> Result<Endpoint, Wrong> {
    if text.is_empty() {
        return Err("it is blank");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it contains a space or a control character");
    }
    let address = strip_scheme(text)?;
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains(['/', '?', '#']) {
        return Err("a path, query or fragment has no meaning here");
    }
    if address.contains('@') {
        return Err("user and password do not belong into an endpoint");
    }
    let (host, port) = split_port(address)?;
    let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
    let host = normalise_host(host)?;
    Ok(Endpoint {
        url: format!("{SCHEME}{host}:{port}").into(),
        port,
    })
}

fn strip_scheme(text: &str) -> Result<&str, Wrong> {
    let lower = text.to_ascii_lowercase();
    // Socket paths are also written without slashes, `unix:etcd.sock`.
    if lower.starts_with("unixs:") {
        return Err(NO_TLS);
    }
    if lower.starts_with("unix:") {
        return Err("unix sockets are not available in this version");
    }
    let Some((scheme, _)) = lower.split_once("://") else {
        return Ok(text);
    };
    match scheme {
        "http" => Ok(&text[SCHEME.len()..]),
        "https" => Err(NO_TLS),
        _ => Err("unknown scheme, expected http"),
    }
}

/// Splits at the colon before the port; the host keeps its brackets.
fn split_port(address: &str) -> Result<(&str, Option<&str>), Wrong> {
    if address.starts_with('[') {
        let end = address
            .find(']')
            .ok_or("the bracket of the IPv6 address is not closed")?;
        let (host, rest) = address.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only a port may follow the IPv6 address"),
        };
    }
    match address.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address needs brackets, as in [::1]:2379")
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((address, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

fn normalise_host(host: &str) -> Result<String, Wrong> {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| "no IPv6 address stands in the brackets")?;
        return Ok(format!("[{address}]"));
    }
    if host.is_empty() {
        return Err("the host is missing");
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if host.len() > MAX_HOST_LEN
        || !name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(allowed))
    {
        return Err("the host is neither a host name nor an IP address");
    }
    // A resolver would take `127.1` for 127.0.0.1, and wait on DNS for `10.0.0.256`.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host looks like an IPv4 address but is none");
    }
    Ok(host.to_ascii_lowercase())
}

/// The endpoint as it may be shown: without a user and password that someone put into it.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        None => text.to_owned(),
        Some((before, after)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{after}"),
            None => format!("…@{after}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_normalised() {
        for (text, host, port, authority) in [
            ("http://10.0.0.1:2379", "10.0.0.1", 2379, "10.0.0.1:2379"),
            (
                "http://etcd-0.etcd:4001/",
                "etcd-0.etcd",
                4001,
                "etcd-0.etcd:4001",
            ),
            (
                "HTTP://Etcd_A.Example.com:1",
                "etcd_a.example.com",
                1,
                "etcd_a.example.com:1",
            ),
            ("http://localhost", "localhost", 2379, "localhost:2379"),
            ("localhost:65535", "localhost", 65535, "localhost:65535"),
            ("localhost:65535/", "localhost", 65535, "localhost:65535"),
            ("localhost", "localhost", 2379, "localhost:2379"),
            ("etcd.svc.", "etcd.svc.", 2379, "etcd.svc.:2379"),
            ("unix", "unix", 2379, "unix:2379"),
            ("[::1]:2479", "::1", 2479, "[::1]:2479"),
            ("[::1]", "::1", 2379, "[::1]:2379"),
            (
                "http://[2001:DB8:0::5]:80/",
                "2001:db8::5",
                80,
                "[2001:db8::5]:80",
            ),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.host(), endpoint.port(), endpoint.authority()),
                (host, port, authority),
                "{text}"
            );
            assert_eq!(endpoint.to_string(), format!("http://{authority}"));
        }
    }

    #[test]
    fn bad_endpoints_are_refused_and_named() {
        for (text, wrong) in [
            ("", "blank"),
            ("ftp://a:1", "unknown scheme"),
            ("://a:1", "unknown scheme"),
            ("https://a:1", "TLS is not available"),
            ("HTTPS://a:1", "TLS is not available"),
            ("unixs:///run/etcd.sock", "TLS is not available"),
            ("unix:///run/etcd.sock", "unix sockets are not available"),
            ("unix:etcd.sock", "unix sockets are not available"),
            ("http://", "host is missing"),
            ("http://:2379", "host is missing"),
            ("http://a:", "port is not a number"),
            ("a:0", "port is not a number"),
            ("a:70000", "port is not a number"),
            ("a:+80", "port is not a number"),
            ("a:b", "port is not a number"),
            ("http://a:1/v3", "path"),
            ("http://a:1//", "path"),
            ("http://a:1?x", "path"),
            ("http://a:1#x", "path"),
            ("a b:1", "space"),
            ("a\u{a0}:1", "space"),
            ("::1", "needs brackets"),
            ("http://::1:2379", "needs brackets"),
            ("[::1", "not closed"),
            ("[::1]2379", "only a port"),
            ("[]:1", "no IPv6 address"),
            ("[10.0.0.1]:1", "no IPv6 address"),
            ("a..b", "neither a host name nor"),
            ("zürich:1", "neither a host name nor"),
            ("10.0.0.256:1", "IPv4"),
            ("127.1:1", "IPv4"),
        ] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
            assert!(error.contains(&format!("`{text}`")), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        for text in [
            "http://root:s3cret@a:1",
            "root:s3cret@a:1",
            "https://root:s3cret@a:1",
            "http://root:s3@cret@a:1",
        ] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(
                !error.contains("s3") && !error.contains("cret") && error.contains("…@a:1"),
                "{error}"
            );
        }
    }

    #[test]
    fn lists_are_split_trimmed_and_freed_of_duplicates() {
        let parse = |list: &[&str]| match Endpoint::parse_list(list) {
            Ok(list) => Ok(list.iter().map(Endpoint::to_string).collect::<Vec<_>>()),
            Err(error) => Err(error.to_string()),
        };
        let ab = Ok(vec!["http://a:2379".to_owned(), "http://b:1".to_owned()]);
        assert_eq!(parse(&["a", "b:1"]), ab);
        assert_eq!(parse(&[" a , http://b:1/ "]), ab);
        assert_eq!(parse(&["a,b:1", "http://A:2379,a"]), ab);
        assert!(parse(&[]).is_err_and(|error| error.contains("empty")));
        for list in [&[""][..], &["a", " "], &["a,,b"], &["a,"]] {
            assert!(
                parse(list).is_err_and(|error| error.contains("blank")),
                "{list:?}"
            );
        }
    }
}
