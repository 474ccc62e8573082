//! What is delivered, and from where a watch resumes.

use super::*;

#[test]
fn a_watch_resumes_after_the_last_revision_delivered() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Events(1, &[5, 5, 7]), "5x2 to 1, 7x1 to 1"),
        (Do::Lost, "create 1 as 1 from 8"),
        (Do::Created(1, 95), "registered 1"),
        (Do::Lost, "create 1 as 1 from 8"),
    ]);
}

#[test]
fn the_header_is_no_resume_point_neither_of_a_creation_nor_of_events() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Lost, "create 1 as 1 from 5"),
        (Do::Created(1, 90), "registered 1"),
        (Do::Events(1, &[6]), "6x1 to 1"),
        (Do::Lost, "create 1 as 1 from 7"),
    ]);
}

#[test]
fn progress_moves_the_resume_point_forward_and_never_back() {
    check(&[
        (Do::Add(1, 50), "create 1 as 1 from 50"),
        (Do::Created(1, 10), "registered 1"),
        (Do::Progress(1, 20), ""),
        (Do::Lost, "create 1 as 1 from 50"),
        (Do::Created(1, 10), "registered 1"),
        (Do::Progress(1, 60), "progress 60 to 1"),
        (Do::Progress(1, 60), ""),
        (Do::Lost, "create 1 as 1 from 61"),
    ]);
}

#[test]
fn progress_of_the_stream_is_not_for_a_watcher_whose_create_is_unanswered() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 10), "registered 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::AskProgress, ""),
        (Do::Progress(-1, 20), "progress 20 to 1"),
        (Do::Created(2, 10), "registered 2, ask progress"),
        (Do::Events(2, &[9]), "9x1 to 2"),
    ]);
}

#[test]
fn events_below_the_resume_point_or_beside_the_range_are_dropped_and_counted() {
    let state = check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Events(1, &[3, 4, 5]), "5x1 to 1"),
        (Do::Events(1, &[5]), ""),
        (Do::Foreign(1, "j", 7), ""),
        (Do::Foreign(1, "kk", 6), "6x1 to 1"),
    ]);
    assert_eq!(state.dropped(), 4);
}

#[test]
fn events_out_of_order_end_the_stream_and_come_again() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Events(1, &[5, 8, 7]), "5x1 to 1, reopen"),
    ]);
}

#[test]
fn a_revision_in_fragments_is_delivered_once_and_whole() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Fragment(1, &[5, 6]), "5x1 to 1"),
        (Do::Fragment(1, &[6, 6]), ""),
        (Do::Progress(1, 50), ""),
        (Do::Events(1, &[6, 7]), "6x4 to 1, 7x1 to 1"),
    ]);
}

#[test]
fn a_revision_cut_by_a_break_comes_again_whole() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Fragment(1, &[5, 6]), "5x1 to 1"),
        (Do::Lost, "create 1 as 1 from 6"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Events(1, &[6, 6]), "6x2 to 1"),
    ]);
}

#[test]
fn a_cancellation_that_could_not_be_sent_is_not_sent_on_the_next_stream() {
    let now = Instant::now();
    let mut state = State::new(limits());
    state.opened("http://a".into(), now);
    for id in [1, 2] {
        state.add(id as Key, KeyRange::prefix("k"), 5);
        assert!(state.next_request(now).is_some());
        let created = WatchResponse {
            created: true,
            ..response(id, 9)
        };
        state.end(&created, now);
    }
    state.cancel(1, false);
    state.lost();
    state.opened("http://b".into(), now);
    // The id is now that of another watcher.
    let create = Request::Create {
        key: 2,
        watch_id: 1,
        start_revision: 5,
    };
    assert_eq!(state.next_request(now), Some(create));
    assert_eq!(state.next_request(now), None);
}

#[test]
fn a_revision_after_which_none_can_come_is_not_believed() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Progress(1, i64::MAX), ""),
        (Do::Events(1, &[5, i64::MAX]), "reopen"),
    ]);
}
