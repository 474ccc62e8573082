//! The few HTTP/1 requests the harness makes of etcd itself: health, metrics, and the JSON gateway.
//!
//! Blocking on purpose: `Drop` needs it, and time limits stay wall-clock time in tests that pause tokio's clock.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// GETs `path` from `host:port`; the body of a 200 answer.
pub(crate) fn get(host: &str, path: &str, limit: Duration) -> Result<String> {
    exchange(
        host,
        &format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"),
        limit,
    )
}

/// POSTs a JSON body to `path` of `host:port`; the body of a 200 answer.
pub(crate) fn post(host: &str, path: &str, json: &str, limit: Duration) -> Result<String> {
    let length = json.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    exchange(host, &(head + json), limit)
}

/// [`get`] for async callers.
pub(crate) async fn get_async(host: String, path: &'static str, limit: Duration) -> Result<String> {
    tokio::task::spawn_blocking(move || get(&host, path, limit)).await?
}

/// [`post`] for async callers.
pub(crate) async fn post_async(
    host: String,
    path: &'static str,
    json: &'static str,
    limit: Duration,
) -> Result<String> {
    tokio::task::spawn_blocking(move || post(&host, path, json, limit)).await?
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

/// HTTP/1.0, so that the answer ends where the connection ends and is never chunked.
fn exchange(host: &str, request: &str, limit: Duration) -> Result<String> {
    let deadline = Instant::now() + limit;
    let mut stream = TcpStream::connect_timeout(&resolve(host)?, limit)
        .with_context(|| format!("cannot connect to {host}"))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer from {host} within {limit:?}");
        stream.set_read_timeout(Some(left))?;
        match stream
            .read(&mut chunk)
            .with_context(|| format!("no answer from {host}"))?
        {
            0 => break,
            n => answer.extend_from_slice(&chunk[..n]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("half an answer from {host}"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{host} answered {status}: {}", body.trim());
    Ok(body.to_owned())
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
    use super::json_number;

    #[test]
    fn numbers_are_read_from_gateway_json_quoted_or_not() {
        let json = r#"{"header":{"member_id":"123", "raft_term":7},"leader":"456"}"#;
        let found =
            ["member_id", "raft_term", "leader", "absent"].map(|key| json_number(json, key));
        assert_eq!(found, [123, 7, 456, 0]);
    }
}
