//! How long nothing succeeded.

use std::time::{Duration, Instant};

use crate::traffic::Done;

/// A part of the run.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// The longest time within the phase in which none of the calls ended.
pub(crate) fn longest_gap(phase: &Phase, calls: &[Done]) -> Duration {
    let mut ends: Vec<_> = calls
        .iter()
        .map(|call| call.end)
        .filter(|end| (phase.start..phase.end).contains(end))
        .collect();
    ends.sort_unstable();
    let starts = [phase.start].into_iter().chain(ends.iter().copied());
    let ends = ends.iter().copied().chain([phase.end]);
    starts
        .zip(ends)
        .map(|(from, to)| to - from)
        .max()
        .unwrap_or_default()
}

/// The longest call that was under way in the phase.
pub(crate) fn slowest(phase: &Phase, calls: &[Done]) -> Duration {
    calls
        .iter()
        .filter(|call| call.start < phase.end && call.end > phase.start)
        .map(|call| call.end - call.start)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_time_in_which_no_call_ended_also_at_the_edges_of_the_phase() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let phase = Phase {
            name: "",
            start: at(100),
            end: at(200),
        };
        let gap = |ends: &[u64]| {
            let calls: Vec<_> = ends
                .iter()
                .map(|&end| Done {
                    start: at(end - 5),
                    end: at(end),
                })
                .collect();
            longest_gap(&phase, &calls).as_millis()
        };
        assert_eq!(gap(&[]), 100);
        assert_eq!(gap(&[50, 110, 120, 190, 250]), 70);
        assert_eq!(gap(&[190, 110, 120]), 70, "in any order");
        assert_eq!(gap(&[130]), 70, "after the last");
        assert_eq!(gap(&[180]), 80, "before the first");
    }

    #[test]
    fn the_slowest_call_counts_where_it_was_under_way() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let calls = [
            Done {
                start: at(10),
                end: at(50),
            },
            Done {
                start: at(60),
                end: at(80),
            },
        ];
        let slow = |start, end| {
            slowest(
                &Phase {
                    name: "",
                    start: at(start),
                    end: at(end),
                },
                &calls,
            )
            .as_millis()
        };
        assert_eq!(
            (slow(0, 100), slow(40, 100), slow(55, 100), slow(90, 100)),
            (40, 40, 20, 0)
        );
    }
}
