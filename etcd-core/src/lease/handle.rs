//! The handle of a lease that is kept alive.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::keeper::Keeper;
use super::once::Renewed;
use super::state::Slot;
use super::{LeaseId, LeaseState};
use crate::client::Client;
use crate::error::{LostReason, Result};

/// A lease that is kept alive as long as this handle lives. Made by [`Client::lease`] and [`Client::keep_alive`].
///
/// It is renewed every third of its time to live, on a stream that all leases of the client share and that moves to another
/// member when this one does not answer. A live handle keeps the client's connections, even when every `Client` is dropped.
///
/// **What may be relied on:** while [`is_valid`](Self::is_valid) is true, etcd has not let the lease expire. That counts from
/// when the last confirmed renewal was sent, minus a margin for clocks that differ by up to a tenth, on a clock that goes on
/// while the machine sleeps. **What may not:** the lease can be revoked, which is noticed with the next renewal. Others
/// may do that, and so may etcd: a leader that was stopped for longer than the time to live can revoke, when it goes on, leases
/// that its successor has renewed in the meantime (seen with etcd 3.7.2).
///
/// Dropping the handle stops the renewals; the lease then ends on the server when its time to live is over.
#[doc(alias("LeaseKeeper", "KeepAlive"))]
pub struct Lease {
    client: Client,
    slot: Slot,
    id: LeaseId,
    ttl: Duration,
    lost: watch::Receiver<Option<LostReason>>,
}

impl Lease {
    pub(super) fn keep(client: Client, renewed: &Renewed) -> Self {
        let (slot, lost) = client.shared.leases.keep(renewed);
        Self {
            client,
            slot,
            id: renewed.id,
            ttl: renewed.ttl,
            lost,
        }
    }

    /// The id of the lease.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// The time to live that etcd granted, which may be more than what was asked for.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether the lease may be relied on now. Computed from the clock at each call: also right when no task has run since
    /// the lease expired, as after the process was stopped. Once false, it stays false.
    pub fn is_valid(&self) -> bool {
        !matches!(self.state(), LeaseState::Lost(_))
    }

    /// How the lease stands now, by the clock.
    pub fn state(&self) -> LeaseState {
        let lost = || LeaseState::Lost(self.lost.borrow().unwrap_or(LostReason::Dropped));
        self.keeper().state(self.slot).unwrap_or_else(lost)
    }

    /// How much longer the lease may be relied on if no further renewal is confirmed; zero when it is lost.
    pub fn remaining(&self) -> Duration {
        self.keeper().remaining(self.slot)
    }

    /// Resolves when the lease is lost, with the reason; at once if it is lost already. When renewals stay unanswered, that is
    /// at the deadline, not when etcd can be reached again. The future does not keep the lease alive; it may be dropped.
    ///
    /// ```no_run
    /// # async fn work() {}
    /// # async fn run(lease: etcd_core::Lease) {
    /// tokio::select! {
    ///     () = work() => {}
    ///     reason = lease.lost() => println!("stopped: {reason}"),
    /// }
    /// # }
    /// ```
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            let reason = lost.wait_for(Option::is_some).await;
            reason
                .ok()
                .and_then(|reason| *reason)
                .unwrap_or(LostReason::Dropped)
        }
    }

    /// Stops keeping the lease alive, and leaves it to its time to live.
    #[doc(alias = "orphan")]
    pub fn halt(&self) {
        self.keeper().lose(self.slot, LostReason::Halted);
    }

    /// Ends the lease now, and deletes the keys that are tied to it. The handle is not valid from this call on.
    ///
    /// # Errors
    /// Those of [`Client::revoke`], but a lease that is gone already is no error. After an error, and when the future is
    /// dropped, the lease ends at the latest when its time to live is over.
    pub fn revoke(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.keeper().lose(self.slot, LostReason::Revoked);
        let (client, id) = (self.client.clone(), self.id);
        async move {
            match client.revoke(id).await {
                Err(error) if error.is_lease_not_found() => Ok(()),
                result => result,
            }
        }
    }

    fn keeper(&self) -> &Keeper {
        &self.client.shared.leases
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper().lose(self.slot, LostReason::Dropped);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lease = f.debug_struct("Lease");
        lease
            .field("id", &self.id)
            .field("ttl", &self.ttl)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
