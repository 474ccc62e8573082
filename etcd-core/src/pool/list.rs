//! The list of endpoints as a whole: how it changes under a client that runs, and how much of it is connected.

use tokio::time::Instant;

use super::Pool;
use super::state::{EndpointView, Tally};
use crate::error::{Error, Outcome, Result};
use crate::net::endpoint::Endpoint;

impl Pool {
    /// Replaces the list by what `change` makes of it. Endpoints in both keep their connections, new ones are connected at once.
    /// Those that are gone are drained: no call or stream is begun there, the calls under way and the streams of readers end by
    /// themselves, watches and lease renewals move. Their connections are closed when nothing is left on them.
    ///
    /// # Errors
    /// That of `change`, and `Error::Closed`; the list is then as it was.
    pub(crate) fn change_list(
        &self,
        change: impl FnOnce(Vec<EndpointView>) -> Result<Vec<Endpoint>>,
    ) -> Result<()> {
        let mut inner = self.lock();
        if self.is_closed() {
            return Err(Error::Closed {
                outcome: Outcome::NotApplied,
            });
        }
        let now = Instant::now().into_std();
        let endpoints = change(inner.state.snapshot(now))?;
        let removed = inner.state.set_endpoints(endpoints, now);
        let gone: Vec<_> = removed
            .iter()
            .map(|id| (inner.links.remove(id), inner.listed.remove(id)))
            .collect();
        drop(inner);
        // Outside the lock: who hears of it asks the pool.
        drop(gone);
        self.wake();
        Ok(())
    }

    /// Waits until as many endpoints are connected as `enough` says of their number; false when so many have failed for good
    /// that this cannot come. Cancel safe.
    ///
    /// # Errors
    /// `Error::Closed`.
    pub(crate) async fn opened(&self, enough: impl Fn(usize) -> usize) -> Result<bool> {
        let mut changed = self.changed.subscribe();
        let mut closed = self.closed.subscribe();
        loop {
            if *closed.borrow_and_update() {
                return Err(Error::Closed {
                    outcome: Outcome::NotApplied,
                });
            }
            let tally = self.tally();
            let enough = enough(tally.endpoints);
            if tally.connected >= enough {
                return Ok(true);
            }
            if tally.endpoints - tally.hopeless < enough {
                return Ok(false);
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = closed.changed() => {}
            }
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.lock().state.tally()
    }
}
