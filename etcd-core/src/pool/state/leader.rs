//! Who leads, as far as the connected members told.

use std::time::{Duration, Instant};

use super::{EndpointId, Generation, PoolState, Slot};

/// From one Status probe to the next while something is unknown; doubles up to the maximum, starts anew with a raft term.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const MAX_PROBE: Duration = Duration::from_secs(60);

/// What a member told about itself in a Status reply; 0 = not told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// The member that leads in `raft_term`.
    pub(crate) leader: u64,
    pub(crate) raft_term: u64,
    /// It has no vote, and serves nothing but serializable reads.
    pub(crate) learner: bool,
}

/// What the header of a reply tells about the member that sent it; 0 = not told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Header {
    pub(crate) member_id: u64,
    pub(crate) raft_term: u64,
    /// Told by etcd 3.8 and later.
    pub(crate) leader_id: u64,
}

impl PoolState {
    /// A reply came with this header. True if a Status of this endpoint is wanted, because nobody told who leads in the
    /// latest term, or because a learner may have been promoted; it does not say so for every reply but at growing intervals.
    pub(crate) fn learn(
        &mut self,
        id: EndpointId,
        generation: Generation,
        header: Header,
        now: Instant,
    ) -> bool {
        let Some(at) = self.position(id, generation) else {
            return false;
        };
        if header.raft_term > self.raft_term() {
            self.probe = Probe::new(now);
        }
        let slot = &mut self.slots[at];
        slot.heard = now;
        slot.member.merge(header);
        let learner = slot.member.learner;
        (learner || self.leader() == 0) && self.probe.take(now)
    }

    /// The member replied to a Status probe.
    pub(crate) fn probed(&mut self, id: EndpointId, generation: Generation, told: Member) {
        let Some(at) = self.position(id, generation) else {
            return;
        };
        let member = &mut self.slots[at].member;
        member.merge(Header {
            member_id: told.id,
            raft_term: told.raft_term,
            leader_id: told.leader,
        });
        member.learner = told.learner;
    }

    /// The id of the member that leads in the latest term; 0 = unknown. What endpoints told is forgotten with their
    /// connections, so that a cluster restored from a backup may count its terms from the start.
    pub(super) fn leader(&self) -> u64 {
        let term = self.raft_term();
        let told = self
            .connections()
            .filter(|slot| slot.member.raft_term == term)
            .map(|slot| slot.member.leader);
        told.max().unwrap_or(0)
    }

    fn raft_term(&self) -> u64 {
        self.connections()
            .map(|slot| slot.member.raft_term)
            .max()
            .unwrap_or(0)
    }

    fn connections(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.generation.is_some())
    }
}

impl Member {
    /// Replies overtake each other, so an older term says nothing; and within a term "not told" takes nothing back.
    fn merge(&mut self, header: Header) {
        if header.member_id != 0 {
            self.id = header.member_id;
        }
        if header.raft_term > self.raft_term {
            self.raft_term = header.raft_term;
            self.leader = header.leader_id;
        } else if header.raft_term == self.raft_term && header.leader_id != 0 {
            self.leader = header.leader_id;
        }
    }
}

/// Keeps the Status probes apart.
pub(super) struct Probe {
    next: Instant,
    wait: Duration,
}

impl Probe {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            wait: FIRST_PROBE,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.wait;
            self.wait = (self.wait * 2).min(MAX_PROBE);
        }
        due
    }
}
