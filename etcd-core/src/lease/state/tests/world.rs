//! The machine against a server with real expiry, behind a link that delays, hangs and breaks.

use proptest::prelude::*;

use super::*;

/// What becomes of one renewal.
#[derive(Clone, Debug)]
enum Fate {
    /// It arrives after so many ms, the answer so many later.
    Answered(u64, u64),
    /// It arrives; neither its answer nor any later one on this stream does.
    Silence(u64),
    /// The stream ends so many ms after it arrived, unanswered.
    Ends(u64, bool),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => (0u64..20, 0u64..20).prop_map(|(up, down)| Fate::Answered(up, down)),
        2 => (0u64..900, 0u64..900).prop_map(|(up, down)| Fate::Answered(up, down)),
        1 => (0u64..100).prop_map(Fate::Silence),
        1 => (0u64..100, any::<bool>()).prop_map(|(up, refused)| Fate::Ends(up, refused)),
    ];
    prop::collection::vec(fate, 0..60)
}

/// A server with real expiry behind a link, driven by exactly the times that the machine asks to be woken at.
struct World {
    renewals: Renewals,
    now: BootInstant,
    /// On the server: what each lease was granted, and when it will be dropped.
    server: HashMap<LeaseId, (Duration, BootInstant)>,
    handles: HashMap<Slot, LeaseId>,
    /// When each was last sent on the present stream.
    last: HashMap<Slot, BootInstant>,
    /// With how long the answer takes, if there will be one.
    arriving: VecDeque<(BootInstant, LeaseId, Option<u64>)>,
    answers: VecDeque<(BootInstant, LeaseId, Duration)>,
    silent: bool,
    ends: Option<(BootInstant, bool)>,
    reopens: Option<BootInstant>,
    lost: HashMap<Slot, Vec<LostReason>>,
}

impl World {
    /// Leases with their TTLs in seconds and their numbers of handles.
    fn new(leases: &[(u64, usize)], seed: u64) -> Self {
        let (mut renewals, mut handles, mut server) =
            (Renewals::new(seed), HashMap::new(), HashMap::new());
        for (id, &(ttl, copies)) in leases.iter().enumerate() {
            let id = LeaseId(id as i64);
            server.insert(id, (SECS(ttl), at(0) + SECS(ttl)));
            handles.extend((0..copies).map(|_| (renewals.keep(id, SECS(ttl), at(0), at(0)), id)));
        }
        let (arriving, answers) = (VecDeque::new(), VecDeque::new());
        let (last, lost) = (HashMap::new(), HashMap::new());
        let (silent, ends, reopens) = (false, None, None);
        Self {
            renewals,
            now: at(0),
            server,
            handles,
            last,
            arriving,
            answers,
            silent,
            ends,
            reopens,
            lost,
        }
    }

    /// Goes on to the next thing to happen; false when nothing is left to happen.
    fn step(&mut self, fates: &mut impl Iterator<Item = Fate>) -> bool {
        let wake = self.renewals.wake(self.reopens.is_none(), self.now);
        let (arrival, answer) = (
            self.arriving.front().map(|a| a.0),
            self.answers.front().map(|a| a.0),
        );
        let times = [arrival, answer, wake, self.ends.map(|e| e.0), self.reopens];
        let Some(next) = times.into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.serve();
        while let Some(slot) = self.renewals.expired(self.now) {
            self.lost
                .entry(slot)
                .or_default()
                .push(LostReason::Deadline);
        }
        while let Some((_, id, ttl)) = self.answers.pop_front_if(|a| a.0 <= self.now) {
            if let Answer::Lost(slot, reason) = self.renewals.answered(id, ttl, self.now) {
                self.lost.entry(slot).or_default().push(reason);
            }
        }
        let ended = self.ends.filter(|e| e.0 <= self.now);
        if ended.is_some() || self.renewals.overdue(self.now) {
            self.reopen(ended.is_some_and(|e| e.1));
        }
        self.reopens = self.reopens.filter(|&at| at > self.now);
        while let Some((slot, id)) = self
            .renewals
            .due(self.now)
            .filter(|_| self.reopens.is_none())
        {
            self.send(slot, id, fates.next().unwrap_or(Fate::Silence(0)));
        }
        true
    }

    fn send(&mut self, slot: Slot, id: LeaseId, fate: Fate) {
        self.renewals.sent(slot, self.now);
        let ttl = self.server[&id].0;
        if let Some(last) = self.last.insert(slot, self.now) {
            let gap = self.now - last;
            assert!(
                (ttl / 4..=ttl / 2).contains(&gap),
                "renewed after {gap:?} of {ttl:?}"
            );
        }
        let (up, down) = match fate {
            Fate::Answered(up, down) => (up, Some(down)),
            Fate::Silence(up) | Fate::Ends(up, _) => (up, None),
        };
        // A stream keeps its order.
        let arrives = (self.now + MS(up)).max(self.arriving.back().map_or(self.now, |a| a.0));
        self.arriving
            .push_back((arrives, id, down.filter(|_| !self.silent)));
        self.silent |= down.is_none();
        if let Fate::Ends(_, refused) = fate {
            self.ends = self.ends.or(Some((arrives, refused)));
        }
    }

    /// The server renews what has arrived and answers.
    fn serve(&mut self) {
        while let Some((arrived, id, down)) = self.arriving.pop_front_if(|a| a.0 <= self.now) {
            let (ttl, expiry) = self.server[&id];
            let alive = arrived < expiry;
            if alive {
                self.server.insert(id, (ttl, arrived + ttl));
            }
            if let Some(down) = down {
                let answered =
                    (arrived + MS(down)).max(self.answers.back().map_or(arrived, |a| a.0));
                self.answers
                    .push_back((answered, id, if alive { ttl } else { Duration::ZERO }));
            }
        }
    }

    fn reopen(&mut self, refused: bool) {
        if let Some(slot) = self.renewals.stream_ended(refused, self.now) {
            self.renewals.remove(slot);
            self.lost.entry(slot).or_default().push(LostReason::Halted);
        }
        self.last.clear();
        self.answers.clear();
        // What is on its way still arrives, but its answer finds nobody.
        self.arriving.iter_mut().for_each(|a| a.2 = None);
        (self.silent, self.ends, self.reopens) = (false, None, Some(self.now + MS(50)));
    }
}

proptest! {
    #[test]
    fn no_lease_outlives_the_server_and_each_is_lost_once(
        leases in prop::collection::vec((1u64..30, 1usize..3), 1..4), seed in any::<u64>(), fates in fates(),
    ) {
        let mut world = World::new(&leases, seed);
        let mut fates = fates.into_iter();
        while world.step(&mut fates) {
            for (&slot, id) in &world.handles {
                let until = world.now + world.renewals.remaining(slot, world.now);
                let kept = world.renewals.state(slot, world.now).is_some();
                let expiry = world.server[id].1;
                prop_assert!(!kept || until < expiry, "{slot:?} relied on until {until:?}, on the server {expiry:?}");
            }
        }
        prop_assert_eq!(world.lost.len(), world.handles.len());
        prop_assert!(world.lost.values().all(|reasons| reasons.len() == 1), "{:?}", world.lost);
    }
}
