//! Versions of etcd, as far as they can be compared.

use std::fmt;
use std::sync::Arc;

use etcd_proto::etcdserverpb::StatusResponse;
use tokio::time::timeout;

use super::ask::status;
use super::state::{EndpointId, Generation};
use super::{Inner, Picked, Pool};

/// Major, minor, patch. A pre-release counts as its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u32; 3]);

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self([major, minor, patch])
    }

    /// Reads `3`, `3.5`, `3.5.21`, `3.6.0-rc.1`, `v3.5`; `None` if it is no version.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let release = text.split(['-', '+']).next()?;
        let mut numbers = [0; 3];
        for (i, number) in release.split('.').enumerate() {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            *numbers.get_mut(i)? = number.parse().ok().filter(|_| digits)?;
        }
        Some(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Pool {
    /// The version of etcd that answers there; `None` if it does not tell it, even when it is asked for it with a token. Cancel safe.
    pub(crate) async fn version_of(&self, picked: &Picked) -> Option<Arc<str>> {
        if picked.version.is_some() {
            return picked.version.clone();
        }
        let asked = status(&picked.connection, &self.options);
        let status = timeout(self.options.connect_timeout, asked)
            .await
            .ok()?
            .ok()?;
        self.lock()
            .learn_version(picked.id, picked.generation, &status);
        told(&status)
    }
}

impl Inner {
    pub(super) fn learn_version(
        &mut self,
        id: EndpointId,
        generation: Generation,
        status: &StatusResponse,
    ) {
        let link = self.links.get_mut(&id);
        if let Some(link) = link.filter(|link| link.generation == generation) {
            link.version = told(status);
        }
    }
}

/// The version that a member told, if it did.
pub(super) fn told(status: &StatusResponse) -> Option<Arc<str>> {
    let version = Some(&*status.version).filter(|version| !version.is_empty());
    version.map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text| Version::parse(text).unwrap();
        for (text, same) in [
            ("3", "3.0.0"),
            ("3.5", "3.5.0"),
            ("v3.5.21", "3.5.21"),
            ("3.6.0-rc.1", "3.6.0"),
            ("3.5.4+git", "3.5.4"),
        ] {
            assert_eq!(version(text).to_string(), same);
        }
        let ascending = ["3.4.34", "3.5", "3.5.9", "3.5.21", "3.10", "4"].map(version);
        assert!(ascending.is_sorted());
        for text in [
            "",
            "v",
            "3.",
            ".5",
            "3.5.1.2",
            "3.x",
            "+3.5",
            "3. 5",
            "latest",
            "99999999999.1",
            "3.-5",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
