//! Which endpoint a call or stream goes to.

use std::time::{Duration, Instant};

use super::{Balance, EndpointId, Phase, PoolState, Slot};

/// Round trips below this do not count as different: on one machine they are noise.
const RTT_FLOOR: Duration = Duration::from_micros(100);
/// The leader is taken until it carries this many times the load of another: a write sent elsewhere takes a hop more, and is
/// lost for 7 s when the leader dies, while a leader that is busy or far away should still leave work to others.
const LEADER_DISCOUNT: u128 = 4;

/// An endpoint that has not answered for this long is asked something while calls go to others.
const ASK_AFTER: Duration = Duration::from_secs(5);

/// What the caller needs of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Want<'a> {
    /// The leader saves a hop: writes, linearizable reads, lease renewals.
    pub(crate) leader: bool,
    /// A serializable read, the one thing a learner serves.
    pub(crate) serializable: bool,
    /// Only if there is no other, for instance because they just failed this call.
    pub(crate) avoid: &'a [EndpointId],
    /// This one or none.
    pub(crate) pinned: Option<EndpointId>,
}

/// How busy and how far away an endpoint is, at the moment of the choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Calls sent and not yet answered.
    pub(crate) in_flight: usize,
    /// The smoothed round trip time.
    pub(crate) rtt: Duration,
}

impl PoolState {
    /// An active endpoint that has answered nothing for a while though others are asked, and is to be asked something: how
    /// busy or far away it was then says little now, and without an answer it would never be chosen again.
    pub(crate) fn unheard(&mut self, now: Instant) -> Option<EndpointId> {
        let silent = |slot: &&mut Slot| {
            slot.phase == Phase::Active && now.saturating_duration_since(slot.heard) >= ASK_AFTER
        };
        let slot = self.slots.iter_mut().find(silent)?;
        slot.heard = now;
        Some(slot.id)
    }

    /// The better of two endpoints taken by chance among the active ones (of which one is the leader if it is wanted and
    /// known), by calls in flight × round trip time. Suspect ones are taken when nothing is active.
    pub(crate) fn pick(
        &mut self,
        want: &Want<'_>,
        load: &dyn Fn(EndpointId) -> Load,
    ) -> Option<EndpointId> {
        if let Some(id) = want.pinned {
            return self
                .slots
                .iter()
                .find(|slot| slot.id == id && slot.generation.is_some())
                .map(|slot| slot.id);
        }
        if self.balance != Balance::P2c {
            let candidates: Vec<_> = candidates(&self.slots, want).map(|slot| slot.id).collect();
            return self.in_turn(&candidates);
        }
        let leader = if want.leader { self.leader() } else { 0 };
        let mut candidates: Vec<&Slot> = candidates(&self.slots, want).collect();
        if candidates.is_empty() {
            return None;
        }
        let leads =
            |slot: &Slot| leader != 0 && slot.member.id == leader && slot.phase == Phase::Active;

        let leader_at = candidates.iter().position(|slot| leads(slot));
        let first =
            candidates.swap_remove(leader_at.unwrap_or_else(|| self.rng.usize(..candidates.len())));
        let Some(second) = self.rng.choice(&candidates) else {
            return Some(first.id);
        };
        let cost = |slot: &Slot| {
            let Load { in_flight, rtt } = load(slot.id);
            let cost = (in_flight as u128 + 1) * rtt.max(RTT_FLOOR).as_nanos();
            if leads(slot) {
                cost / LEADER_DISCOUNT
            } else {
                cost
            }
        };
        Some(if cost(first) <= cost(second) {
            first.id
        } else {
            second.id
        })
    }
}

impl PoolState {
    /// Would an endpoint be picked that is not avoided?
    pub(crate) fn has_untried(&self, want: &Want<'_>) -> bool {
        let untried = |slot: &Slot| !want.avoid.contains(&slot.id);
        match want.pinned {
            Some(id) => self
                .slots
                .iter()
                .any(|slot| slot.id == id && slot.generation.is_some() && untried(slot)),
            None => candidates(&self.slots, want).any(untried),
        }
    }
}

/// Those of the best rank that there is.
fn candidates<'a>(slots: &'a [Slot], want: &'a Want<'_>) -> impl Iterator<Item = &'a Slot> {
    let best = slots.iter().filter_map(|slot| rank(slot, want)).min();
    let is_best = move |slot: &&Slot| best.is_some() && rank(slot, want) == best;
    slots.iter().filter(is_best)
}

/// Lower is better; `None`: not at all.
fn rank(slot: &Slot, want: &Want<'_>) -> Option<u8> {
    let connected = match slot.phase {
        Phase::Active if !slot.withheld => 0,
        Phase::Active | Phase::Suspect => 2,
        Phase::Connecting | Phase::Frozen { .. } => return None,
    };
    let allowed = want.serializable || !slot.member.learner;
    allowed.then(|| connected + u8::from(want.avoid.contains(&slot.id)))
}
