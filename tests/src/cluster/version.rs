//! Which etcd the members are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::member::default_binary;
use super::{ANSWER_LIMIT, Builder, Cluster, Target};
use crate::http;
use crate::versions::{Version, parse};

/// The etcd that members are upgraded to: the one that the environment variable `ETCD_BIN_NEXT` names, else the one that they
/// are already.
///
/// # Errors
/// When etcd does not come with the tests on this platform.
pub fn next_binary() -> Result<PathBuf> {
    std::env::var_os("ETCD_BIN_NEXT").map_or_else(default_binary, |path| Ok(path.into()))
}

impl Cluster {
    /// The version of member `i`.
    ///
    /// # Errors
    /// When it does not answer within 1 s.
    pub async fn version(&self, i: usize) -> Result<Version> {
        of(self.endpoint(i)).await
    }

    /// From its next start on, member `i` is this etcd.
    ///
    /// # Panics
    /// When there is no member `i`.
    pub fn replace_binary(&mut self, i: usize, path: impl Into<PathBuf>) {
        self.members[i].binary = path.into();
    }
}

impl Target {
    /// The version of its first endpoint.
    ///
    /// # Errors
    /// When that does not answer within 1 s.
    pub async fn version(&self) -> Result<Version> {
        let first = self.endpoints().first().context("no endpoint")?;
        of(first.clone()).await
    }
}

impl Builder {
    /// With the flags whose names depend on the version.
    pub(super) fn for_binary(mut self, binary: &Path) -> Result<Self> {
        if let Some(interval) = self.progress_interval.take() {
            let old = of_binary(binary)? < (3, 6);
            let experimental = if old { "experimental-" } else { "" };
            let millis = interval.as_millis();
            let flag = format!("--{experimental}watch-progress-notify-interval={millis}ms");
            self.args.push(flag);
        }
        Ok(self)
    }
}

/// From its first line, `etcd Version: 3.6.15`.
fn of_binary(path: &Path) -> Result<Version> {
    let output = Command::new(path).arg("--version").output();
    let output = output.with_context(|| path.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.strip_prefix("etcd Version: ").and_then(parse);
    told.with_context(|| format!("{}: {text}", path.display()))
}

async fn of(url: String) -> Result<Version> {
    let json = http::get_async(url, "/version", ANSWER_LIMIT).await?;
    let (_, after) = json
        .split_once(r#""etcdserver":""#)
        .with_context(|| json.clone())?;
    parse(after).with_context(|| json.clone())
}
