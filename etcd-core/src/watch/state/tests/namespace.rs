//! Watches in a namespace: the server's keys come in, the reader's keys go out.

use super::*;
use crate::namespace::Namespace;
use crate::watch::Watch;

/// One watcher of everything in the namespace `p/`, registered as 1.
fn bench() -> Bench {
    let now = Instant::now();
    let mut bench = Bench {
        state: State::new(limits()),
        now,
    };
    bench.state.opened("http://a".into(), now);
    let watch = Watch::all().within(Namespace::within(None, b"p/"));
    bench.state.add(1, watch.keys(), 5);
    assert_eq!(bench.output(), "create 1 as 1 from 5");
    bench.apply(&Do::Created(1, 9));
    assert_eq!(bench.output(), "registered 1");
    bench
}

fn with_prev(mut event: Event, key: &str) -> Event {
    let prev = KeyValue {
        key: key.to_owned().into(),
        ..Default::default()
    };
    event.prev_kv = Some(prev);
    event
}

#[test]
fn events_of_a_namespace_are_delivered_without_its_prefix() {
    let mut bench = bench();
    bench.one(1, with_prev(event("p/k", 6, 1), "p/k"), 10);
    let Some(Action::Deliver(1, revision)) = bench.state.next_action() else {
        panic!("nothing was delivered");
    };
    let event = &revision.events[0];
    assert_eq!(event.kv.as_ref().unwrap().key, "k");
    assert_eq!(event.prev_kv.as_ref().unwrap().key, "k");
}

#[test]
fn events_outside_a_namespace_are_dropped() {
    let mut bench = bench();
    for key in ["", "k", "p", "p/", "p0", "q/k"] {
        bench.apply(&Do::Foreign(1, key, 6));
    }
    assert_eq!((bench.output(), bench.state.dropped()), (String::new(), 6));
}

#[test]
fn a_member_that_sends_a_pair_from_outside_a_namespace_is_left() {
    for key in ["", "k", "p/", "q/k"] {
        let mut bench = bench();
        bench.one(1, with_prev(event("p/k", 6, 1), key), 10);
        assert_eq!(bench.output(), "reopen", "{key}");
        bench.apply(&Do::Lost);
        assert_eq!(bench.output(), "create 1 as 1 from 5", "nothing was taken");
    }
}
