//! Fuzz target over the deadlines of leases, with a server that answers with any number.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{Answer, Renewals, Slot};
use super::{LeaseId, LeaseState, seconds};
use crate::clock::BootInstant;
use crate::fuzz::Input;

/// What is known of a lease without the machine under test.
struct Promise {
    id: LeaseId,
    /// When the last renewal was sent.
    sent: BootInstant,
    /// The longest that the server ever said.
    ttl: Duration,
}

struct World {
    renewals: Renewals,
    now: BootInstant,
    kept: BTreeMap<Slot, Promise>,
}

/// Whatever the server answers, no lease is relied on for longer than it said, counted from when it was asked; and what is
/// lost stays lost.
pub(crate) fn lease(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World {
        renewals: Renewals::new(u64::from(input.byte())),
        now: BootInstant::default(),
        kept: BTreeMap::new(),
    };
    while !input.is_empty() {
        world.step(&mut input);
        world.check();
    }
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now;
        match input.byte() % 8 {
            0 if self.kept.len() < 8 => self.keep(
                LeaseId(i64::from(input.byte() % 4)),
                seconds(input.number()),
            ),
            1 => {
                let ago = input.number().unsigned_abs();
                self.now = now + Duration::from_millis(ago);
            }
            2 => {
                // As the keeper does it: what has expired is not renewed.
                self.expire();
                while let Some((slot, _)) = self.renewals.due(now) {
                    self.renewals.sent(slot, now);
                    if let Some(promise) = self.kept.get_mut(&slot) {
                        promise.sent = now;
                    }
                }
            }
            3 => {
                let (id, ttl) = (
                    LeaseId(i64::from(input.byte() % 4)),
                    seconds(input.number()),
                );
                for promise in self.kept.values_mut().filter(|promise| promise.id == id) {
                    promise.ttl = promise.ttl.max(ttl);
                }
                let answer = self.renewals.answered(id, ttl, now);
                self.answered(answer);
            }
            4 => {
                if let Some(slot) = self.chosen(input) {
                    let removed = self.renewals.remove(slot);
                    assert_eq!(removed, self.kept.remove(&slot).is_some());
                }
            }
            5 => self.expire(),
            6 => self.stream_ends(input),
            _ => {
                let _ = self.renewals.overdue(now);
                let due = self.renewals.wake(input.flag(), now);
                assert!(due.is_some() || self.kept.is_empty());
            }
        }
    }

    fn keep(&mut self, id: LeaseId, ttl: Duration) {
        let sent = self.now;
        let slot = self.renewals.keep(id, ttl, sent, self.now);
        let before = self.kept.insert(slot, Promise { id, sent, ttl });
        assert!(before.is_none(), "a slot is never used again");
    }

    fn expire(&mut self) {
        while let Some(slot) = self.renewals.expired(self.now) {
            assert!(self.kept.remove(&slot).is_some());
        }
    }

    fn answered(&mut self, answer: Answer) {
        if let Answer::Lost(slot, _) = answer {
            assert!(self.kept.remove(&slot).is_some());
        }
    }

    fn stream_ends(&mut self, input: &mut Input<'_>) {
        let Some(slot) = self.renewals.stream_ended(input.flag(), self.now) else {
            return;
        };
        let planned = self.renewals.alone(slot, self.now);
        assert!(planned.is_some_and(|(_, _, next)| next >= self.now));
        let ttl = seconds(input.number());
        if let Some(promise) = self.kept.get_mut(&slot) {
            (promise.sent, promise.ttl) = (self.now, promise.ttl.max(ttl));
        }
        let answer = self.renewals.confirm(slot, ttl, self.now, self.now);
        self.answered(answer);
    }

    fn chosen(&self, input: &mut Input<'_>) -> Option<Slot> {
        let at = input.below(self.kept.len().max(1));
        self.kept.keys().nth(at).copied()
    }

    fn check(&self) {
        assert_eq!(self.renewals.len(), self.kept.len());
        for (slot, promise) in &self.kept {
            let state = self.renewals.state(*slot, self.now);
            let relied_on = matches!(state, Some(LeaseState::Healthy | LeaseState::AtRisk));
            let over = self.now - promise.sent >= promise.ttl;
            assert!(state.is_some() && !(relied_on && over), "{state:?}");
            let left = self.renewals.remaining(*slot, self.now);
            assert!(left <= promise.ttl && (relied_on || left.is_zero()));
        }
    }
}
