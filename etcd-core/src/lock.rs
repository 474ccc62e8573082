//! The server's own locks.

use std::future::Future;

use etcd_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::lease::LeaseId;
use crate::range::IntoBytes;

/// These are thin: the holder is not told when its lease ends and the next one is let in, and nothing stops it from going on
/// then. Guard each write by the key that [`lock`](Self::lock) returns, or use the locks of the crate etcd-recipes, which
/// watch their lease and carry a fencing token.
impl Client {
    /// Waits, without limit unless the view has one, until a lease owns a lock, and returns the key that stands for it: it
    /// exists for as long as the lock is held. Locks go to those who wait in the order in which they asked. A lease that owns
    /// the lock already gets it at once.
    ///
    /// The lock is given up when the lease ends, so keep it alive; nobody else does. The RPC takes a request without a lease
    /// too, grants one of 60 s that nobody knows and nobody renews, and so hands out a lock that ends by itself: it is refused
    /// here. Sent again only when it was certainly not received; after an error whose [`outcome`](Error::outcome) is unknown
    /// the lock may be held, until the lease ends or is revoked.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for lease 0; [`is_lease_not_found`](Error::is_lease_not_found);
    /// `EtcdError::LockSessionExpired` if the lease ended while it waited (etcd 3.4 answers with a key that does not exist, as if
    /// the lock were held: only a guard as below tells); those of [`send`](Self::send).
    ///
    /// Dropping the future withdraws the request; if the lock had been obtained by then, it is held until the lease ends.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Compare, Put, Txn};
    /// use std::time::Duration;
    /// let lease = client.lease(Duration::from_secs(10)).await?;
    /// let held = client.lock("jobs", &lease).await?.key;
    /// let guarded = Txn::new()
    ///     .when(Compare::create_revision(&held).greater(0))
    ///     .then(Put::new("jobs/last", "1"));
    /// let still_held = client.txn(guarded).await?.succeeded;
    /// client.unlock(held).await?;
    /// # Ok(()) }
    /// ```
    pub fn lock(
        &self,
        name: impl IntoBytes,
        lease: impl Into<LeaseId>,
    ) -> impl Future<Output = Result<LockResponse>> + Send + 'static {
        // After a lost connection the server withdraws what it was waiting for, and with it what was asked for again.
        let (client, name) = (self.at_most_once(), name.into_bytes());
        let lease = owner(lease.into());
        async move {
            let lease = lease?;
            client.send(LockRequest { name, lease }).await
        }
    }

    /// Gives a lock up by the key that came with it. That it is not held any more is no error.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn unlock(
        &self,
        key: impl IntoBytes,
    ) -> impl Future<Output = Result<UnlockResponse>> + Send + 'static {
        let key = key.into_bytes();
        self.send(UnlockRequest { key })
    }
}

/// The lease that is to own a lock or a leadership.
pub(crate) fn owner(lease: LeaseId) -> Result<i64> {
    match lease.0 {
        0 => Err(Error::invalid_request(
            "a lock or a leadership needs a lease: without one etcd takes one of its own, which nobody renews",
        )),
        id => Ok(id),
    }
}
