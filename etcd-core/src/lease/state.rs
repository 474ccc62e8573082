//! When to renew each lease that is kept alive, and until when it may be relied on.
//!
//! A lease is relied on until `deadline = sent + TTL − margin`, where `sent` is when the last renewal that was answered
//! was handed over. The server counts from when that renewal arrived, which is later, so it can never drop a lease that
//! is still relied on here, provided that the two clocks run within a tenth of each other's rate.
//!
//! Renewals go out a third of the TTL after the one before, not only when that was answered: HTTP/2 neither loses nor
//! reorders, so on a slow link several of one lease are under way. Answers carry nothing but the lease's id, so each is
//! taken for the oldest renewal of that lease under way on this stream; any mistake makes the deadline earlier.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::BootInstant;
use crate::error::LostReason;
use crate::lease::{LeaseId, LeaseState};

/// Unanswered for so long, renewals are better sent on another stream.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest TTL etcd grants; what a server says beyond that would only overflow.
const MAX_TTL: Duration = Duration::from_secs(9_000_000_000);

/// One lease as kept by one handle; two handles for one lease are kept, and lost, each by itself. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u64);

/// All leases of a client that are kept alive, and their renewals under way on the shared stream.
#[derive(Debug)]
pub(super) struct Renewals {
    leases: HashMap<Slot, Kept>,
    /// Every lease on the shared stream, by when its next renewal is due.
    renew: BTreeSet<(BootInstant, Slot)>,
    /// Every lease, by its deadline.
    expire: BTreeSet<(BootInstant, Slot)>,
    /// Every lease that was not found at risk, by when it will be.
    risk: BTreeSet<(BootInstant, Slot)>,
    confirmed: Option<Confirmed>,
    flight: Flight,
    last: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Kept {
    id: LeaseId,
    ttl: Duration,
    /// When the last renewal that was answered was sent.
    confirmed: BootInstant,
    /// When the next renewal is due.
    next: BootInstant,
    /// How often in a row a renewal of this lease was what the server refused a whole stream for.
    strikes: u8,
}

impl Kept {
    fn deadline(&self) -> BootInstant {
        self.confirmed + self.ttl.saturating_sub(margin(self.ttl))
    }

    /// From when on a renewal is overdue.
    fn at_risk(&self) -> BootInstant {
        self.confirmed + self.ttl * 2 / 3
    }
}

/// What a renewal that was confirmed did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) id: LeaseId,
    /// How long the lease could still have been relied on without it.
    pub(super) left: Duration,
    /// The lease had been found at risk.
    pub(super) late: bool,
}

/// What an answer did to the lease it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Renewed,
    Lost(Slot, LostReason),
    /// No renewal of such a lease is under way, or its handle is gone.
    Unasked,
}

impl Renewals {
    /// `seed` decides how renewals are spread over time.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            leases: HashMap::new(),
            renew: BTreeSet::new(),
            expire: BTreeSet::new(),
            risk: BTreeSet::new(),
            confirmed: None,
            flight: Flight::default(),
            last: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Keeps a lease from now on, which the server granted or renewed for `ttl` on a request sent at `sent`.
    pub(super) fn keep(
        &mut self,
        id: LeaseId,
        ttl: Duration,
        sent: BootInstant,
        now: BootInstant,
    ) -> Slot {
        self.last += 1;
        let slot = Slot(self.last);
        let ttl = ttl.min(MAX_TTL);
        let next = sent + interval(ttl, &mut self.rng);
        let kept = Kept {
            id,
            ttl,
            confirmed: sent,
            next,
            strikes: 0,
        };
        self.renew.insert((next, slot));
        self.expire.insert((kept.deadline(), slot));
        self.risk.insert((kept.at_risk(), slot));
        self.leases.insert(slot, kept);
        self.flight.latency.get_or_insert(now - sent);
        slot
    }

    /// Stops keeping a lease. False if it was lost already.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        let Some(kept) = self.leases.remove(&slot) else {
            return false;
        };
        self.renew.remove(&(kept.next, slot));
        self.expire.remove(&(kept.deadline(), slot));
        self.risk.remove(&(kept.at_risk(), slot));
        true
    }

    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How many were found at risk and have not been renewed since.
    pub(super) fn at_risk(&self) -> usize {
        self.leases.len() - self.risk.len()
    }

    /// One lease that is found at risk now. Each is told once, until it is renewed.
    pub(super) fn turned_at_risk(&mut self, now: BootInstant) -> Option<LeaseId> {
        let &(at, slot) = self.risk.first()?;
        if now < at {
            return None;
        }
        self.risk.remove(&(at, slot));
        self.leases.get(&slot).map(|kept| kept.id)
    }

    /// What the last renewal that was confirmed did; told once.
    pub(super) fn confirmed(&mut self) -> Option<Confirmed> {
        self.confirmed.take()
    }

    /// How a lease stands; `None` if it was lost or removed earlier.
    pub(super) fn state(&self, slot: Slot, now: BootInstant) -> Option<LeaseState> {
        let kept = self.leases.get(&slot)?;
        Some(if now >= kept.deadline() {
            LeaseState::Lost(LostReason::Deadline)
        } else if now >= kept.at_risk() {
            LeaseState::AtRisk
        } else {
            LeaseState::Healthy
        })
    }

    /// How much longer a lease may be relied on.
    pub(super) fn remaining(&self, slot: Slot, now: BootInstant) -> Duration {
        self.leases
            .get(&slot)
            .map_or(Duration::ZERO, |kept| kept.deadline() - now)
    }

    /// Takes out one lease whose deadline has passed.
    pub(super) fn expired(&mut self, now: BootInstant) -> Option<Slot> {
        let &(deadline, slot) = self.expire.first()?;
        (now >= deadline).then(|| {
            self.remove(slot);
            slot
        })
    }

    /// A lease to renew now on the shared stream. The same one until [`Renewals::sent`] says that it was.
    pub(super) fn due(&self, now: BootInstant) -> Option<(Slot, LeaseId)> {
        let &(next, slot) = self.renew.first()?;
        let kept = self.leases.get(&slot).filter(|_| now >= next)?;
        Some((slot, kept.id))
    }

    /// When to look again: at a deadline in any case, and for a renewal or an overdue answer if a stream is there.
    pub(super) fn wake(&self, connected: bool, now: BootInstant) -> Option<BootInstant> {
        let deadline = self.expire.first().map(|&(at, _)| at);
        let renewal = self.renew.first().map(|&(at, _)| at);
        let silence = self.flight.overdue_at();
        // What is due already waits for the stream, or for another endpoint, not for a time.
        let on_stream = [renewal, silence]
            .into_iter()
            .flatten()
            .filter(|&at| connected && at > now);
        on_stream.chain(deadline).min()
    }

    /// A renewal went out on the shared stream; `now` was read before it was handed over.
    pub(super) fn sent(&mut self, slot: Slot, now: BootInstant) {
        let Some(kept) = self.leases.get(&slot) else {
            return;
        };
        self.flight.push(Sent {
            slot,
            id: kept.id,
            at: now,
            ttl: kept.ttl,
        });
        let next = now + interval(kept.ttl, &mut self.rng);
        self.schedule(slot, next);
    }

    /// The shared stream answered for the lease `id`, with the TTL it gave it, zero for a lease it does not have.
    pub(super) fn answered(&mut self, id: LeaseId, ttl: Duration, now: BootInstant) -> Answer {
        let Some(sent) = self.flight.take(id, now) else {
            return Answer::Unasked;
        };
        self.confirm(sent.slot, ttl, sent.at, now)
    }

    /// A renewal sent at `sent` was answered, on whatever stream.
    pub(super) fn confirm(
        &mut self,
        slot: Slot,
        ttl: Duration,
        sent: BootInstant,
        now: BootInstant,
    ) -> Answer {
        let Some(kept) = self.leases.get_mut(&slot) else {
            return Answer::Unasked;
        };
        let old = kept.deadline();
        // Once relied on no longer, always: somebody may have acted on it.
        let lost = if now >= old {
            Some(LostReason::Deadline)
        } else {
            ttl.is_zero().then_some(LostReason::NotFound)
        };
        if let Some(reason) = lost {
            self.remove(slot);
            return Answer::Lost(slot, reason);
        }
        self.confirmed = Some(Confirmed {
            id: kept.id,
            left: old - now,
            late: !self.risk.remove(&(kept.at_risk(), slot)),
        });
        kept.ttl = ttl.min(MAX_TTL);
        kept.confirmed = kept.confirmed.max(sent);
        kept.strikes = 0;
        let deadline = kept.deadline();
        self.expire.remove(&(old, slot));
        self.expire.insert((deadline, slot));
        self.risk.insert((kept.at_risk(), slot));
        Answer::Renewed
    }

    /// True if renewals have been unanswered for so long that another stream should be tried.
    pub(super) fn overdue(&self, now: BootInstant) -> bool {
        self.flight.overdue_at().is_some_and(|at| now >= at)
    }

    /// The shared stream is gone: what was under way on it is due again. `refused` says that the server ended it with an
    /// error that may be about one lease. Streams are answered in order, so that is the one whose renewal is unanswered
    /// for longest; if it happens to it twice in a row, the lease leaves the shared stream for good and is returned.
    pub(super) fn stream_ended(&mut self, refused: bool, now: BootInstant) -> Option<Slot> {
        let flight = std::mem::take(&mut self.flight.sent);
        for sent in &flight {
            self.schedule(sent.slot, now);
        }
        let blamed = flight.front().filter(|_| refused)?.slot;
        let kept = self.leases.get_mut(&blamed)?;
        kept.strikes += 1;
        (kept.strikes > 1 && self.renew.remove(&(kept.next, blamed))).then_some(blamed)
    }

    /// For a lease that left the shared stream: its id and TTL, and when to renew it next; each call tells of the renewal
    /// after the one before.
    pub(super) fn alone(
        &mut self,
        slot: Slot,
        now: BootInstant,
    ) -> Option<(LeaseId, Duration, BootInstant)> {
        let kept = self.leases.get_mut(&slot)?;
        let next = kept.next.max(now);
        kept.next = next + interval(kept.ttl, &mut self.rng);
        Some((kept.id, kept.ttl, next))
    }

    /// Moves the next renewal of a lease, unless it is not on the shared stream.
    fn schedule(&mut self, slot: Slot, next: BootInstant) {
        let Some(kept) = self.leases.get_mut(&slot) else {
            return;
        };
        if self.renew.remove(&(kept.next, slot)) {
            self.renew.insert((next, slot));
            kept.next = next;
        }
    }
}

/// The renewals under way on the shared stream, in the order they were sent.
#[derive(Debug, Default)]
struct Flight {
    sent: VecDeque<Sent>,
    /// The shortest TTL among them; it may be that of one answered already while others of the same burst are not.
    shortest: Duration,
    /// When the stream last answered.
    heard: BootInstant,
    /// How long the last answer took: on a slow link patience is longer.
    latency: Option<Duration>,
}

#[derive(Debug)]
struct Sent {
    slot: Slot,
    id: LeaseId,
    at: BootInstant,
    ttl: Duration,
}

impl Flight {
    fn push(&mut self, sent: Sent) {
        self.shortest = if self.sent.is_empty() {
            sent.ttl
        } else {
            self.shortest.min(sent.ttl)
        };
        self.sent.push_back(sent);
    }

    /// The oldest renewal of this lease, answered now.
    fn take(&mut self, id: LeaseId, now: BootInstant) -> Option<Sent> {
        self.heard = now;
        let position = self.sent.iter().position(|sent| sent.id == id)?;
        let sent = self.sent.remove(position)?;
        self.latency = Some(now - sent.at);
        Some(sent)
    }

    /// When the silence of the stream becomes too long. Answers that come late, but come, do not get better elsewhere.
    fn overdue_at(&self) -> Option<BootInstant> {
        let waiting_since = self.sent.front()?.at.max(self.heard);
        let slow = self
            .latency
            .unwrap_or_default()
            .saturating_mul(2)
            .min(self.shortest * 2 / 3);
        Some(waiting_since + PATIENCE.min(self.shortest / 3).max(slow))
    }
}

/// What a deadline is earlier than the server's: a tenth for clocks that run apart, and something for being scheduled late.
fn margin(ttl: Duration) -> Duration {
    (ttl / 10).max(Duration::from_millis(250))
}

/// From one renewal to the next: a third of the TTL on average, and spread, so that leases granted together do not stay
/// together.
fn interval(ttl: Duration, rng: &mut fastrand::Rng) -> Duration {
    ttl * rng.u32(260..=400) / 1_000
}

#[cfg(test)]
mod tests;
