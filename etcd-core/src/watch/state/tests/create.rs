//! Creates, their answers, and whose ids they carry.

use super::*;

#[test]
fn creates_are_pipelined_once_the_server_has_shown_that_it_takes_our_ids() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Add(2, 5), ""),
        (Do::Add(3, 5), ""),
        (Do::Add(4, 5), ""),
        (Do::Add(5, 5), ""),
        (
            Do::Created(1, 9),
            "registered 1, create 2 as 2 from 5, create 3 as 3 from 5, create 4 as 4 from 5",
        ),
        (Do::Created(2, 9), "registered 2, create 5 as 5 from 5"),
        (Do::Created(3, 9), "registered 3"),
    ]);
}

#[test]
fn a_server_that_chooses_the_ids_gets_one_create_at_a_time() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Add(2, 6), ""),
        (Do::Add(3, 7), ""),
        (Do::Created(0, 9), "registered 1, create 2 as 0 from 6"),
        (Do::Created(1, 9), "registered 2, create 3 as 0 from 7"),
        (Do::Events(0, &[6]), "6x1 to 1"),
        (Do::Events(1, &[6]), "6x1 to 2"),
        (Do::Cancel(3), ""),
        (Do::Created(2, 9), "cancel 2"),
        (Do::Canceled(2), "cancelled 3"),
        (Do::Add(4, 5), "create 4 as 0 from 5"),
        (
            Do::Refused("etcdserver: permission denied"),
            "end 4: denied",
        ),
        (Do::Events(0, &[7]), "7x1 to 1"),
    ]);
}

#[test]
fn an_answer_with_the_id_of_another_create_ends_the_stream() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Add(3, 5), "create 3 as 3 from 5"),
        (Do::Created(3, 9), "reopen"),
        (Do::Lost, "create 1 as 1 from 5"),
    ]);
}

#[test]
fn an_answer_with_an_id_that_is_in_use_ends_the_stream() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Created(1, 9), "reopen"),
    ]);
}

#[test]
fn a_refusal_belongs_to_the_oldest_create() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::Created(1, 9), "registered 1"),
        (Do::Add(2, 5), "create 2 as 2 from 5"),
        (Do::Add(3, 5), "create 3 as 3 from 5"),
        (
            Do::Refused("etcdserver: permission denied"),
            "end 2: denied",
        ),
        (Do::Created(3, 9), "registered 3"),
        (Do::Events(2, &[6]), "cancel 2"),
    ]);
}

#[test]
fn events_of_an_unknown_id_are_cancelled_once() {
    check(&[
        (Do::Events(9, &[6]), "cancel 9"),
        (Do::Events(9, &[7]), ""),
        (Do::Progress(8, 7), "cancel 8"),
        (Do::Canceled(7), ""),
    ]);
}

#[test]
fn a_create_that_is_not_answered_in_time_ends_the_stream() {
    check(&[
        (Do::Add(1, 5), "create 1 as 1 from 5"),
        (Do::After(4_000), ""),
        (Do::Events(7, &[1]), "cancel 7"),
        (Do::After(4_999), ""),
        (Do::After(1), "reopen"),
    ]);
}
