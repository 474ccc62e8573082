//! What holds under any sequence of events.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::EndpointView;
use super::*;

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Due,
    Connected(u32, bool),
    Failed(u32),
    Lost(u32),
    Suspect(u32),
    Alive(u32),
    NoLeader(u32),
    List(u32),
    Pick(bool, bool, u32),
}

fn event() -> impl Strategy<Value = Event> {
    let id = || 1..9u32;
    prop_oneof![
        3 => prop_oneof![0..300u64, 0..30_000u64].prop_map(Event::Pass),
        4 => Just(Event::Due),
        4 => (id(), prop::bool::weighted(0.2)).prop_map(|(id, learner)| Event::Connected(id, learner)),
        2 => id().prop_map(Event::Failed),
        2 => id().prop_map(Event::Lost),
        2 => id().prop_map(Event::Suspect),
        1 => id().prop_map(Event::Alive),
        1 => id().prop_map(Event::NoLeader),
        1 => (1..5u32).prop_map(Event::List),
        4 => (any::<bool>(), any::<bool>(), id()).prop_map(|(leader, serializable, avoid)| Event::Pick(leader, serializable, avoid)),
    ]
}

impl Pool {
    fn phase(&self, n: u32) -> Option<Phase> {
        self.state
            .snapshot(self.now)
            .iter()
            .find(|view| view.id.0 == n)
            .map(|view| view.phase)
    }

    fn apply(&mut self, event: &Event) {
        let now = self.now;
        let generations = self.generations.clone();
        let current = |n: &u32| {
            generations
                .get_key_value(&EndpointId(*n))
                .map(|(id, of)| (*id, *of))
        };
        match event {
            Event::Pass(ms) => self.now += Duration::from_millis(*ms),
            Event::Due => {
                self.state.due(now);
            }
            Event::Connected(n, learner) if self.phase(*n) == Some(Phase::Connecting) => {
                self.connect(
                    *n,
                    Member {
                        id: (*n).into(),
                        leader: 1,
                        raft_term: 1,
                        learner: *learner,
                    },
                );
            }
            Event::Failed(n) => self.state.connect_failed(EndpointId(*n), "refused", now),
            Event::Lost(n) => {
                current(n).map(|of| self.state.lost(of.0, of.1, "reset", now));
            }
            Event::Suspect(n) => {
                current(n).map(|of| self.state.suspect(of.0, of.1));
            }
            Event::Alive(n) => {
                current(n).map(|of| self.state.alive(of.0, of.1));
            }
            Event::NoLeader(n) => {
                current(n).map(|of| self.state.no_leader(of.0, of.1, now));
            }
            Event::List(count) => {
                self.state.set_endpoints(endpoints(*count), now);
            }
            Event::Connected(..) | Event::Pick(..) => {}
        }
    }
}

fn serving(views: &[EndpointView]) -> bool {
    views
        .iter()
        .any(|view| view.phase == Phase::Active && !view.member.learner)
}

proptest! {
    #[test]
    fn promises_hold_under_any_sequence_of_events(events in prop::collection::vec(event(), 1..80)) {
        let mut pool = Pool::new(3);
        let mut addresses: HashMap<EndpointId, Endpoint> = HashMap::new();
        for event in &events {
            let serving_before = serving(&pool.state.snapshot(pool.now));
            pool.apply(event);
            let views = pool.state.snapshot(pool.now);
            let serving = serving(&views);
            if let Event::NoLeader(_) = event {
                prop_assert_eq!(serving, serving_before, "the last one is not frozen for an answer");
            }
            for view in &views {
                let known = addresses.entry(view.id).or_insert_with(|| view.endpoint.clone());
                prop_assert_eq!(&*known, &view.endpoint, "ids are never reused");
                prop_assert_eq!(view.generation.is_some(), matches!(view.phase, Phase::Active | Phase::Suspect));
                let limit = if serving { 25_600 } else { 1_000 };
                prop_assert!(view.retry_in.is_none_or(|retry| retry <= Duration::from_millis(limit)), "{:?}", view);
            }
            if let Event::Pick(leader, serializable, avoid) = *event {
                let avoid = [EndpointId(avoid)];
                let picked = pool.pick(Want { leader, serializable, avoid: &avoid, pinned: None });
                let view = picked.and_then(|n| views.iter().find(|view| view.id.0 == n));
                prop_assert_eq!(picked.is_some(), view.is_some());
                prop_assert!(!serving || view.is_some(), "something serves, nothing was picked");
                if let Some(view) = view {
                    prop_assert!(view.phase == Phase::Active || view.phase == Phase::Suspect && !serving);
                    prop_assert!(serializable || !view.member.learner);
                    prop_assert!(view.id != avoid[0] || !views.iter().any(|other| other.id != view.id && other.phase == Phase::Active && !other.member.learner));
                }
            }
        }
    }
}
