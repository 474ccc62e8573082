//! Leases: granted, kept alive, revoked, and known to be lost in time.

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod handle;
pub(crate) mod keeper;
mod once;
mod state;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use etcd_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};

use self::once::{Renewed, renew_once};
use crate::client::Client;
use crate::error::{Error, LostReason, Outcome, Result};

pub use self::handle::Lease;

/// The id of a lease. It prints as etcdctl prints it, in 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// How a kept lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaseState {
    /// Its renewals are answered.
    Healthy,
    /// A renewal is overdue; the lease is still there.
    AtRisk,
    /// It may not be relied on any more.
    Lost(LostReason),
}

/// A lease that was granted and is not kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// The time to live that etcd granted, which may be more than what was asked for.
    pub ttl: Duration,
}

/// Times to live are rounded up to whole seconds. Futures may be dropped at any time: a grant or a revocation may then
/// have happened or not, and a lease that nobody keeps alive ends when its time to live is over.
impl Client {
    /// Grants a lease and keeps it alive, until its handle is dropped, it is revoked, or it is lost.
    ///
    /// The id is chosen here, so that a grant whose answer was lost can be sent again without leaving a lease behind.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for a TTL of zero, otherwise those of [`send`](Self::send).
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use std::time::Duration;
    /// let lease = client.lease(Duration::from_secs(10)).await?;
    /// client.send(etcd_core::Put::new("svc/a", "10.0.0.7").lease(&lease)).await?;
    /// println!("lost: {}", lease.lost().await);
    /// # Ok(()) }
    /// ```
    #[doc(alias("lease_grant", "NewSession"))]
    pub fn lease(&self, ttl: Duration) -> impl Future<Output = Result<Lease>> + Send + use<> {
        let client = self.clone();
        async move {
            let mut renewed = client.grant_lease(ttl).await?;
            // Much of the time is gone already, as while a leader is elected: begin with a fresh one.
            if client.shared.leases.clock.now() - renewed.sent > renewed.ttl / 4 {
                renewed = client.renew_lease(renewed.id).await?;
            }
            Ok(Lease::keep(client, &renewed))
        }
    }

    /// Grants a lease without keeping it alive.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease).
    #[doc(alias = "lease_grant")]
    pub fn grant(&self, ttl: Duration) -> impl Future<Output = Result<Granted>> + Send + use<> {
        let client = self.clone();
        async move {
            let Renewed { id, ttl, .. } = client.grant_lease(ttl).await?;
            Ok(Granted { id, ttl })
        }
    }

    /// Keeps an existing lease alive, whoever granted it. Returns when it has been renewed for the first time.
    ///
    /// A lease may be kept by several handles; each renews and loses it by itself.
    ///
    /// # Errors
    /// Those of [`keep_alive_once`](Self::keep_alive_once).
    #[doc(alias = "lease_keep_alive")]
    pub fn keep_alive(&self, id: LeaseId) -> impl Future<Output = Result<Lease>> + Send + use<> {
        let client = self.clone();
        async move {
            let renewed = client.renew_lease(id).await?;
            Ok(Lease::keep(client, &renewed))
        }
    }

    /// Renews a lease once. Returns the time that it has from now.
    ///
    /// # Errors
    /// `Error::LeaseLost` ([`is_lease_not_found`](Error::is_lease_not_found)) if etcd does not have the lease. A renewal
    /// is repeated on other endpoints until the time limit.
    #[doc(alias = "KeepAliveOnce")]
    pub fn keep_alive_once(
        &self,
        id: LeaseId,
    ) -> impl Future<Output = Result<Duration>> + Send + use<> {
        let client = self.clone();
        async move { Ok(client.renew_lease(id).await?.ttl) }
    }

    /// Ends a lease and deletes the keys that are tied to it. A [`Lease`] that keeps it alive learns it with its next renewal.
    ///
    /// # Errors
    /// [`is_lease_not_found`](Error::is_lease_not_found) if etcd does not have the lease; otherwise those of
    /// [`send`](Self::send). Revoking twice does no harm, so it is repeated where a write would not be.
    #[doc(alias = "lease_revoke")]
    pub fn revoke(&self, id: LeaseId) -> impl Future<Output = Result<()>> + Send + use<> {
        let client = self.idempotent();
        async move {
            match client.send(LeaseRevokeRequest { id: id.0 }).await {
                // By an attempt whose answer was lost.
                Err(error) if error.is_lease_not_found() && may_be_ours(&error) => Ok(()),
                result => result.map(|_| ()),
            }
        }
    }

    /// How long a lease still lives, in seconds, what was granted, and, if `keys`, the keys that are tied to it.
    ///
    /// # Errors
    /// `Error::LeaseLost` ([`is_lease_not_found`](Error::is_lease_not_found)) if etcd does not have the lease: etcd itself
    /// answers with a TTL of -1. Otherwise those of [`send`](Self::send).
    #[doc(alias = "lease_time_to_live")]
    pub fn time_to_live(
        &self,
        id: LeaseId,
        keys: bool,
    ) -> impl Future<Output = Result<LeaseTimeToLiveResponse>> + Send + use<> {
        let (client, id) = (self.clone(), id.0);
        async move {
            let reply = client.send(LeaseTimeToLiveRequest { id, keys }).await?;
            let lost = Error::LeaseLost {
                id,
                reason: LostReason::NotFound,
            };
            if reply.ttl < 0 { Err(lost) } else { Ok(reply) }
        }
    }

    /// All leases of the cluster.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn leases(&self) -> impl Future<Output = Result<Vec<LeaseId>>> + Send + use<> {
        let client = self.clone();
        async move {
            Ok(client
                .send(LeaseLeasesRequest {})
                .await?
                .leases
                .into_iter()
                .map(|lease| LeaseId(lease.id))
                .collect())
        }
    }

    /// Stops keeping every lease of this client and its clones alive. Returns how many were kept; each is
    /// [lost](Lease::lost) as `Halted`, and lives on until its time to live is over.
    #[doc(alias("close", "KeepAliveHalted"))]
    pub fn halt_all(&self) -> usize {
        self.shared.leases.lose_all(LostReason::Halted)
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<Renewed> {
        let ttl = whole_seconds(ttl)?;
        // From the operating system's randomness: clients that start at the same time must not choose the same id.
        let id = LeaseId((RandomState::new().hash_one(ttl) >> 1) as i64);
        let sent = self.shared.leases.clock.now();
        let request = LeaseGrantRequest { ttl, id: id.0 };
        match self.idempotent().send(request).await {
            Ok(reply) => Ok(Renewed {
                id: LeaseId(reply.id),
                ttl: seconds(reply.ttl),
                sent,
            }),
            // Granted by an attempt whose answer was lost, and with it the TTL.
            Err(error) if error.is_lease_already_exists() && may_be_ours(&error) => {
                self.renew_lease(id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn renew_lease(&self, id: LeaseId) -> Result<Renewed> {
        renew_once(
            self.pool(),
            &self.shared.tokens,
            &self.shared.leases.clock,
            id,
            self.pinned()?,
            self.time_limit(),
        )
        .await
    }
}

/// Whether what a refusal says is so may be the work of an earlier attempt of the same call.
fn may_be_ours(refusal: &Error) -> bool {
    refusal.outcome() == Outcome::Unknown
}

/// As etcd counts, rounded up.
fn whole_seconds(ttl: Duration) -> Result<i64> {
    let seconds = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0));
    match i64::try_from(seconds) {
        Ok(0) => Err(Error::invalid_request(
            "a lease needs a time to live longer than zero",
        )),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err(Error::invalid_request(
            "the time to live of a lease is too long",
        )),
    }
}

/// A TTL off the wire; anything below zero is none.
fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({self})")
    }
}

impl From<i64> for LeaseId {
    fn from(id: i64) -> Self {
        Self(id)
    }
}

impl From<LeaseId> for i64 {
    fn from(id: LeaseId) -> Self {
        id.0
    }
}

impl From<&Lease> for LeaseId {
    fn from(lease: &Lease) -> Self {
        lease.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [
            (1, 1),
            (400, 1),
            (1_000, 1),
            (1_001, 2),
            (1_900, 2),
            (15_000, 15),
        ] {
            assert_eq!(
                whole_seconds(Duration::from_millis(millis)).unwrap(),
                seconds,
                "{millis} ms"
            );
        }
        for refused in [Duration::ZERO, Duration::MAX] {
            assert!(
                matches!(whole_seconds(refused), Err(Error::InvalidRequest(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_lease_id_prints_as_etcdctl_prints_it() {
        assert_eq!(
            LeaseId::from(0x694d_5765_fc71_500b).to_string(),
            "694d5765fc71500b"
        );
        assert_eq!(LeaseId(1).to_string(), "0000000000000001");
    }
}
