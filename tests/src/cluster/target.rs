//! Where the suites run that kill nothing: one member per test binary, or the user's cluster.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use tokio::sync::OnceCell;

use super::Cluster;
use crate::http;

/// The member that the tests of one binary share. Never dropped: it goes when the process ends.
static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// A cluster that outlives this test and that others use at the same time, so a test keeps to its own [`Prefix`] and breaks nothing.
///
/// It is the user's own when `ETCD_ENDPOINTS` is set (a comma-separated list), else one member that all tests of this binary share.
#[derive(Debug, Clone)]
pub struct Target {
    endpoints: Vec<String>,
    own: Option<&'static Cluster>,
}

impl Target {
    /// The target of this test binary, started by the first test that asks.
    ///
    /// # Errors
    /// When the member cannot be started, or `ETCD_ENDPOINTS` has anything but `http://host:port`: the clean-up trusts no
    /// certificate but the tests' own.
    pub async fn get() -> Result<Target> {
        if let Ok(list) = std::env::var("ETCD_ENDPOINTS") {
            return Ok(Target {
                endpoints: parse(&list)?,
                own: None,
            });
        }
        let own = SHARED.get_or_try_init(|| Cluster::start(1)).await?;
        Ok(Target {
            endpoints: own.endpoints(),
            own: Some(own),
        })
    }

    /// The client URLs.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The shared member, to read its metrics; `None` when the cluster is the user's.
    pub fn own(&self) -> Option<&'static Cluster> {
        self.own
    }

    /// A key prefix that no other test has, now or later.  Everything under it is deleted when it is dropped.
    pub fn prefix(&self) -> Prefix {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Prefix {
            text: format!("etcd-tests/{now:x}-{process:x}-{number:x}/"),
            endpoints: self.endpoints.clone(),
        }
    }
}

/// A key prefix of a test's own, `etcd-tests/…/`.  Reads as a `str`; dropping it deletes every key under it, as far as that can be done
/// within 2 s for each endpoint.
#[derive(Debug)]
pub struct Prefix {
    text: String,
    endpoints: Vec<String>,
}

impl Prefix {
    /// The key `name` under this prefix.
    pub fn key(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.text)
    }
}

impl Deref for Prefix {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // The prefix ends in '/', so the first key after everything under it ends in '0'.
        let end = format!("{}0", self.text.trim_end_matches('/'));
        let json = format!(
            r#"{{"key":"{}","range_end":"{}"}}"#,
            base64(self.text.as_bytes()),
            base64(end.as_bytes())
        );
        self.endpoints.iter().any(|endpoint| {
            http::post(
                endpoint,
                "/v3/kv/deleterange",
                &json,
                Duration::from_secs(2),
            )
            .is_ok()
        });
    }
}

fn parse(list: &str) -> Result<Vec<String>> {
    let endpoints: Vec<_> = list
        .split(',')
        .map(|endpoint| endpoint.trim().trim_end_matches('/').to_owned())
        .collect();
    for endpoint in &endpoints {
        ensure!(
            endpoint.starts_with("http://"),
            "ETCD_ENDPOINTS takes http://host:port,…; not {endpoint:?}"
        );
    }
    Ok(endpoints)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |chunk: &[u8]| {
        let group = chunk
            .iter()
            .fold(0, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        let digit = |i: usize| {
            if i > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[(group >> (18 - 6 * i) & 63) as usize])
            }
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(quad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_groups_of_four() {
        let encoded =
            ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(
            encoded,
            [
                "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"
            ]
        );
    }

    #[test]
    fn an_endpoint_list_may_have_spaces_but_no_other_scheme() {
        assert_eq!(
            parse("http://a:1, http://b:2/").unwrap(),
            ["http://a:1", "http://b:2"]
        );
        for bad in ["", "https://a:1", "a:1", "http://a:1,,"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
