//! The transitions as tables.

mod balance;
mod choice;
mod promises;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Balance, EndpointId, Generation, Header, Load, Member, Phase, PoolState, Want};
use crate::net::endpoint::Endpoint;

struct Pool {
    state: PoolState,
    now: Instant,
    generations: HashMap<EndpointId, Generation>,
}

fn endpoints(count: u32) -> Vec<Endpoint> {
    (1..=count)
        .map(|n| Endpoint::parse(&format!("http://10.0.0.{n}:2379"), false).unwrap())
        .collect()
}

impl Pool {
    fn new(count: u32) -> Self {
        Self::balanced(count, Balance::P2c)
    }

    fn balanced(count: u32, balance: Balance) -> Self {
        let now = Instant::now();
        Self {
            state: PoolState::new(endpoints(count), balance, 7, now),
            now,
            generations: HashMap::new(),
        }
    }

    /// All endpoints active; each member has the number of its endpoint, the first leads in term 1.
    fn active(count: u32) -> Self {
        let mut pool = Self::new(count);
        pool.state.due(pool.now);
        for n in 1..=count {
            pool.connect(
                n,
                Member {
                    id: n.into(),
                    leader: 1,
                    raft_term: 1,
                    learner: false,
                },
            );
        }
        pool
    }

    fn connect(&mut self, n: u32, member: Member) -> bool {
        let generation = self
            .state
            .connected(EndpointId(n), member, self.now)
            .unwrap();
        assert!(!self.generations.values().any(|used| *used == generation));
        self.generations
            .insert(EndpointId(n), generation)
            .is_none_or(|old| old != generation)
    }

    fn generation(&self, n: u32) -> Generation {
        self.generations[&EndpointId(n)]
    }

    fn letters(&self) -> String {
        self.state
            .snapshot(self.now)
            .iter()
            .map(|view| &view.phase.name()[..1])
            .collect()
    }

    /// Runs a script of words: `+200` lets that many ms pass, `due:1,3` starts the due attempts and expects these, `next:0..200`
    /// expects `next_due` in so many ms, `FAC` expects the phases by their first letters, any other word is an event.
    fn check(&mut self, script: &str) -> &mut Self {
        for word in script.split_whitespace() {
            self.step(word);
        }
        self
    }

    fn step(&mut self, word: &str) {
        let (what, value) = word.split_once(':').unwrap_or((word, ""));
        let numbers: Vec<u32> = value
            .split([',', '.'])
            .filter_map(|n| n.parse().ok())
            .collect();
        let n = numbers.first().copied().unwrap_or(0);
        let (id, now) = (EndpointId(n), self.now);
        let applied = match what {
            "due" => {
                self.state.due(now) == numbers.iter().map(|n| EndpointId(*n)).collect::<Vec<_>>()
            }
            "next" => {
                let next = self
                    .state
                    .next_due()
                    .map(|at| at.saturating_duration_since(now).as_millis() as u32);
                next.is_none_or(|ms| numbers[0] <= ms && ms <= numbers[1])
                    && next.is_none() == (value == "none")
            }
            "connected" => self.connect(n, Member::default()),
            "learner" => self.connect(
                n,
                Member {
                    learner: true,
                    ..Member::default()
                },
            ),
            "failed" => {
                self.state.connect_failed(id, "refused", now);
                true
            }
            "lost" => self.state.lost(id, self.generation(n), "reset", now),
            "suspect" => self.state.suspect(id, self.generation(n)),
            "alive" => self.state.alive(id, self.generation(n)),
            "leaderless" => self.state.no_leader(id, self.generation(n), now),
            "leaderless-but-last" => !self.state.no_leader(id, self.generation(n), now),
            _ if what.starts_with('+') => {
                self.now += Duration::from_millis(what[1..].parse().unwrap());
                true
            }
            phases => self.letters() == phases,
        };
        let next = self
            .state
            .next_due()
            .map(|at| at.saturating_duration_since(now));
        assert!(
            applied,
            "{word}: phases {}, next due in {next:?}",
            self.letters()
        );
    }

    fn pick(&mut self, want: Want<'_>) -> Option<u32> {
        let load = |_| Load {
            in_flight: 0,
            rtt: Duration::from_millis(1),
        };
        self.state.pick(&want, &load).map(|id| id.0)
    }

    /// Which endpoints are picked in many choices.
    fn picked(&mut self, want: Want<'_>) -> Vec<u32> {
        let mut picked: Vec<_> = (0..200).filter_map(|_| self.pick(want)).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }
}

#[test]
fn every_endpoint_is_tried_at_once_and_one_attempt_at_a_time() {
    Pool::new(3).check("next:0..0 due:1,2,3 CCC next:none due: connected:2 CAC failed:1 failed:3 FAF next:160..200 \
         +200 due:1,3 CAC connected:1 AAC");
}

#[test]
fn delays_double_while_another_endpoint_is_active() {
    let mut pool = Pool::active(2);
    pool.check("+10000 lost:1 due:1");
    for ms in [
        200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 25_600, 25_600,
    ] {
        let (least, rest) = (ms * 4 / 5, ms / 5 + 1);
        pool.check(&format!(
            "failed:1 next:{least}..{ms} +{} due: +{rest} due:1",
            least - 1
        ));
    }
    // Back, and proven: the next loss is retried at once, and delays start anew.
    pool.check("connected:1 +5000 lost:1 next:0..0 due:1 failed:1 next:160..200");
}

#[test]
fn with_nothing_active_each_endpoint_is_tried_once_a_second() {
    let mut pool = Pool::new(2);
    pool.check("due:1,2 failed:1 failed:2");
    for _ in 0..20 {
        pool.check("+1000 due:1,2 failed:1 failed:2 next:100..1000");
    }
}

#[test]
fn a_slow_failure_counts_into_the_second() {
    let mut pool = Pool::new(1);
    pool.check("due:1");
    for _ in 0..5 {
        pool.check("+900 failed:1 +200 due:1");
    }
    pool.check("+900 failed:1 next:0..100");
}

#[test]
fn frozen_endpoints_are_tried_soon_when_the_last_active_one_goes() {
    let frozen = || {
        let mut pool = Pool::active(2);
        pool.check("+10000 lost:1 due:1");
        for _ in 0..9 {
            pool.check("failed:1 +25600 due:1");
        }
        pool.check("failed:1 next:20480..25600");
        pool
    };
    frozen().check("suspect:2 next:0..1000 alive:2 next:20480..25600");
    frozen().check("lost:2 +1000 due:1,2");
    frozen().check("lost:2 due:2 +1000 due:1");
}

#[test]
fn a_learner_does_not_take_over_so_the_others_are_tried_once_a_second() {
    let mut pool = Pool::new(2);
    pool.check("due:1,2 learner:1");
    for _ in 0..9 {
        pool.check("failed:2 AF +1000 due:2");
    }
}

#[test]
fn an_endpoint_lost_again_and_again_is_retried_once_at_once_and_then_with_delays() {
    Pool::active(2).check(
        "lost:1 FA next:0..0 due:1 \
         connected:1 +100 lost:1 next:160..200 \
         +200 due:1 connected:1 +100 lost:1 next:320..400 \
         +400 due:1 connected:1 +4999 lost:1 next:640..800 \
         +800 due:1 connected:1 +5000 lost:1 next:0..0",
    );
}

#[test]
fn suspicion_comes_and_goes_and_ends_with_the_connection() {
    let mut pool = Pool::active(2);
    pool.check("suspect:1 SA");
    let cause = pool.state.reports().swap_remove(0).cause;
    assert!(cause.is_some_and(|cause| cause.contains("PING")));
    pool.check("alive:1 AA suspect:1 lost:1 FA");
}

#[test]
fn a_member_without_leader_is_frozen_unless_it_is_the_last_active_one() {
    let mut pool = Pool::active(3);
    pool.check("leaderless:1 FAA next:160..200 leaderless:2 FFA leaderless-but-last:3 FFA");
    let causes: Vec<_> = pool
        .state
        .reports()
        .into_iter()
        .map(|report| report.cause)
        .collect();
    assert_eq!(
        causes,
        [
            Some("the member has no leader".into()),
            Some("the member has no leader".into()),
            None
        ]
    );
    // A suspect endpoint or a learner is no other.
    Pool::active(2).check("suspect:2 leaderless-but-last:1 AS");
    Pool::new(2).check("due:1,2 connected:1 learner:2 leaderless-but-last:1 AA");
}

#[test]
fn news_of_connections_given_up_are_ignored() {
    let mut pool = Pool::active(2);
    pool.check("+10000");
    let (id, old) = (EndpointId(1), pool.generation(1));
    pool.check("lost:1 due:1 connected:1");
    let now = pool.now;
    for _ in 0..10 {
        assert!(!pool.state.lost(id, old, "reset", now));
    }
    assert!(!pool.state.suspect(id, old));
    assert!(!pool.state.no_leader(id, old, now));
    assert!(!pool.state.learn(
        id,
        old,
        Header {
            member_id: 1,
            raft_term: 9,
            leader_id: 2
        },
        now
    ));
    // Nor does the failure of an attempt that is not under way.
    pool.check("failed:1 AA suspect:1");
    assert!(!pool.state.alive(id, old));
    pool.check("SA");
}

#[test]
fn a_new_list_keeps_what_stays_and_names_what_goes() {
    let mut pool = Pool::active(2);
    let [first, second] = <[Endpoint; 2]>::try_from(endpoints(2)).unwrap();
    let third = Endpoint::parse("c:1", false).unwrap();
    assert_eq!(
        pool.state
            .set_endpoints(vec![third.clone(), second.clone()], pool.now),
        [EndpointId(1)]
    );
    pool.check("FA due:3");
    assert_eq!(pool.state.find(&first), None);
    assert_eq!(pool.state.endpoint(EndpointId(1)), None);
    assert_eq!(pool.state.find(&third), Some(EndpointId(3)));
    // One that comes back is a new one; late news of the old one change nothing.
    pool.state
        .set_endpoints(vec![first, second, third], pool.now);
    assert!(
        !pool
            .state
            .lost(EndpointId(1), pool.generation(1), "reset", pool.now)
    );
    assert_eq!(
        pool.state
            .connected(EndpointId(1), Member::default(), pool.now),
        None
    );
    pool.check("FAC due:4");
}
