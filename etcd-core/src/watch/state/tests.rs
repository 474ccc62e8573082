//! One helper plays a script of what happens and compares what comes of each step.

mod create;
mod end;
mod namespace;
mod park;
mod resume;

use etcd_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use etcd_proto::mvccpb::{Event, KeyValue};

use super::*;
use crate::range::KeyRange;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const NO_LEADER: &str = "rpc error: code = Unavailable desc = etcdserver: no leader";

pub(super) fn limits() -> Limits {
    Limits {
        window: 3,
        answer_within: Duration::from_secs(5),
        caught_up_after: Duration::from_secs(1),
        max_revision_bytes: 4_000,
    }
}

pub(super) fn event(key: &str, revision: i64, value_len: usize) -> Event {
    let value = vec![b'v'; value_len].into();
    let kv = KeyValue {
        key: key.to_owned().into(),
        mod_revision: revision,
        value,
        ..Default::default()
    };
    Event {
        kv: Some(kv),
        ..Default::default()
    }
}

pub(super) fn response(watch_id: i64, revision: i64) -> WatchResponse {
    let header = ResponseHeader {
        revision,
        ..Default::default()
    };
    WatchResponse {
        header: Some(header),
        watch_id,
        ..Default::default()
    }
}

/// What happens. All watchers watch the prefix `k`.
enum Do<'a> {
    Add(Key, i64),
    Cancel(Key),
    Drop(Key),
    Park(Key, i64),
    Drained(Key),
    CatchUp,
    AskProgress,
    Lost,
    After(u64),
    /// watch id, header revision
    Created(i64, i64),
    Refused(&'a str),
    Canceled(i64),
    Ended(i64, i64, &'a str),
    Progress(i64, i64),
    /// watch id, revisions of the events; the header is at 100
    Events(i64, &'a [i64]),
    Fragment(i64, &'a [i64]),
    Foreign(i64, &'a str, i64),
    Large(i64, i64, usize),
    Oversized(i64),
}

struct Bench {
    state: State,
    now: Instant,
}

impl Bench {
    fn apply(&mut self, step: &Do) {
        let state = &mut self.state;
        match *step {
            Do::Add(key, start) => state.add(key, KeyRange::prefix("k"), start),
            Do::Cancel(key) => state.cancel(key, true),
            Do::Drop(key) => state.cancel(key, false),
            Do::Park(key, revision) => state.park(key, revision),
            Do::Drained(key) => state.drained(key),
            Do::CatchUp => drop(state.catch_up(self.now)),
            Do::AskProgress => state.request_progress(),
            Do::Lost => {
                state.lost();
                state.opened("http://b".into(), self.now);
            }
            Do::After(millis) => {
                self.now += Duration::from_millis(millis);
                if state
                    .deadline()
                    .is_some_and(|deadline| deadline <= self.now)
                {
                    state.tick(self.now);
                }
            }
            Do::Created(id, revision) => self.end(WatchResponse {
                created: true,
                ..response(id, revision)
            }),
            Do::Refused(reason) => self.end(WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason.into(),
                ..response(-1, 100)
            }),
            Do::Canceled(id) => self.end(WatchResponse {
                canceled: true,
                ..response(id, 100)
            }),
            Do::Ended(id, compact_revision, reason) => self.end(WatchResponse {
                canceled: true,
                compact_revision,
                cancel_reason: reason.into(),
                ..response(id, 100)
            }),
            Do::Progress(id, revision) => self.end(response(id, revision)),
            Do::Events(id, revisions) => self.events(id, revisions, false),
            Do::Fragment(id, revisions) => self.events(id, revisions, true),
            Do::Foreign(id, key, revision) => self.one(id, event(key, revision, 1), 1),
            Do::Large(id, revision, len) => self.one(id, event("k", revision, len), len),
            Do::Oversized(id) => {
                state.start(id);
                state.oversized();
                self.end(response(id, 100));
            }
        }
    }

    fn events(&mut self, id: i64, revisions: &[i64], fragment: bool) {
        self.state.start(id);
        for revision in revisions {
            self.state.event(event("k", *revision, 1), 10);
        }
        self.end(WatchResponse {
            fragment,
            ..response(id, 100)
        });
    }

    fn one(&mut self, id: i64, event: Event, len: usize) {
        self.state.start(id);
        self.state.event(event, len);
        self.end(response(id, 100));
    }

    fn end(&mut self, response: WatchResponse) {
        self.state.heard(self.now);
        self.state.end(&response, self.now);
    }

    /// What is to be done and sent now.
    fn output(&mut self) -> String {
        let mut out = Vec::new();
        while let Some(action) = self.state.next_action() {
            out.push(match action {
                Action::Registered(key) => format!("registered {key}"),
                Action::Deliver(key, revision) => {
                    format!("{}x{} to {key}", revision.revision, revision.events.len())
                }
                Action::Progress(key, revision) => format!("progress {revision} to {key}"),
                Action::CaughtUp(key) => format!("caught up {key}"),
                Action::Cancelled(key) => format!("cancelled {key}"),
                Action::End(key, Error::Compacted { revision }) => {
                    format!("end {key}: compacted {revision}")
                }
                Action::End(key, Error::TooLarge(_)) => format!("end {key}: too large"),
                Action::End(key, error) if error.is_permission_denied() => {
                    format!("end {key}: denied")
                }
                Action::End(key, error) if error.is_auth() => format!("end {key}: auth"),
                Action::End(key, error) => format!("end {key}: {error}"),
                Action::Reopen(_) => "reopen".to_owned(),
            });
        }
        while let Some(request) = self.state.next_request(self.now) {
            out.push(match request {
                Request::Create {
                    key,
                    watch_id,
                    start_revision,
                } => {
                    format!("create {key} as {watch_id} from {start_revision}")
                }
                Request::Cancel { watch_id } => format!("cancel {watch_id}"),
                Request::Progress => "ask progress".to_owned(),
            });
        }
        out.join(", ")
    }
}

/// Plays each step on a new stream and compares what came of it.
#[track_caller]
fn check(script: &[(Do, &str)]) -> State {
    let now = Instant::now();
    let mut bench = Bench {
        state: State::new(limits()),
        now,
    };
    bench.state.opened("http://a".into(), now);
    for (i, (step, expected)) in script.iter().enumerate() {
        bench.apply(step);
        assert_eq!(bench.output(), *expected, "step {i}");
    }
    bench.state
}
