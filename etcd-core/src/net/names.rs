//! The addresses of host names, and those found last.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

/// How many names are remembered: more than a cluster has, however often its members are replaced.
const NAMES: usize = 256;

/// What names meant when they were looked up last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<Name, Vec<SocketAddr>>>>);

/// Host and port.
type Name = (String, u16);

impl Names {
    /// What `lookup` finds within `limit`; if that is nothing, what was found last.
    ///
    /// # Errors
    /// Why nothing was found, if nothing ever was.
    pub(super) async fn find(
        &self,
        (host, port): (&str, u16),
        limit: Duration,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> io::Result<Vec<SocketAddr>> {
        let failed = |kind, why: String| {
            io::Error::new(kind, format!("the name {host} cannot be resolved: {why}"))
        };
        let error = match timeout(limit, lookup).await {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                failed(io::ErrorKind::NotFound, "it has no address".to_owned())
            }
            Ok(Ok(addresses)) => {
                self.remember((host.to_owned(), port), &addresses);
                return Ok(addresses);
            }
            Ok(Err(error)) => failed(error.kind(), error.to_string()),
            Err(_) => failed(
                io::ErrorKind::TimedOut,
                format!("no answer of DNS within {limit:?}"),
            ),
        };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&(host.to_owned(), port)) {
            Some(addresses) => {
                tracing::debug!(%error, "the addresses found last are tried");
                Ok(addresses.clone())
            }
            None => Err(error),
        }
    }

    fn remember(&self, name: Name, addresses: &[SocketAddr]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(name, addresses.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 1).into()
    }

    async fn find(
        names: &Names,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> Result<Vec<SocketAddr>, String> {
        let limit = Duration::from_secs(1);
        let found = names.find(("etcd.test", 1), limit, lookup).await;
        found.map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn while_dns_fails_the_addresses_found_last_are_good_enough() {
        let names = Names::default();
        let broken = || ready(Err(io::Error::other("out of order")));
        let said = find(&names, broken()).await.unwrap_err();
        assert!(
            said.contains("etcd.test") && said.contains("out of order"),
            "{said}"
        );
        let said = find(&names, pending()).await.unwrap_err();
        assert!(said.contains("DNS within 1s"), "{said}");
        let said = find(&names, ready(Ok(Vec::new()))).await.unwrap_err();
        assert!(said.contains("no address"), "{said}");

        for moved in [1, 2] {
            let found = ready(Ok(vec![address(moved)]));
            assert_eq!(find(&names, found).await, Ok(vec![address(moved)]));
            assert_eq!(find(&names, broken()).await, Ok(vec![address(moved)]));
            assert_eq!(find(&names, pending()).await, Ok(vec![address(moved)]));
            assert_eq!(
                find(&names, ready(Ok(Vec::new()))).await,
                Ok(vec![address(moved)])
            );
        }
    }
}
