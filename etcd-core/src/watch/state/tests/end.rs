//! How watches end.

use super::*;

#[test]
fn a_compacted_watch_ends_and_is_cancelled_on_the_server() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Ended(1, 60, ""), "end 1: compacted 60, cancel 1"),
        (Do::Canceled(1), ""),
    ]);
}

#[test]
fn a_cancel_is_confirmed_by_the_server_and_late_events_are_ignored() {
    let state = check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Cancel(1), "cancel 1"),
        (Do::Events(1, &[6]), ""),
        (Do::Canceled(1), "cancelled 1"),
    ]);
    assert!(state.is_idle());
}

#[test]
fn a_cancel_without_a_stream_is_confirmed_at_once() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Cancel(1), "cancel 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Cancel(2), ""),
        (Do::Lost, "cancelled 2, cancelled 1"),
    ]);
}

#[test]
fn a_stream_is_idle_when_its_last_watcher_was_dropped() {
    let state = check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Add(2, 5), ""),
        (Do::Drop(2), ""),
        (Do::Created(1, 9), "registered 1"),
        (Do::Drop(1), "cancel 1"),
    ]);
    assert!(state.is_idle(), "nobody waits for the confirmation");
}

#[test]
fn a_revision_over_the_limit_ends_the_watch_and_keeps_those_before() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Fragment(1, &[5]), ""),
        (
            Do::Large(1, 6, 5_000),
            "5x1 to 1, end 1: too large, cancel 1",
        ),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Created(2, 9), "registered 2"),
        (Do::Oversized(2), "end 2: too large, cancel 2"),
    ]);
}

#[test]
fn a_watch_that_the_server_ends_for_a_passing_reason_is_created_elsewhere() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Ended(1, 0, NO_LEADER), "reopen"),
        (Do::Lost, "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Ended(1, 0, ""), "reopen"),
        (Do::Lost, "create 1 as 1 from 5"),
    ]);
}

#[test]
fn a_cancel_before_the_create_is_answered_waits_for_the_answer() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Cancel(1), ""),
        (Do::Created(1, 9), "cancel 1"),
        (Do::Canceled(1), "cancelled 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Cancel(2), ""),
        (Do::Refused("etcdserver: permission denied"), "cancelled 2"),
    ]);
}

#[test]
fn a_refusal_in_the_words_of_a_status_is_understood() {
    let token = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Refused(token), "end 1: auth"),
        (Do::Add(2, -1), "create 2 as 2 from -1"),
        (Do::Refused(COMPACTED), "end 2: compacted 0"),
        (Do::Add(3, 5), "create 3 as 3 from 5"),
        (Do::Refused(NO_LEADER), "reopen"),
        (Do::Lost, "create 3 as 1 from 5"),
    ]);
}
