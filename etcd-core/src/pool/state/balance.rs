//! How calls and streams are spread, and what follows for which endpoints are connected at all.

use super::{EndpointId, Phase, PoolState, Slot};

/// How calls and streams are spread over the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Each goes to the better of two endpoints taken by chance, by calls under way × round trip time; writes, linearizable
    /// reads and lease renewals rather to the leader, who saves them a hop. The default.
    #[default]
    P2c,
    /// Each goes to the next endpoint in the order of the list, whoever leads and however far it is.
    RoundRobin,
    /// All go to one endpoint, at first one taken by chance; when it is lost, to the next in the list. The others are not
    /// connected, but for the views that ask for one of them.
    Pinned,
}

impl PoolState {
    /// Which of these it is; the next one of the ring, or with `Pinned` the one in use.
    pub(super) fn in_turn(&mut self, candidates: &[EndpointId]) -> Option<EndpointId> {
        let ahead = usize::from(self.balance == Balance::RoundRobin);
        let chosen = (0..self.slots.len())
            .map(|step| self.ring(step + ahead))
            .find(|id| candidates.contains(id))?;
        match self.balance {
            Balance::Pinned => self.settle(chosen),
            _ => self.current = chosen,
        }
        Some(chosen)
    }

    /// With `Pinned`, this is the one in use from now on, unless there is one that serves.
    pub(super) fn settle(&mut self, id: EndpointId) {
        let current = |slot: &Slot| slot.id == self.current && slot.serves();
        if self.balance == Balance::Pinned && !self.slots.iter().any(current) {
            self.current = id;
        }
    }

    /// So many steps along the ring from the one taken last.
    fn ring(&self, steps: usize) -> EndpointId {
        let at = self.slots.iter().position(|slot| slot.id == self.current);
        self.slots[(at.unwrap_or(0) + steps) % self.slots.len()].id
    }

    /// Is it left unconnected as long as another one serves?
    pub(super) fn is_spare(&self, slot: &Slot) -> bool {
        self.balance == Balance::Pinned
            && matches!(slot.phase, Phase::Frozen { .. })
            && !slot.demanded
            && self.next_in_ring() != Some(slot.id)
    }

    /// With `Pinned`, the one to be connected, as none serves: the one that may be tried first, and of several such ones the
    /// next in the ring.
    fn next_in_ring(&self) -> Option<EndpointId> {
        let busy = |slot: &Slot| slot.serves() || slot.phase == Phase::Connecting && !slot.demanded;
        if self.slots.iter().any(busy) {
            return None;
        }
        let ring = (1..=self.slots.len()).map(|steps| self.ring(steps));
        let due = ring.filter_map(|id| {
            let slot = self.slots.iter().find(|slot| slot.id == id)?;
            Some((self.until(slot)?, id))
        });
        // The first of equals.
        due.min_by_key(|(until, _)| *until).map(|(_, id)| id)
    }

    /// Could another one be connected in its place?
    pub(super) fn has_spare(&self, than: EndpointId) -> bool {
        self.balance == Balance::Pinned && self.slots.iter().any(|slot| slot.id != than)
    }

    /// Somebody wants this endpoint and no other. True if it is to be connected for that.
    pub(crate) fn demand(&mut self, id: EndpointId) -> bool {
        let spare = |state: &Self, slot: &Slot| slot.id == id && state.is_spare(slot);
        let Some(at) = (0..self.slots.len()).find(|at| spare(self, &self.slots[*at])) else {
            return false;
        };
        self.slots[at].demanded = true;
        true
    }
}
