//! Endpoint URLs: what a caller writes, checked and normalised.

mod socket_path;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use http::uri::Authority;

use crate::error::{Error, Result};

/// Where etcd listens for clients unless told otherwise.
const DEFAULT_PORT: u16 = 2379;

/// The longest host name DNS can carry.
const MAX_HOST_LEN: usize = 253;

/// The address of one member: a host name or an IP address and a port, or the path of a socket.
///
/// Two spellings of one address are equal: `LOCALHOST` and `http://localhost:2379/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    url: Arc<str>,
    tls: bool,
    place: Place,
    authority: Authority,
}

/// Where in the URL the address is.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Tcp { port: u16 },
    Unix { path: Arc<Path> },
}

/// What to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address<'a> {
    Tcp { host: &'a str, port: u16 },
    Unix(&'a Path),
}

/// What is wrong with an endpoint.
type Wrong = &'static str;

const NO_TLS: Wrong =
    "TLS is not configured (the builder's `tls`), and plaintext never takes its place";
const NOT_PLAINTEXT: Wrong =
    "this client's connections are encrypted, and it makes no exception: write https://";

impl Endpoint {
    /// Reads `http://host:port`, `https://host:port`, `host:port` or `host` (port 2379), an IPv6 address in brackets;
    /// `unix:/path` or `unixs:/path`, where the path may also be relative or stand after `//`. `tls`: the client's
    /// connections are encrypted, so what names no scheme, and `unix:`, are as well.
    ///
    /// # Errors
    /// `Config`, which names the endpoint and what is wrong with it, never a password that stands in it.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self> {
        read(text, tls).map_err(|wrong| {
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
    pub(crate) fn parse_list(
        list: impl IntoIterator<Item = impl AsRef<str>>,
        tls: bool,
    ) -> Result<Vec<Self>> {
        let mut endpoints = Vec::new();
        let mut seen = HashSet::new();
        for item in list {
            for text in item.as_ref().split(',') {
                let endpoint = Self::parse(text.trim(), tls)?;
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

    pub(crate) fn address(&self) -> Address<'_> {
        match &self.place {
            Place::Tcp { port } => Address::Tcp {
                host: self.host(),
                port: *port,
            },
            Place::Unix { path } => Address::Unix(path),
        }
    }

    /// Is the connection encrypted?
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host name or IP address, without brackets; of a socket the last part of its path, up to a colon. A certificate
    /// must be for it.
    pub(crate) fn host(&self) -> &str {
        match &self.place {
            Place::Tcp { .. } => {
                let host = self.authority.host();
                host.strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'))
                    .unwrap_or(host)
            }
            Place::Unix { path } => socket_path::host(path),
        }
    }

    /// Could others than this machine read what goes to it?
    pub(crate) fn is_exposed(&self) -> bool {
        let tcp = matches!(self.place, Place::Tcp { .. });
        tcp && !self.tls && !self.is_loopback()
    }

    /// Is its host a name or address of the machine itself, whichever machine that is?
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        let name = host.strip_suffix('.').unwrap_or(host);
        match name.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// The `:authority` of requests: `host:port`, with an IPv6 address in brackets; of a socket the last part of its path.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The endpoint as it is shown everywhere, such as `http://host:port`; cheap to clone.
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
fn read(text: &str, client_tls: bool) -> Result<Endpoint, Wrong> {
    if text.is_empty() {
        return Err("it is blank");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it contains a space or a control character");
    }
    let (scheme, rest) = split_scheme(text);
    match scheme.as_deref() {
        None => read_tcp(rest, client_tls),
        Some("http") if client_tls => Err(NOT_PLAINTEXT),
        Some("http") => read_tcp(rest, false),
        Some("https" | "unixs") if !client_tls => Err(NO_TLS),
        Some("https") => read_tcp(rest, true),
        Some("unix" | "unixs") => socket_path::read(rest, client_tls),
        Some(_) => Err("unknown scheme, expected http, https, unix or unixs"),
    }
}

/// The scheme in lower case, if there is one, and what follows. Socket paths are also written without slashes,
/// `unix:etcd.sock`.
fn split_scheme(text: &str) -> (Option<String>, &str) {
    // First, since a path may hold anything.
    let socket = text.split_once(':').and_then(|(scheme, path)| {
        let is_unix = ["unix", "unixs"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s));
        is_unix.then(|| (scheme, path.strip_prefix("//").unwrap_or(path)))
    });
    let parts = socket.or_else(|| text.split_once("://"));
    match parts {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    }
}

fn read_tcp(address: &str, tls: bool) -> Result<Endpoint, Wrong> {
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.contains(['/', '?', '#']) {
        return Err("a path, query or fragment has no meaning here");
    }
    if address.contains('@') {
        return Err("user and password do not belong into an endpoint");
    }
    let (host, port) = split_port(address)?;
    let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
    let authority = format!("{}:{port}", normalise_host(host)?);
    let scheme = if tls { "https" } else { "http" };
    Ok(Endpoint {
        url: format!("{scheme}://{authority}").into(),
        tls,
        place: Place::Tcp { port },
        authority: authority
            .parse()
            .map_err(|_| "the host is neither a host name nor an IP address")?,
    })
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
