//! Watchers whose readers are behind.

use super::*;

#[test]
fn a_parked_watcher_is_cancelled_and_resumes_at_what_was_refused() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Events(1, &[5, 6]), "5x1 to 1, 6x1 to 1"),
        (Do::Park(1, 6), "cancel 1"),
        (Do::Events(1, &[7]), ""),
        (Do::Canceled(1), ""),
        (Do::CatchUp, ""),
        (Do::Drained(1), ""),
        (Do::CatchUp, "create 1 as 2 from 6"),
        (Do::Created(2, 8), "registered 1"),
        (Do::Events(2, &[6, 7]), "6x1 to 1, 7x1 to 1"),
        (Do::Events(2, &[9]), "9x1 to 1, caught up 1"),
    ]);
}

#[test]
fn what_is_left_of_a_response_to_a_parked_watcher_is_not_taken_for_the_next_one() {
    let now = Instant::now();
    let mut bench = Bench {
        state: State::new(limits()),
        now,
    };
    bench.state.opened("http://a".into(), now);
    bench.apply(&Do::Add(1, 5));
    bench.output();
    bench.apply(&Do::Created(1, 9));
    bench.output();
    bench.state.start(1);
    for revision in [5, 6] {
        bench.state.event(event("k", revision, 1), 10);
    }
    assert_eq!(bench.output(), "5x1 to 1");
    bench.apply(&Do::Park(1, 5));
    bench.apply(&Do::Drained(1));
    bench.apply(&Do::CatchUp);
    assert_eq!(bench.output(), "cancel 1, create 1 as 2 from 5");
    for revision in [6, 7] {
        bench.state.event(event("k", revision, 1), 10);
    }
    bench.end(response(1, 100));
    assert_eq!(bench.output(), "");
}

#[test]
fn a_parked_watcher_stays_parked_when_the_stream_breaks() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Park(1, 6), "cancel 1"),
        (Do::Lost, ""),
        (Do::Drained(1), ""),
        (Do::CatchUp, "create 1 as 1 from 6"),
        (Do::Lost, "caught up 1, create 1 as 1 from 6"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Park(1, 7), "cancel 1"),
        (Do::Cancel(1), ""),
        (Do::Canceled(1), "cancelled 1"),
    ]);
}

#[test]
fn a_watcher_that_nothing_comes_for_has_caught_up() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Park(1, 6), "cancel 1"),
        (Do::Drained(1), ""),
        (Do::CatchUp, "create 1 as 2 from 6"),
        (Do::After(1_500), ""),
        (Do::Created(2, 9), "registered 1"),
        (Do::After(999), ""),
        (Do::After(1), "caught up 1"),
    ]);
}
