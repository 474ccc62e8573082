//! Was anything lost?  What the callers were told is compared with what the watch delivered and with what is there.

use std::collections::HashMap;

use etcd_core::Outcome;
use etcd_core::proto::etcdserverpb::RangeResponse;

use crate::observe::Seen;
use crate::traffic::{Put, PutEnd};

/// Keys with the revision of their last change.
pub(crate) type There = HashMap<String, i64>;

/// What was counted, and everything that is wrong.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: usize,
    pub(crate) not_applied: usize,
    pub(crate) unknown: usize,
    /// Of those whose outcome was unknown, the ones that turned out to be applied.
    pub(crate) unknown_applied: usize,
    pub(crate) delivered: usize,
    /// Writes that are there, and whose event was not delivered.
    pub(crate) lost: usize,
    /// Events beyond the first for one write, or out of order.
    pub(crate) duplicated: usize,
    /// Writes that ended in another way than their callers were told.
    pub(crate) wrong: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.wrong.is_empty()
    }
}

pub(crate) fn there(read: &RangeResponse) -> There {
    let keys = read.kvs.iter();
    keys.map(|kv| {
        (
            String::from_utf8_lossy(&kv.key).into_owned(),
            kv.mod_revision,
        )
    })
    .collect()
}

/// Every key was put once, so that each put that was applied has one event and one key. `there` is what was there at revision
/// `last`, up to which events count.
pub(crate) fn check(puts: &[Put], seen: &[Seen], there: &There, last: i64) -> Verdict {
    let mut verdict = Verdict::default();
    let mut events: HashMap<&str, Vec<i64>> = HashMap::new();
    let mut newest = 0;
    for event in seen.iter().filter(|event| event.revision < last) {
        // Every put has a revision of its own.
        verdict.duplicated += usize::from(event.revision <= newest);
        newest = newest.max(event.revision);
        verdict.delivered += 1;
        events.entry(&event.key).or_default().push(event.revision);
    }
    for put in puts {
        let revisions = events.remove(put.key.as_str()).unwrap_or_default();
        let is_there = there.get(&put.key).copied();
        verdict.lost += usize::from(is_there.is_some() && revisions.is_empty());
        // Same key, other revision: applied twice. Same revision: counted above.
        if revisions.iter().any(|revision| Some(*revision) != is_there) {
            verdict.wrong.push(format!(
                "{}: delivered at {revisions:?}, there at {is_there:?}",
                put.key
            ));
        }
        verdict.count(put, is_there);
    }
    for (key, revisions) in events {
        verdict
            .wrong
            .push(format!("{key}: nobody put it, delivered at {revisions:?}"));
    }
    verdict
}

impl Verdict {
    fn count(&mut self, put: &Put, there: Option<i64>) {
        match (put.end, there) {
            (PutEnd::Acknowledged(revision), there) => {
                self.acknowledged += 1;
                if there != Some(revision) {
                    self.wrong.push(format!(
                        "{}: acknowledged at {revision}, there at {there:?}",
                        put.key
                    ));
                }
            }
            (PutEnd::Failed(Outcome::NotApplied), there) => {
                self.not_applied += 1;
                if let Some(revision) = there {
                    self.wrong.push(format!(
                        "{}: said to be not applied, there at {revision}",
                        put.key
                    ));
                }
            }
            (PutEnd::Failed(Outcome::Unknown), there) => {
                self.unknown += 1;
                self.unknown_applied += usize::from(there.is_some());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, end: PutEnd) -> Put {
        Put {
            key: key.into(),
            end,
        }
    }

    fn judge(puts: &[Put], seen: &[(&str, i64)], there: &[(&str, i64)]) -> Verdict {
        let seen: Vec<_> = seen
            .iter()
            .map(|&(key, revision)| Seen {
                key: key.into(),
                revision,
            })
            .collect();
        let there = there
            .iter()
            .map(|&(key, revision)| (key.to_owned(), revision))
            .collect();
        check(puts, &seen, &there, 100)
    }

    #[test]
    fn every_outcome_may_be_as_it_was_told() {
        let puts = [
            put("a", PutEnd::Acknowledged(5)),
            put("b", PutEnd::Failed(Outcome::Unknown)),
            put("c", PutEnd::Failed(Outcome::Unknown)),
            put("d", PutEnd::Failed(Outcome::NotApplied)),
        ];
        let verdict = judge(
            &puts,
            &[("a", 5), ("b", 7), ("end", 100)],
            &[("a", 5), ("b", 7), ("end", 100)],
        );
        let expected = Verdict {
            acknowledged: 1,
            not_applied: 1,
            unknown: 2,
            unknown_applied: 1,
            delivered: 2,
            ..Verdict::default()
        };
        assert_eq!(verdict, expected);
        assert!(verdict.is_clean());
    }

    #[test]
    fn an_event_that_is_missing_or_comes_twice_is_counted() {
        for end in [PutEnd::Acknowledged(5), PutEnd::Failed(Outcome::Unknown)] {
            let puts = [put("a", end), put("b", PutEnd::Acknowledged(6))];
            let there = [("a", 5), ("b", 6)];
            assert!(judge(&puts, &[("a", 5), ("b", 6)], &there).is_clean());
            assert_eq!(judge(&puts, &[("b", 6)], &there).lost, 1);
            assert_eq!(
                judge(&puts, &[("a", 5), ("a", 5), ("b", 6)], &there).duplicated,
                1
            );
            assert_eq!(
                judge(&puts, &[("b", 6), ("a", 5)], &there).duplicated,
                1,
                "out of order"
            );
        }
    }

    #[test]
    fn a_write_that_ended_otherwise_than_was_told_is_wrong() {
        let wrong = |end, seen: &[(&str, i64)], there: &[(&str, i64)]| {
            judge(&[put("a", end)], seen, there).wrong.len()
        };
        assert_eq!(
            wrong(PutEnd::Acknowledged(5), &[], &[]),
            1,
            "it is not there"
        );
        assert_eq!(
            wrong(
                PutEnd::Failed(Outcome::NotApplied),
                &[("a", 5)],
                &[("a", 5)]
            ),
            1,
            "it is there"
        );
        assert_eq!(
            wrong(
                PutEnd::Failed(Outcome::Unknown),
                &[("a", 5), ("a", 6)],
                &[("a", 6)]
            ),
            1,
            "applied twice"
        );
        assert_eq!(
            wrong(PutEnd::Failed(Outcome::Unknown), &[("a", 5)], &[]),
            1,
            "delivered, but not there"
        );
        assert_eq!(
            wrong(PutEnd::Acknowledged(5), &[("a", 5), ("z", 6)], &[("a", 5)]),
            1,
            "nobody put it"
        );
    }
}
