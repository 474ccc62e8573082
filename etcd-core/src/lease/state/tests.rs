use proptest::prelude::*;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;
const ID: LeaseId = LeaseId(7);
const DEADLINE: Option<LeaseState> = Some(LeaseState::Lost(LostReason::Deadline));

fn at(ms: u64) -> BootInstant {
    BootInstant::default() + MS(ms)
}

/// One lease with this TTL in seconds, granted on a request sent at 0 and answered at once.
fn one(ttl: u64) -> (Renewals, Slot) {
    let mut renewals = Renewals::new(1);
    let slot = renewals.keep(ID, SECS(ttl), at(0), at(0));
    (renewals, slot)
}

#[test]
fn a_lease_is_relied_on_until_its_ttl_after_sending_minus_a_margin() {
    for (ttl, healthy, at_risk) in [(1, 0.66, 0.74), (2, 1.33, 1.74), (10, 6.66, 8.99), (60, 39.99, 53.99)] {
        let (mut renewals, slot) = one(ttl);
        let ms = |secs: f64| at((secs * 1_000.0) as u64);
        assert_eq!(renewals.state(slot, ms(healthy)), Some(LeaseState::Healthy), "TTL {ttl}");
        assert_eq!(renewals.state(slot, ms(healthy + 0.01)), Some(LeaseState::AtRisk), "TTL {ttl}");
        assert_eq!(renewals.state(slot, ms(at_risk)), Some(LeaseState::AtRisk), "TTL {ttl}");
        assert_eq!(renewals.state(slot, ms(at_risk + 0.01)), DEADLINE, "TTL {ttl}");
        assert_eq!(renewals.wake(false), Some(ms(at_risk + 0.01)), "and is woken for");
        assert_eq!(renewals.remaining(slot, ms(at_risk)), MS(10));
        assert_eq!((renewals.expired(ms(at_risk)), renewals.len()), (None, 1));
        assert_eq!((renewals.expired(ms(at_risk + 0.01)), renewals.len()), (Some(slot), 0));
        assert_eq!((renewals.state(slot, at(0)), renewals.wake(true)), (None, None), "for good");
    }
}

#[test]
fn a_renewal_counts_from_when_it_was_sent_not_from_when_it_was_answered() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    assert_eq!(renewals.answered(ID, 10, at(8_000)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(8_000)), MS(4_000), "3 s + 10 s - 1 s - 8 s");
}

#[test]
fn an_answer_is_taken_for_the_oldest_renewal_under_way() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    renewals.sent(slot, at(6_000));
    assert_eq!(renewals.answered(ID, 10, at(6_001)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(6_001)), MS(5_999));
    assert_eq!(renewals.answered(ID, 10, at(6_002)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(6_002)), MS(8_998));
    assert_eq!(renewals.answered(ID, 10, at(6_003)), Answer::Unasked);
    assert_eq!(renewals.answered(LeaseId(8), 10, at(6_003)), Answer::Unasked);

    renewals.sent(slot, at(9_000));
    renewals.stream_ended(false, at(10_000));
    renewals.sent(slot, at(10_000));
    assert_eq!(renewals.answered(ID, 10, at(10_001)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(10_001)), MS(8_999), "no answer to an earlier stream's renewal comes on this one");
}

#[test]
fn an_answer_after_the_deadline_does_not_bring_a_lease_back() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(8_900));
    assert_eq!(renewals.answered(ID, 10, at(9_000)), Answer::Lost(slot, LostReason::Deadline));
    assert_eq!((renewals.state(slot, at(9_000)), renewals.expired(at(99_000))), (None, None), "once");
}

#[test]
fn an_answer_without_time_to_live_means_that_the_server_has_no_such_lease() {
    for ttl in [0, -1, i64::MIN] {
        let (mut renewals, slot) = one(10);
        renewals.sent(slot, at(3_000));
        assert_eq!(renewals.answered(ID, ttl, at(3_001)), Answer::Lost(slot, LostReason::NotFound));
        assert_eq!((renewals.len(), renewals.wake(false)), (0, None));
    }
}

#[test]
fn times_to_live_of_any_size_do_not_overflow() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    assert_eq!(renewals.answered(ID, i64::MAX, at(3_000)), Answer::Renewed);
    renewals.sent(slot, at(6_000));
    assert_eq!(renewals.answered(ID, 1, at(6_000)), Answer::Renewed, "nor does a shrinking one");
    assert_eq!(renewals.remaining(slot, at(6_000)), MS(750));
    let longest = renewals.keep(ID, Duration::MAX, at(0), at(0));
    assert_eq!(renewals.state(longest, at(u64::MAX)), DEADLINE);
}

#[test]
fn silence_is_overdue_after_a_third_of_the_shortest_ttl_or_two_seconds() {
    for (ttls, patience) in [(vec![3], 1_000), (vec![60], 2_000), (vec![60, 3], 1_000), (vec![3, 60], 1_000)] {
        let mut renewals = Renewals::new(1);
        let keep = |&ttl: &u64| renewals.keep(ID, SECS(ttl), at(0), at(0));
        let slots: Vec<_> = ttls.iter().map(keep).collect();
        assert_eq!(renewals.flight.overdue_at(), None, "nothing is under way");
        slots.into_iter().for_each(|slot| renewals.sent(slot, at(100)));
        assert!(!renewals.overdue(at(99 + patience)) && renewals.overdue(at(100 + patience)), "{ttls:?}");
        assert_eq!(renewals.stream_ended(false, at(100 + patience)), None);
        assert!(!renewals.overdue(at(99_000)), "a new stream starts afresh");
        assert!(renewals.due(at(100 + patience)).is_some(), "with what was unanswered");
    }
}

#[test]
fn a_slow_link_is_not_taken_for_silence() {
    let mut renewals = Renewals::new(1);
    let slot = renewals.keep(ID, SECS(3), at(0), at(800));
    renewals.sent(slot, at(1_000));
    assert!(!renewals.overdue(at(2_599)) && renewals.overdue(at(2_600)), "twice what the grant took");
    renewals.sent(slot, at(2_000));
    renewals.answered(ID, 3, at(1_600));
    assert!(!renewals.overdue(at(3_199)) && renewals.overdue(at(3_200)), "twice what the last answer took");
    renewals.answered(ID, 3, at(3_600));
    renewals.sent(slot, at(3_600));
    assert!(!renewals.overdue(at(5_599)) && renewals.overdue(at(5_600)), "but never more than two thirds of the TTL");
}

#[test]
fn a_lease_that_ends_the_stream_twice_leaves_it_and_the_others_stay() {
    let (mut renewals, bad) = one(10);
    let good = renewals.keep(LeaseId(8), SECS(10), at(0), at(0));
    renewals.sent(bad, at(3_000));
    renewals.sent(good, at(3_000));
    assert_eq!(renewals.stream_ended(true, at(3_100)), None, "it may not have been its fault");
    renewals.sent(good, at(3_200));
    renewals.sent(bad, at(3_200));
    assert_eq!(renewals.stream_ended(false, at(3_300)), None, "a lost connection is nobody's fault");
    renewals.sent(good, at(3_300));
    renewals.sent(bad, at(3_300));
    assert_eq!(renewals.answered(LeaseId(8), 10, at(3_350)), Answer::Renewed);
    assert_eq!(renewals.stream_ended(true, at(3_400)), Some(bad));
    assert_eq!(renewals.due(at(8_000)), Some((good, LeaseId(8))));
    renewals.sent(good, at(8_000));
    assert_eq!(renewals.answered(LeaseId(8), 10, at(8_000)), Answer::Renewed);
    assert_eq!(renewals.due(at(8_000)), None, "the bad one is renewed elsewhere");

    assert_eq!(renewals.alone(bad, at(3_400)), Some((ID, SECS(10), at(3_400))), "at once");
    assert_eq!(renewals.confirm(bad, 10, at(3_400), at(3_500)), Answer::Renewed);
    let (_, _, next) = renewals.alone(bad, at(3_500)).unwrap();
    assert!((at(5_900)..=at(7_400)).contains(&next), "then as usual");
    assert_eq!(renewals.stream_ended(true, at(8_100)), None, "and it cannot leave again");
    assert_eq!(renewals.expired(at(12_400)), Some(bad), "its deadline holds as before");
    assert_eq!((renewals.alone(bad, at(12_400)), renewals.len()), (None, 1));
}

#[test]
fn an_answer_clears_a_lease_of_suspicion() {
    let (mut renewals, slot) = one(10);
    for start in [1_000, 2_000, 3_000] {
        renewals.sent(slot, at(start));
        assert_eq!(renewals.stream_ended(true, at(start)), None);
        renewals.sent(slot, at(start + 500));
        assert_eq!(renewals.answered(ID, 10, at(start + 500)), Answer::Renewed);
    }
}

#[test]
fn ten_thousand_leases_granted_at_once_are_not_renewed_at_once() {
    let mut renewals = Renewals::new(3);
    for _ in 0..10_000 {
        renewals.keep(ID, SECS(10), at(0), at(0));
    }
    let mut per_tick = Vec::new();
    for now in (0..20_000).step_by(100).map(at) {
        let mut sent = 0;
        while let Some((slot, id)) = renewals.due(now) {
            renewals.sent(slot, now);
            renewals.answered(id, 10, now);
            sent += 1;
        }
        per_tick.push(sent);
    }
    let (first, later) = per_tick.split_at(60);
    assert!(*first.iter().max().unwrap() < 1_000, "a burst is spread over a seventh of the TTL: {first:?}");
    assert!(*later.iter().max().unwrap() < 800, "and wider from round to round, 303 being even: {later:?}");
    assert_eq!(renewals.len(), 10_000);
}

#[test]
fn a_dropped_lease_is_not_renewed_and_its_late_answer_hurts_nobody() {
    let (mut renewals, dropped) = one(10);
    renewals.sent(dropped, at(3_000));
    assert!(renewals.remove(dropped) && !renewals.remove(dropped));
    let kept = renewals.keep(ID, SECS(10), at(2_000), at(3_000));
    assert_eq!(renewals.answered(ID, 10, at(3_100)), Answer::Unasked);
    assert_eq!(renewals.stream_ended(true, at(3_200)), None);
    assert_eq!((renewals.len(), renewals.remaining(kept, at(3_200))), (1, MS(7_800)));
}

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
    answers: VecDeque<(BootInstant, LeaseId, i64)>,
    silent: bool,
    ends: Option<(BootInstant, bool)>,
    reopens: Option<BootInstant>,
    lost: HashMap<Slot, Vec<LostReason>>,
}

impl World {
    /// Leases with their TTLs in seconds and their numbers of handles.
    fn new(leases: &[(u64, usize)], seed: u64) -> Self {
        let (mut renewals, mut handles, mut server) = (Renewals::new(seed), HashMap::new(), HashMap::new());
        for (id, &(ttl, copies)) in leases.iter().enumerate() {
            let id = LeaseId(id as i64);
            server.insert(id, (SECS(ttl), at(0) + SECS(ttl)));
            handles.extend((0..copies).map(|_| (renewals.keep(id, SECS(ttl), at(0), at(0)), id)));
        }
        let (arriving, answers) = (VecDeque::new(), VecDeque::new());
        let (last, lost) = (HashMap::new(), HashMap::new());
        let (silent, ends, reopens) = (false, None, None);
        Self { renewals, now: at(0), server, handles, last, arriving, answers, silent, ends, reopens, lost }
    }

    /// Goes on to the next thing to happen; false when nothing is left to happen.
    fn step(&mut self, fates: &mut impl Iterator<Item = Fate>) -> bool {
        let wake = self.renewals.wake(self.reopens.is_none());
        let (arrival, answer) = (self.arriving.front().map(|a| a.0), self.answers.front().map(|a| a.0));
        let times = [arrival, answer, wake, self.ends.map(|e| e.0), self.reopens];
        let Some(next) = times.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        self.serve();
        while let Some(slot) = self.renewals.expired(self.now) {
            self.lost.entry(slot).or_default().push(LostReason::Deadline);
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
        while let Some((slot, id)) = self.renewals.due(self.now).filter(|_| self.reopens.is_none()) {
            self.send(slot, id, fates.next().unwrap_or(Fate::Silence(0)));
        }
        true
    }

    fn send(&mut self, slot: Slot, id: LeaseId, fate: Fate) {
        self.renewals.sent(slot, self.now);
        let ttl = self.server[&id].0;
        if let Some(last) = self.last.insert(slot, self.now) {
            let gap = self.now - last;
            assert!((ttl / 4..=ttl / 2).contains(&gap), "renewed after {gap:?} of {ttl:?}");
        }
        let (up, down) = match fate {
            Fate::Answered(up, down) => (up, Some(down)),
            Fate::Silence(up) | Fate::Ends(up, _) => (up, None),
        };
        // A stream keeps its order.
        let arrives = (self.now + MS(up)).max(self.arriving.back().map_or(self.now, |a| a.0));
        self.arriving.push_back((arrives, id, down.filter(|_| !self.silent)));
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
                let answered = (arrived + MS(down)).max(self.answers.back().map_or(arrived, |a| a.0));
                self.answers.push_back((answered, id, if alive { ttl.as_secs() as i64 } else { 0 }));
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
