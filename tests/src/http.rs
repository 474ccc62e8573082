//! The few HTTP/1 requests the harness makes of etcd itself: health, metrics, and the JSON gateway.
//!
//! Blocking on purpose: `Drop` needs it, and time limits stay wall-clock time in tests that pause tokio's clock.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::tls::Authority;

/// GETs `path` from `http://host:port` or `https://host:port`; the body of a 200 answer.
pub(crate) fn get(url: &str, path: &str, limit: Duration) -> Result<String> {
    let host = host(url);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    exchange(url, &request, limit)
}

/// POSTs a JSON body to `path` there; the body of a 200 answer.
pub(crate) fn post(url: &str, path: &str, json: &str, limit: Duration) -> Result<String> {
    let (host, length) = (host(url), json.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    exchange(url, &(head + json), limit)
}

/// [`get`] for async callers.
pub(crate) async fn get_async(url: String, path: &'static str, limit: Duration) -> Result<String> {
    tokio::task::spawn_blocking(move || get(&url, path, limit)).await?
}

/// [`post`] for async callers.
pub(crate) async fn post_async(
    url: String,
    path: &'static str,
    json: &'static str,
    limit: Duration,
) -> Result<String> {
    tokio::task::spawn_blocking(move || post(&url, path, json, limit)).await?
}

/// The number in `"key": "123"` or `"key": 123`, the first one of that name. The gateway leaves out what is zero.
pub(crate) fn json_number(json: &str, key: &str) -> u64 {
    let Some((_, after)) = json.split_once(&format!("\"{key}\":")) else {
        return 0;
    };
    let digits = after.trim_start_matches([' ', '"']);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn exchange(url: &str, request: &str, limit: Duration) -> Result<String> {
    let deadline = Instant::now() + limit;
    let host = host(url);
    let socket = TcpStream::connect_timeout(&resolve(host)?, limit)
        .with_context(|| format!("cannot connect to {host}"))?;
    socket.set_write_timeout(Some(limit))?;
    socket.set_read_timeout(Some(limit))?;
    let mut stream = match url.starts_with("https://") {
        true => secure(socket.try_clone()?)?,
        false => Box::new(socket.try_clone()?),
    };
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    // Where the answer ends is read from it: etcd often leaves the connection open whatever was asked.
    let (status, body) = loop {
        if let Some(whole) = parse(&String::from_utf8_lossy(&answer)) {
            break whole;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer from {host} within {limit:?}");
        socket.set_read_timeout(Some(left))?;
        let read = stream.read(&mut chunk);
        match read.with_context(|| format!("no answer from {host}"))? {
            0 => bail!("half an answer from {host}"),
            n => answer.extend_from_slice(&chunk[..n]),
        }
    };
    ensure!(status == "200", "{host} answered {status}: {}", body.trim());
    Ok(body)
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// TLS with a member of a cluster of ours.
fn secure(socket: TcpStream) -> Result<Box<dyn Stream>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = match CONFIG.get() {
        Some(config) => config,
        None => {
            let authority = Authority::shared()?;
            let config = authority.identity()?.client(authority)?;
            CONFIG.get_or_init(|| config.into())
        }
    };
    let session = ClientConnection::new(config.clone(), "localhost".try_into()?)?;
    Ok(Box::new(StreamOwned::new(session, socket)))
}

fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, host)| host)
}

/// Status and body of an answer that is there in full.
fn parse(answer: &str) -> Option<(String, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.to_owned();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let body = match field("content-length") {
        Some(length) => body.get(..length.parse().ok()?)?.to_owned(),
        None => unchunked(body)?,
    };
    Some((status, body))
}

/// A body in chunks, each after a line with its length in hex, put together; the last has length 0.
fn unchunked(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        body = rest.get(length + 2..)?;
    }
}

fn resolve(host: &str) -> Result<SocketAddr> {
    let mut addresses = host
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {host}"))?;
    addresses
        .next()
        .with_context(|| format!("{host} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_stated_length_or_its_last_chunk_and_not_before() {
        let sized = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
        let chunked = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\na\r\ny012345678\r\n0\r\n\r\n";
        for (answer, status, body) in [(sized, "200", "body"), (chunked, "503", "body012345678")] {
            assert_eq!(parse(answer), Some((status.into(), body.into())));
            let last = if answer == sized { 1 } else { 4 };
            for end in 0..=answer.len() - last {
                assert_eq!(parse(&answer[..end]), None, "{end}");
            }
        }
    }

    #[test]
    fn numbers_are_read_from_gateway_json_quoted_or_not() {
        let json = r#"{"header":{"member_id":"123", "raft_term":7},"leader":"456"}"#;
        let found =
            ["member_id", "raft_term", "leader", "absent"].map(|key| json_number(json, key));
        assert_eq!(found, [123, 7, 456, 0]);
    }
}
