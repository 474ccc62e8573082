mod world;

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
    for (ttl, healthy, at_risk) in [
        (1, 0.66, 0.74),
        (2, 1.33, 1.74),
        (10, 6.66, 8.99),
        (60, 39.99, 53.99),
    ] {
        let (mut renewals, slot) = one(ttl);
        let ms = |secs: f64| at((secs * 1_000.0) as u64);
        assert_eq!(
            renewals.state(slot, ms(healthy)),
            Some(LeaseState::Healthy),
            "TTL {ttl}"
        );
        assert_eq!(
            renewals.state(slot, ms(healthy + 0.01)),
            Some(LeaseState::AtRisk),
            "TTL {ttl}"
        );
        assert_eq!(
            renewals.state(slot, ms(at_risk)),
            Some(LeaseState::AtRisk),
            "TTL {ttl}"
        );
        assert_eq!(
            renewals.state(slot, ms(at_risk + 0.01)),
            DEADLINE,
            "TTL {ttl}"
        );
        assert_eq!(
            renewals.wake(false, at(0)),
            Some(ms(at_risk + 0.01)),
            "and is woken for"
        );
        assert_eq!(renewals.remaining(slot, ms(at_risk)), MS(10));
        assert_eq!((renewals.expired(ms(at_risk)), renewals.len()), (None, 1));
        assert_eq!(
            (renewals.expired(ms(at_risk + 0.01)), renewals.len()),
            (Some(slot), 0)
        );
        assert_eq!(
            (renewals.state(slot, at(0)), renewals.wake(true, at(0))),
            (None, None),
            "for good"
        );
    }
}

#[test]
fn a_renewal_counts_from_when_it_was_sent_not_from_when_it_was_answered() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    assert_eq!(renewals.answered(ID, SECS(10), at(8_000)), Answer::Renewed);
    assert_eq!(
        renewals.remaining(slot, at(8_000)),
        MS(4_000),
        "3 s + 10 s - 1 s - 8 s"
    );
}

#[test]
fn an_answer_is_taken_for_the_oldest_renewal_under_way() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    renewals.sent(slot, at(6_000));
    assert_eq!(renewals.answered(ID, SECS(10), at(6_001)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(6_001)), MS(5_999));
    assert_eq!(renewals.answered(ID, SECS(10), at(6_002)), Answer::Renewed);
    assert_eq!(renewals.remaining(slot, at(6_002)), MS(8_998));
    assert_eq!(renewals.answered(ID, SECS(10), at(6_003)), Answer::Unasked);
    assert_eq!(
        renewals.answered(LeaseId(8), SECS(10), at(6_003)),
        Answer::Unasked
    );

    renewals.sent(slot, at(9_000));
    renewals.stream_ended(false, at(10_000));
    renewals.sent(slot, at(10_000));
    assert_eq!(renewals.answered(ID, SECS(10), at(10_001)), Answer::Renewed);
    assert_eq!(
        renewals.remaining(slot, at(10_001)),
        MS(8_999),
        "no answer to an earlier stream's renewal comes on this one"
    );
}

#[test]
fn an_answer_after_the_deadline_does_not_bring_a_lease_back() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(8_900));
    assert_eq!(
        renewals.answered(ID, SECS(10), at(9_000)),
        Answer::Lost(slot, LostReason::Deadline)
    );
    assert_eq!(
        (
            renewals.state(slot, at(9_000)),
            renewals.expired(at(99_000))
        ),
        (None, None),
        "once"
    );
}

#[test]
fn an_answer_without_time_to_live_means_that_the_server_has_no_such_lease() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    assert_eq!(
        renewals.answered(ID, Duration::ZERO, at(3_001)),
        Answer::Lost(slot, LostReason::NotFound)
    );
    assert_eq!((renewals.len(), renewals.wake(false, at(3_001))), (0, None));
}

#[test]
fn times_to_live_of_any_size_do_not_overflow() {
    let (mut renewals, slot) = one(10);
    renewals.sent(slot, at(3_000));
    assert_eq!(
        renewals.answered(ID, Duration::MAX, at(3_000)),
        Answer::Renewed
    );
    renewals.sent(slot, at(6_000));
    assert_eq!(
        renewals.answered(ID, SECS(1), at(6_000)),
        Answer::Renewed,
        "nor does a shrinking one"
    );
    assert_eq!(renewals.remaining(slot, at(6_000)), MS(750));
    let longest = renewals.keep(ID, Duration::MAX, at(0), at(0));
    assert_eq!(renewals.state(longest, at(u64::MAX)), DEADLINE);
}

#[test]
fn silence_is_overdue_after_a_third_of_the_shortest_ttl_or_two_seconds() {
    for (ttls, patience) in [
        (vec![3], 1_000),
        (vec![60], 2_000),
        (vec![60, 3], 1_000),
        (vec![3, 60], 1_000),
    ] {
        let mut renewals = Renewals::new(1);
        let keep = |&ttl: &u64| renewals.keep(ID, SECS(ttl), at(0), at(0));
        let slots: Vec<_> = ttls.iter().map(keep).collect();
        assert_eq!(renewals.flight.overdue_at(), None, "nothing is under way");
        slots
            .into_iter()
            .for_each(|slot| renewals.sent(slot, at(100)));
        assert!(
            !renewals.overdue(at(99 + patience)) && renewals.overdue(at(100 + patience)),
            "{ttls:?}"
        );
        assert_eq!(renewals.stream_ended(false, at(100 + patience)), None);
        assert!(!renewals.overdue(at(99_000)), "a new stream starts afresh");
        assert!(
            renewals.due(at(100 + patience)).is_some(),
            "with what was unanswered"
        );
    }
}

#[test]
fn a_slow_link_is_not_taken_for_silence() {
    let mut renewals = Renewals::new(1);
    let slot = renewals.keep(ID, SECS(3), at(0), at(800));
    renewals.sent(slot, at(1_000));
    assert!(
        !renewals.overdue(at(2_599)) && renewals.overdue(at(2_600)),
        "twice what the grant took"
    );
    renewals.sent(slot, at(2_000));
    renewals.answered(ID, SECS(3), at(1_600));
    assert!(
        !renewals.overdue(at(3_199)) && renewals.overdue(at(3_200)),
        "twice what the last answer took"
    );
    renewals.answered(ID, SECS(3), at(3_600));
    renewals.sent(slot, at(3_600));
    assert!(
        !renewals.overdue(at(5_599)) && renewals.overdue(at(5_600)),
        "but never more than two thirds of the TTL"
    );
}

#[test]
fn a_lease_that_ends_the_stream_twice_leaves_it_and_the_others_stay() {
    let (mut renewals, bad) = one(10);
    let good = renewals.keep(LeaseId(8), SECS(10), at(0), at(0));
    renewals.sent(bad, at(3_000));
    renewals.sent(good, at(3_000));
    assert_eq!(
        renewals.stream_ended(true, at(3_100)),
        None,
        "it may not have been its fault"
    );
    renewals.sent(good, at(3_200));
    renewals.sent(bad, at(3_200));
    assert_eq!(
        renewals.stream_ended(false, at(3_300)),
        None,
        "a lost connection is nobody's fault"
    );
    renewals.sent(good, at(3_300));
    renewals.sent(bad, at(3_300));
    assert_eq!(
        renewals.answered(LeaseId(8), SECS(10), at(3_350)),
        Answer::Renewed
    );
    assert_eq!(renewals.stream_ended(true, at(3_400)), Some(bad));
    assert_eq!(renewals.due(at(8_000)), Some((good, LeaseId(8))));
    renewals.sent(good, at(8_000));
    assert_eq!(
        renewals.answered(LeaseId(8), SECS(10), at(8_000)),
        Answer::Renewed
    );
    assert_eq!(
        renewals.due(at(8_000)),
        None,
        "the bad one is renewed elsewhere"
    );

    assert_eq!(
        renewals.alone(bad, at(3_400)),
        Some((ID, SECS(10), at(3_400))),
        "at once"
    );
    assert_eq!(
        renewals.confirm(bad, SECS(10), at(3_400), at(3_500)),
        Answer::Renewed
    );
    let (_, _, next) = renewals.alone(bad, at(3_500)).unwrap();
    assert!((at(5_900)..=at(7_400)).contains(&next), "then as usual");
    assert_eq!(
        renewals.stream_ended(true, at(8_100)),
        None,
        "and it cannot leave again"
    );
    assert_eq!(
        renewals.expired(at(12_400)),
        Some(bad),
        "its deadline holds as before"
    );
    assert_eq!((renewals.alone(bad, at(12_400)), renewals.len()), (None, 1));
}

#[test]
fn an_answer_clears_a_lease_of_suspicion() {
    let (mut renewals, slot) = one(10);
    for start in [1_000, 2_000, 3_000] {
        renewals.sent(slot, at(start));
        assert_eq!(renewals.stream_ended(true, at(start)), None);
        renewals.sent(slot, at(start + 500));
        assert_eq!(
            renewals.answered(ID, SECS(10), at(start + 500)),
            Answer::Renewed
        );
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
            renewals.answered(id, SECS(10), now);
            sent += 1;
        }
        per_tick.push(sent);
    }
    let (first, later) = per_tick.split_at(60);
    assert!(
        *first.iter().max().unwrap() < 1_000,
        "a burst is spread over a seventh of the TTL: {first:?}"
    );
    assert!(
        *later.iter().max().unwrap() < 800,
        "and wider from round to round, 303 being even: {later:?}"
    );
    assert_eq!(renewals.len(), 10_000);
}

#[test]
fn a_dropped_lease_is_not_renewed_and_its_late_answer_hurts_nobody() {
    let (mut renewals, dropped) = one(10);
    renewals.sent(dropped, at(3_000));
    assert!(renewals.remove(dropped) && !renewals.remove(dropped));
    let kept = renewals.keep(ID, SECS(10), at(2_000), at(3_000));
    assert_eq!(renewals.answered(ID, SECS(10), at(3_100)), Answer::Unasked);
    assert_eq!(renewals.stream_ended(true, at(3_200)), None);
    assert_eq!(
        (renewals.len(), renewals.remaining(kept, at(3_200))),
        (1, MS(7_800))
    );
}
