//! The choice, by counting what is picked, and the leader that it depends on.

use std::collections::HashSet;
use std::time::Duration;

use super::*;

#[test]
fn choices_go_to_active_endpoints_and_keep_away_from_the_avoided() {
    let any = Want::default();
    let mut pool = Pool::active(4);
    pool.check("suspect:3 lost:4 due:4");
    assert_eq!(pool.picked(any), [1, 2]);
    assert_eq!(
        pool.picked(Want {
            avoid: &[EndpointId(1)],
            ..any
        }),
        [2]
    );
    assert_eq!(
        pool.picked(Want {
            avoid: &[EndpointId(1), EndpointId(2)],
            ..any
        }),
        [1, 2]
    );
    for (pinned, expected) in [(1, Some(1)), (3, Some(3)), (4, None), (9, None)] {
        assert_eq!(
            pool.pick(Want {
                pinned: Some(EndpointId(pinned)),
                ..any
            }),
            expected
        );
    }
    pool.check("suspect:1 lost:2 SFSC");
    assert_eq!(pool.picked(any), [1, 3]);
    assert_eq!(
        pool.picked(Want {
            avoid: &[EndpointId(1)],
            ..any
        }),
        [3]
    );
    pool.check("lost:1 lost:3");
    assert_eq!(pool.pick(any), None);
}

#[test]
fn a_learner_gets_serializable_reads_only_until_it_is_promoted() {
    let mut pool = Pool::new(2);
    pool.check("due:1,2 learner:1");
    let (any, serializable) = (
        Want::default(),
        Want {
            serializable: true,
            ..Want::default()
        },
    );
    assert_eq!((pool.pick(any), pool.pick(serializable)), (None, Some(1)));
    pool.check("connected:2");
    assert_eq!(
        (pool.picked(any), pool.picked(serializable)),
        (vec![2], vec![1, 2])
    );
    // The leader is known, and still a reply of the learner asks whether it was promoted.
    let told = |id| Member {
        id,
        leader: 2,
        raft_term: 1,
        learner: false,
    };
    let generation = pool.generation(1);
    pool.state
        .probed(EndpointId(2), pool.generation(2), told(2));
    let header = Header {
        member_id: 1,
        raft_term: 1,
        leader_id: 0,
    };
    assert!(
        pool.state
            .learn(EndpointId(1), generation, header, pool.now)
    );
    pool.state.probed(EndpointId(1), generation, told(1));
    assert_eq!(pool.picked(any), [1, 2]);
}

#[test]
fn the_less_loaded_and_the_nearer_of_two_is_taken() {
    let mut pool = Pool::active(2);
    let mut taken = |loads: [(usize, u64); 2]| {
        let load = |id: EndpointId| {
            let (in_flight, micros) = loads[id.0 as usize - 1];
            Load {
                in_flight,
                rtt: Duration::from_micros(micros),
            }
        };
        let mut taken: Vec<_> = (0..100)
            .filter_map(|_| pool.state.pick(&Want::default(), &load))
            .map(|id| id.0)
            .collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    };
    assert_eq!(taken([(3, 1_000), (4, 1_000)]), [1]);
    assert_eq!(taken([(0, 2_000), (0, 1_000)]), [2]);
    assert_eq!(taken([(1, 1_000), (0, 2_001)]), [1]);
    // Below 100 µs the difference is noise.
    assert_eq!(taken([(0, 20), (0, 90)]), [1, 2]);
}

#[test]
fn an_endpoint_that_gets_no_calls_is_asked_while_others_answer() {
    let mut pool = Pool::active(2);
    let answer = |pool: &mut Pool| {
        let (generation, now) = (pool.generation(2), pool.now);
        pool.state
            .learn(EndpointId(2), generation, Header::default(), now);
        pool.state.unheard(now)
    };
    assert_eq!(answer(&mut pool), None);
    pool.check("+4999");
    assert_eq!(answer(&mut pool), None);
    pool.check("+1");
    assert_eq!(answer(&mut pool), Some(EndpointId(1)));
    assert_eq!(answer(&mut pool), None, "it is asked once");
    pool.check("suspect:1 +5000");
    assert_eq!(answer(&mut pool), None, "it is asked already");
    pool.check("alive:1");
    assert_eq!(answer(&mut pool), Some(EndpointId(1)));
}

#[test]
fn the_leader_is_taken_up_to_four_times_the_load_of_another() {
    let leader = Want {
        leader: true,
        ..Want::default()
    };
    let mut pool = Pool::active(3);
    let taken = |pool: &mut Pool, in_flight: usize| {
        let load = |id: EndpointId| Load {
            in_flight: if id.0 == 1 { in_flight } else { 1 },
            rtt: Duration::from_millis(1),
        };
        let taken: HashSet<_> = (0..100)
            .filter_map(|_| pool.state.pick(&leader, &load))
            .map(|id| id.0)
            .collect();
        (taken.contains(&1), taken.len())
    };
    assert_eq!(taken(&mut pool, 0), (true, 1));
    assert_eq!(taken(&mut pool, 7), (true, 1));
    assert_eq!(taken(&mut pool, 8), (false, 2));
    // Reads that any member can serve do not prefer it, and neither does a write once it is avoided, suspect or gone.
    assert_eq!(pool.picked(Want::default()), [1, 2, 3]);
    assert_eq!(
        pool.picked(Want {
            avoid: &[EndpointId(1)],
            ..leader
        }),
        [2, 3]
    );
    pool.check("suspect:1");
    assert_eq!(pool.picked(leader), [2, 3]);
    pool.check("lost:1");
    assert_eq!(pool.picked(leader), [2, 3]);
}

#[test]
fn a_new_raft_term_makes_the_leader_unknown_until_somebody_tells() {
    let leader = Want {
        leader: true,
        ..Want::default()
    };
    let mut pool = Pool::active(3);
    let (id, generation) = (EndpointId(2), pool.generation(2));
    let learn = |pool: &mut Pool, raft_term, leader_id| {
        pool.state.learn(
            id,
            generation,
            Header {
                member_id: 2,
                raft_term,
                leader_id,
            },
            pool.now,
        )
    };
    assert!(!learn(&mut pool, 1, 0), "the leader of this term is known");
    assert_eq!(pool.picked(leader), [1]);
    assert!(learn(&mut pool, 2, 0), "a new term, nobody told who leads");
    assert_eq!(pool.picked(leader), [1, 2, 3]);
    assert!(!learn(&mut pool, 2, 0), "one Status is under way");
    // A Status of the term before changes nothing, one of this term does.
    let told = |leader, raft_term| Member {
        id: 2,
        leader,
        raft_term,
        learner: false,
    };
    pool.state.probed(id, generation, told(1, 1));
    assert_eq!(pool.picked(leader), [1, 2, 3]);
    pool.state.probed(id, generation, told(3, 2));
    assert_eq!(pool.picked(leader), [3]);
    // A reply overtaken by others, of the old term.
    assert!(!learn(&mut pool, 1, 1));
    assert_eq!(pool.picked(leader), [3]);
    // etcd 3.8 tells in every header.
    assert!(!learn(&mut pool, 3, 1));
    assert_eq!(pool.picked(leader), [1]);
}

#[test]
fn an_unknown_leader_is_asked_for_at_growing_intervals() {
    let mut pool = Pool::active(1);
    let generation = pool.generation(1);
    let header = |raft_term| Header {
        member_id: 1,
        raft_term,
        leader_id: 0,
    };
    let mut asked = Vec::new();
    for second in 0..200 {
        if pool
            .state
            .learn(EndpointId(1), generation, header(2), pool.now)
        {
            asked.push(second);
        }
        pool.check("+1000");
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    assert!(
        pool.state
            .learn(EndpointId(1), generation, header(3), pool.now),
        "a new term asks at once"
    );
}

#[test]
fn a_cluster_that_counts_its_terms_anew_is_believed() {
    let leader = Want {
        leader: true,
        ..Want::default()
    };
    let mut pool = Pool::active(2);
    for n in [1, 2] {
        pool.state.probed(
            EndpointId(n),
            pool.generation(n),
            Member {
                id: n.into(),
                leader: 1,
                raft_term: 50,
                learner: false,
            },
        );
    }
    pool.check("lost:1 lost:2 due:1,2");
    for n in [1, 2] {
        pool.connect(
            n,
            Member {
                id: n.into(),
                leader: 2,
                raft_term: 2,
                learner: false,
            },
        );
    }
    assert_eq!(pool.picked(leader), [2]);
}
