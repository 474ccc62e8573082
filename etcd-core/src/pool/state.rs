//! What the pool knows of each endpoint, and which one it would take. Pure: time and load come in as arguments.
//!
//! An endpoint goes `Connecting → Active ⇄ Suspect`, and to `Frozen` when it fails; from there it is tried again after a
//! delay that doubles. While no other endpoint can take over, each is tried at least once a second whatever its delay.
//!
//! Methods of four kinds: what happened ([`connected`](PoolState::connected), [`lost`](PoolState::lost), …), what to
//! connect now ([`due`](PoolState::due)), when to ask again ([`next_due`](PoolState::next_due), which any of the first kind
//! can change), and which endpoint to use ([`pick`](PoolState::pick)).

mod balance;
mod choice;
mod leader;
#[cfg(test)]
mod tests;
mod view;

use std::time::{Duration, Instant};

use self::leader::Probe;
use crate::backoff::Backoff;
use crate::error::Cause;
use crate::net::endpoint::Endpoint;

pub use self::balance::Balance;
pub(crate) use self::choice::{Load, Want};
pub(crate) use self::leader::{Header, Member};
pub(crate) use self::view::{EndpointView, Tally};

/// The delays between attempts: 200 ms doubling to 25.6 s.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_millis(25_600);
/// From one attempt to the next at most, while no other endpoint can take over.
const ALONE_EVERY: Duration = Duration::from_secs(1);
/// A connection that lived this long makes up for the failures before it.
const PROVEN_AFTER: Duration = Duration::from_secs(5);

/// The cause of an endpoint frozen for having no leader.
const NO_LEADER: &str = "the member has no leader";

/// Names an endpoint of one pool. Never reused, also not when an endpoint is removed and comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EndpointId(pub(crate) u32);

/// Names the connections that one successful connect made, so that news about them cannot harm their successors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Generation(u64);

/// Where an endpoint stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// A connect attempt is under way.
    Connecting,
    /// It answered, and serves.
    Active,
    /// It is connected but silent: nothing new is sent to it while another is active.
    Suspect,
    /// It failed, or was just added, and is tried again at `until`.
    Frozen { until: Instant },
}

/// All endpoints of one pool.
pub(crate) struct PoolState {
    slots: Vec<Slot>,
    balance: Balance,
    /// Taken last, with another balance than `P2c`.
    current: EndpointId,
    next_id: u32,
    next_generation: u64,
    probe: Probe,
    rng: fastrand::Rng,
}

struct Slot {
    id: EndpointId,
    endpoint: Endpoint,
    phase: Phase,
    /// Of the connections in use; `None` when there are none.
    generation: Option<Generation>,
    /// The cluster that it belonged to when it was connected; 0 = not told.
    cluster: u64,
    /// It says that it does not serve, or did not answer when it was asked.
    withheld: bool,
    /// Somebody asks for this one and no other.
    demanded: bool,
    /// Lost connections were retried without delay already, and since then none has proven itself.
    retried: bool,
    delays: Backoff,
    /// When the last attempt began.
    tried: Instant,
    /// When it last became connected.
    connected: Instant,
    /// When it last answered, or was asked because it had not.
    heard: Instant,
    /// Why it failed last; `None` once it is connected again.
    cause: Option<Cause>,
    /// What it told last; nothing is concluded from it without a connection.
    member: Member,
}

impl PoolState {
    /// Every endpoint is due at once. `seed` decides the choices.
    pub(crate) fn new(endpoints: Vec<Endpoint>, balance: Balance, seed: u64, now: Instant) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let mut state = Self {
            slots: Vec::new(),
            balance,
            current: EndpointId(0),
            next_id: 0,
            next_generation: 0,
            probe: Probe::new(now),
            rng,
        };
        state.set_endpoints(endpoints, now);
        if let Some(first) = state.rng.choice(&state.slots) {
            state.current = first.id;
        }
        state
    }

    /// Replaces the list: endpoints in both keep id and connections, new ones are due at once.
    /// Returns those that are gone, whose connections are to be retired.
    pub(crate) fn set_endpoints(
        &mut self,
        endpoints: Vec<Endpoint>,
        now: Instant,
    ) -> Vec<EndpointId> {
        let mut old = std::mem::take(&mut self.slots);
        for endpoint in endpoints {
            let known = old.iter().position(|slot| slot.endpoint == endpoint);
            let slot = known.map(|at| old.remove(at)).unwrap_or_else(|| {
                self.next_id += 1;
                Slot::new(EndpointId(self.next_id), endpoint, now)
            });
            self.slots.push(slot);
        }
        old.into_iter().map(|slot| slot.id).collect()
    }

    /// The endpoints to which a connect attempt must start now. Each is `Connecting` from here on, until
    /// [`connected`](Self::connected) or [`connect_failed`](Self::connect_failed) tells the end of the attempt.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<EndpointId> {
        let due: Vec<_> = self
            .frozen()
            .filter(|&(_, until)| until <= now)
            .map(|(slot, _)| slot.id)
            .collect();
        for slot in self.slots.iter_mut().filter(|slot| due.contains(&slot.id)) {
            slot.phase = Phase::Connecting;
            slot.tried = now;
        }
        due
    }

    /// When [`due`](Self::due) will name an endpoint next, as far as is known now.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.frozen().map(|(_, until)| until).min()
    }

    /// A new connection got its first reply. Returns the name of the connections made from now on, or `None` if the
    /// endpoint was removed meanwhile.
    pub(crate) fn connected(
        &mut self,
        id: EndpointId,
        member: Member,
        now: Instant,
    ) -> Option<Generation> {
        let generation = Generation(self.next_generation);
        self.next_generation += 1;
        let slot = self.slots.iter_mut().find(|slot| slot.id == id)?;
        slot.phase = Phase::Active;
        slot.generation = Some(generation);
        slot.connected = now;
        slot.heard = now;
        slot.cause = None;
        slot.withheld = false;
        slot.member = member;
        if !std::mem::take(&mut slot.demanded) {
            self.settle(id);
        }
        Some(generation)
    }

    /// The endpoint leads to this cluster. If others that are connected lead to another one, gives that: no call may go now to
    /// the one and now to the other. When all of them have gone over to a new cluster, that is for the watches to judge.
    pub(crate) fn joins(&mut self, id: EndpointId, cluster: u64) -> Result<(), u64> {
        let others = self
            .slots
            .iter()
            .filter(|slot| slot.id != id && slot.generation.is_some());
        let mut known = others.map(|slot| slot.cluster).filter(|known| *known != 0);
        if let Some(other) = known.find(|known| cluster != 0 && *known != cluster) {
            return Err(other);
        }
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.cluster = cluster;
        }
        Ok(())
    }

    /// The connect attempt failed: the endpoint is frozen. Ignored when no attempt is under way.
    pub(crate) fn connect_failed(&mut self, id: EndpointId, cause: impl Into<Cause>, now: Instant) {
        let at = self
            .slots
            .iter()
            .position(|slot| slot.id == id && slot.phase == Phase::Connecting);
        if let Some(at) = at {
            let slot = &mut self.slots[at];
            slot.demanded = false;
            let delay = slot.next_delay();
            slot.freeze(delay, cause.into(), now);
        }
    }

    /// A connection died. The endpoint is due at once, and after a delay if that keeps happening.
    /// False if these connections were given up already.
    pub(crate) fn lost(
        &mut self,
        id: EndpointId,
        generation: Generation,
        cause: impl Into<Cause>,
        now: Instant,
    ) -> bool {
        let Some(at) = self.position(id, generation) else {
            return false;
        };
        let slot = &mut self.slots[at];
        slot.forgive(now);
        let retried = std::mem::replace(&mut slot.retried, true);
        let delay = if retried {
            slot.next_delay()
        } else {
            Duration::ZERO
        };
        slot.freeze(delay, cause.into(), now);
        true
    }

    /// The member answered that it has no leader. It is frozen, unless no other endpoint can take over: then the answer is
    /// about the cluster. True if it was frozen, and its connections are to be retired.
    pub(crate) fn no_leader(
        &mut self,
        id: EndpointId,
        generation: Generation,
        now: Instant,
    ) -> bool {
        match self.position(id, generation) {
            Some(at) if self.has_other(id) || self.has_spare(id) => {
                let slot = &mut self.slots[at];
                slot.forgive(now);
                let delay = slot.next_delay();
                slot.freeze(delay, NO_LEADER.into(), now);
                true
            }
            _ => false,
        }
    }

    /// The connections are silent. True if the endpoint was active.
    pub(crate) fn suspect(&mut self, id: EndpointId, generation: Generation) -> bool {
        self.turn(id, generation, Phase::Active, Phase::Suspect)
    }

    /// A byte arrived after all. True if the endpoint was suspect.
    pub(crate) fn alive(&mut self, id: EndpointId, generation: Generation) -> bool {
        self.turn(id, generation, Phase::Suspect, Phase::Active)
    }

    /// The member tells whether it serves. True if that is news.
    pub(crate) fn serving(
        &mut self,
        id: EndpointId,
        generation: Generation,
        serving: bool,
    ) -> bool {
        let Some(at) = self.position(id, generation) else {
            return false;
        };
        std::mem::replace(&mut self.slots[at].withheld, !serving) == serving
    }

    fn turn(&mut self, id: EndpointId, generation: Generation, from: Phase, to: Phase) -> bool {
        let Some(at) = self.position(id, generation) else {
            return false;
        };
        let turns = self.slots[at].phase == from;
        if turns {
            self.slots[at].phase = to;
        }
        turns
    }

    /// The frozen endpoints that are to be connected, each with the time at which it is tried again.
    fn frozen(&self) -> impl Iterator<Item = (&Slot, Instant)> {
        let tried = self.slots.iter().filter(|slot| !self.is_spare(slot));
        tried.filter_map(|slot| Some((slot, self.until(slot)?)))
    }

    /// When a frozen endpoint may be tried again.
    fn until(&self, slot: &Slot) -> Option<Instant> {
        let alone = !self.slots.iter().any(Slot::serves);
        match slot.phase {
            Phase::Frozen { until } if alone => Some(until.min(slot.tried + ALONE_EVERY)),
            Phase::Frozen { until } => Some(until),
            Phase::Connecting | Phase::Active | Phase::Suspect => None,
        }
    }

    fn position(&self, id: EndpointId, generation: Generation) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.id == id && slot.generation == Some(generation))
    }
}

impl Slot {
    fn new(id: EndpointId, endpoint: Endpoint, now: Instant) -> Self {
        Self {
            id,
            endpoint,
            phase: Phase::Frozen { until: now },
            generation: None,
            cluster: 0,
            withheld: false,
            demanded: false,
            retried: false,
            delays: Backoff::new(FIRST_DELAY, 2.0, MAX_DELAY),
            tried: now,
            connected: now,
            heard: now,
            cause: None,
            member: Member::default(),
        }
    }

    /// A connection that lived long enough makes up for the failures before it.
    fn forgive(&mut self, now: Instant) {
        if now.saturating_duration_since(self.connected) >= PROVEN_AFTER {
            self.retried = false;
            self.delays.reset();
        }
    }

    fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(MAX_DELAY)
    }

    /// Gives up the connections.
    fn freeze(&mut self, delay: Duration, cause: Cause, now: Instant) {
        self.phase = Phase::Frozen { until: now + delay };
        self.generation = None;
        self.cause = Some(cause);
    }

    /// Can it take over any call? Learners cannot.
    fn serves(&self) -> bool {
        self.phase == Phase::Active && !self.withheld && !self.member.learner
    }
}
