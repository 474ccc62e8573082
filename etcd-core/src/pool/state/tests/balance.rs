//! Balances other than the default.

use super::*;

fn picks(pool: &mut Pool, times: usize, want: &Want<'_>) -> Vec<u32> {
    let load = |_| Load {
        in_flight: 0,
        rtt: Duration::ZERO,
    };
    (0..times)
        .map(|_| pool.state.pick(want, &load).unwrap().0)
        .collect()
}

#[test]
fn round_robin_takes_each_in_turn_whoever_leads() {
    let mut pool = Pool::balanced(3, Balance::RoundRobin);
    pool.check("due:1,2,3 connected:1 connected:2 connected:3");
    let want = Want {
        leader: true,
        ..Want::default()
    };
    let first = picks(&mut pool, 1, &want)[0];
    let turn = |n: u32| (first + n - 1) % 3 + 1;
    assert_eq!(
        picks(&mut pool, 5, &want),
        [1, 2, 3, 4, 5].map(turn),
        "after {first}"
    );
    // One that does not serve is passed over, and has its turn again when it does.
    pool.check("suspect:2");
    let mut taken = picks(&mut pool, 4, &want);
    taken.sort_unstable();
    assert_eq!(taken, [1, 1, 3, 3]);
    pool.check("alive:2");
    let mut taken = picks(&mut pool, 3, &want);
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3]);
}

/// The one that is connected first, by chance.
fn pinned(count: u32) -> (Pool, u32) {
    let mut pool = Pool::balanced(count, Balance::Pinned);
    let due = pool.state.due(pool.now);
    assert_eq!(due.len(), 1, "{due:?}");
    (pool, due[0].0)
}

#[test]
fn pinned_connects_one_and_when_it_is_lost_the_next_in_the_ring() {
    let (mut pool, first) = pinned(3);
    let turn = |n: u32| (first + n - 1) % 3 + 1;
    pool.check(&format!("next:none connected:{first} next:none due:"));
    assert_eq!(picks(&mut pool, 3, &Want::default()), [first; 3]);
    pool.check(&format!("lost:{first} due:{} due:", turn(1)));
    pool.check(&format!("connected:{0} due: +60000 due:", turn(1)));
    assert_eq!(picks(&mut pool, 3, &Want::default()), [turn(1); 3]);
    pool.check(&format!("lost:{} due:{}", turn(1), turn(2)));
    // That one is down, and so on round the ring.
    pool.check(&format!("failed:{} due:{first}", turn(2)));
    pool.check(&format!("failed:{first} due:{}", turn(1)));
}

#[test]
fn pinned_goes_on_elsewhere_while_its_endpoint_is_silent() {
    let (mut pool, first) = pinned(2);
    let other = 3 - first;
    pool.check(&format!("connected:{first} suspect:{first} due:{other}"));
    assert_eq!(picks(&mut pool, 1, &Want::default()), [first]);
    pool.check(&format!("connected:{other}"));
    assert_eq!(picks(&mut pool, 2, &Want::default()), [other; 2]);
    // And stays there.
    pool.check(&format!("alive:{first}"));
    assert_eq!(picks(&mut pool, 2, &Want::default()), [other; 2]);
}

#[test]
fn pinned_leaves_a_member_without_a_leader_for_one_that_is_not_connected_yet() {
    let (mut pool, first) = pinned(2);
    pool.check(&format!(
        "connected:{first} leaderless:{first} due:{}",
        3 - first
    ));
    let (mut alone, _) = pinned(1);
    alone.check("connected:1 leaderless-but-last:1");
}

#[test]
fn pinned_avoids_its_endpoint_for_one_call_and_stays_with_it() {
    let (mut pool, first) = pinned(2);
    let other = 3 - first;
    pool.check(&format!("connected:{first}"));
    assert!(pool.state.demand(EndpointId(other)), "for a view");
    assert!(!pool.state.demand(EndpointId(other)), "only once");
    pool.check(&format!("due:{other} connected:{other}"));
    let avoid = [EndpointId(first)];
    let want = Want {
        avoid: &avoid,
        ..Want::default()
    };
    assert_eq!(picks(&mut pool, 1, &want), [other]);
    assert_eq!(picks(&mut pool, 1, &Want::default()), [first]);
}
