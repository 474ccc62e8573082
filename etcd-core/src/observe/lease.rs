//! The leases that a client keeps alive.

use std::fmt::Display;
use std::time::Duration;

use super::meter;
use crate::error::LostReason;

/// How many of them there were when it was last told. When this is dropped, none is kept any more.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    healthy: usize,
    at_risk: usize,
}

impl Leases {
    /// There are so many now.
    pub(crate) fn count(&mut self, all: usize, at_risk: usize) {
        let healthy = all.saturating_sub(at_risk);
        meter::leases("Healthy", self.healthy, healthy);
        meter::leases("AtRisk", self.at_risk, at_risk);
        (self.healthy, self.at_risk) = (healthy, at_risk);
    }

    pub(crate) fn kept(id: impl Display, ttl: Duration) {
        tell(&id, "New", "Healthy", Some(ttl));
    }

    pub(crate) fn at_risk(id: impl Display) {
        tracing::warn!(target: "etcd_core::lease", lease = %id, from = "Healthy", to = "AtRisk", "lease state");
    }

    /// A renewal was confirmed when the lease could have been relied on for so long without it.
    pub(crate) fn renewed(id: impl Display, margin: Duration, was_at_risk: bool) {
        meter::lease_margin(margin);
        if was_at_risk {
            tell(&id, "AtRisk", "Healthy", None);
        }
    }

    pub(crate) fn lost(id: impl Display, reason: LostReason) {
        meter::lease_lost(reason);
        match reason {
            LostReason::Deadline | LostReason::NotFound => {
                tracing::warn!(target: "etcd_core::lease", lease = %id, to = "Lost", %reason, "lease state");
            }
            _ => {
                tracing::debug!(target: "etcd_core::lease", lease = %id, to = "Lost", %reason, "lease state");
            }
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.count(0, 0);
    }
}

fn tell(id: &dyn Display, from: &'static str, to: &'static str, ttl: Option<Duration>) {
    let ttl_s = ttl.map(|ttl| ttl.as_secs());
    tracing::debug!(target: "etcd_core::lease", lease = %id, from, to, ttl_s, "lease state");
}
