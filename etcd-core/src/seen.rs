//! The latest revision that a client has seen, for reads that must not go back in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The latest revision of all that the client's callers were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<AtomicI64>);

impl Seen {
    pub(crate) fn observe(&self, revision: i64) {
        self.0.fetch_max(revision, Ordering::AcqRel);
    }

    pub(crate) fn latest(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}
