//! All watches of a client: which mux a new one goes to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::mux::{self, Mux};
use super::queue::QueueLimits;
use super::request::Watch;
use super::revision::CurrentRevision;
use super::slot::{Cancel, Slot};
use super::state::Limits;
use crate::options::Options;
use crate::pool::{EndpointId, Pool};
use crate::token::Tokens;

/// How many parked watchers of a client may catch up at the same time: each may be sent all that it missed.
const CATCHING_UP: usize = 4;

/// What sets streams apart: watches that agree in it share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamKey {
    /// The endpoint that the view is pinned to.
    pub(crate) endpoint: Option<EndpointId>,
    pub(crate) require_leader: bool,
    /// The generation of the token it was opened with: the members judge every new watch on it by that token, however old.
    pub(crate) token: u64,
}

/// The watches of one client.
pub(crate) struct Hub {
    muxes: Mutex<HashMap<StreamKey, Weak<Mux>>>,
    common: Arc<Common>,
    pub(super) current_revision: CurrentRevision,
}

/// What all streams of a client share.
pub(super) struct Common {
    pub(super) tokens: Arc<Tokens>,
    pub(super) limits: Limits,
    pub(super) queue: QueueLimits,
    pub(super) catching_up: Arc<Semaphore>,
    cluster_id: AtomicU64,
}

impl Hub {
    pub(crate) fn new(options: &Options, tokens: Arc<Tokens>) -> Self {
        let limits = Limits {
            window: 128,
            answer_within: Duration::from_secs(5),
            caught_up_after: Duration::from_secs(1),
            max_revision_bytes: options.max_revision_bytes,
        };
        let queue = QueueLimits {
            revisions: options.watch_queue_revisions,
            bytes: options.watch_queue_bytes,
        };
        let catching_up = Arc::new(Semaphore::new(CATCHING_UP));
        let common = Common {
            tokens,
            limits,
            queue,
            catching_up,
            cluster_id: AtomicU64::new(0),
        };
        Self {
            muxes: Mutex::default(),
            common: Arc::new(common),
            current_revision: CurrentRevision::default(),
        }
    }

    /// Begins a watch, on a stream that is there or on a new one.
    pub(super) fn add(
        &self,
        pool: &Arc<Pool>,
        stream: StreamKey,
        watch: Watch,
        start: i64,
    ) -> (Arc<Mux>, Arc<Slot>) {
        let mut muxes = self.muxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mux) = muxes.get(&stream).and_then(Weak::upgrade)
            && let Some(slot) = mux.add(&watch, start, self.common.queue)
        {
            return (mux, slot);
        }
        muxes.retain(|_, mux| mux.strong_count() > 0);
        let (mux, slot) = mux::start(pool.clone(), self.common.clone(), stream, watch, start);
        muxes.insert(stream, Arc::downgrade(&mux));
        (mux, slot)
    }

    /// Cancels every watch, and gives how many there were when the servers have confirmed all.
    pub(super) fn cancel_all(&self) -> impl Future<Output = usize> + Send + 'static + use<> {
        let mut slots = Vec::new();
        for mux in self.muxes() {
            for slot in mux.slots() {
                if slot.wish_cancel(Cancel::Confirmed) {
                    mux.touch(slot.key);
                    slots.push(slot);
                }
            }
        }
        async move {
            for slot in &slots {
                slot.over().await;
            }
            slots.len()
        }
    }

    /// How many watchers are fed by this endpoint.
    pub(crate) fn watchers_on(&self, endpoint: EndpointId) -> usize {
        self.muxes()
            .iter()
            .map(|mux| mux.watchers_on(endpoint))
            .sum()
    }

    fn muxes(&self) -> Vec<Arc<Mux>> {
        let muxes = self.muxes.lock().unwrap_or_else(PoisonError::into_inner);
        muxes.values().filter_map(Weak::upgrade).collect()
    }
}

impl Common {
    /// Is this the cluster that the client's watches have seen so far? If not, gives that. 0 is no id.
    pub(super) fn admit(&self, cluster_id: u64) -> Result<(), u64> {
        if cluster_id == 0 {
            return Ok(());
        }
        match self
            .cluster_id
            .compare_exchange(0, cluster_id, Ordering::Relaxed, Ordering::Relaxed)
        {
            Err(seen) if seen != cluster_id => Err(seen),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_told_from_the_first_one_seen() {
        let hub = Hub::new(&Options::default(), Tokens::none());
        assert_eq!(hub.common.admit(0), Ok(()), "a response without an id");
        assert_eq!(hub.common.admit(7), Ok(()));
        assert_eq!(hub.common.admit(7), Ok(()));
        assert_eq!(hub.common.admit(8), Err(7));
        assert_eq!(hub.common.admit(0), Ok(()));
    }
}
