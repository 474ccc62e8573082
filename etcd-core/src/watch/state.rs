//! The watchers of one stream, without the stream. Pure: what the server says goes in, requests and actions come out.
//!
//! Watch ids are ours: each create asks for the next one, so that creates can be pipelined and an answer tells whom it is
//! for. etcd answers creates in their order, which matters for a refusal: it carries the id -1. A server that chooses ids
//! itself (a proxy, or etcd before 3.4) shows it in its first answer; there, one create at a time is under way.

mod answers;
mod requests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{Cursor, Keys, Revision};
use crate::error::Error;

/// What the mux calls a watcher. Never reused.
pub(super) type Key = u64;

/// The limits of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many creates may be unanswered.
    pub(super) window: usize,
    /// How long the server may be silent while a create is unanswered.
    pub(super) answer_within: Duration,
    /// A watcher of which nothing came for this long has caught up.
    pub(super) caught_up_after: Duration,
    /// The largest revision, in bytes.
    pub(super) max_revision_bytes: usize,
}

/// What to send next.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// `watch_id` 0: the server chooses.
    Create {
        key: Key,
        watch_id: i64,
        start_revision: i64,
    },
    Cancel {
        watch_id: i64,
    },
    Progress,
}

/// What to do, in this order.
#[derive(Debug)]
pub(super) enum Action {
    /// The server has confirmed the watcher, for the first time or after a resume.
    Registered(Key),
    Deliver(Key, Revision),
    /// Nothing more will come up to this revision.
    Progress(Key, i64),
    /// The watcher needs its place among those that catch up no longer.
    CaughtUp(Key),
    /// Nobody will send anything for the watcher any more, as was asked for.
    Cancelled(Key),
    End(Key, Error),
    /// Leave this stream and open another one.
    Reopen(Error),
}

#[derive(Debug)]
struct Watcher {
    cursor: Cursor,
    phase: Phase,
    /// A server has confirmed it, once.
    registered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// To be created.
    Waiting,
    /// The create was sent.
    Creating,
    /// The server has confirmed it under this id.
    Live(i64),
    /// Its reader is behind. Cancelled on the server, where it had this id on the present stream.
    Parked(Option<i64>),
}

/// A create that the server has not answered.
#[derive(Debug)]
struct Create {
    watch_id: i64,
    /// For whom; `None`: to be cancelled as soon as it is answered.
    watcher: Option<Key>,
    /// Who waits for the cancellation.
    confirm: Option<Key>,
    sent: Instant,
}

/// A watcher that was parked and is now being sent what it missed.
#[derive(Clone, Copy, Debug)]
struct CatchUp {
    key: Key,
    /// The newest revision when it was created.
    target: i64,
    heard: Instant,
}

/// Who chooses the ids on this stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ids {
    Untested,
    Ours,
    Theirs,
}

/// The state of one stream and of the watchers on it. They outlive it: when it breaks, the next one takes them all.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    endpoint: Arc<str>,
    watchers: HashMap<Key, Watcher>,
    to_create: BTreeSet<Key>,
    to_cancel: VecDeque<i64>,
    progress_wanted: bool,
    /// Parked watchers whose readers have read everything.
    to_catch_up: VecDeque<Key>,
    catching_up: Vec<CatchUp>,
    ids: Ids,
    next_id: i64,
    unanswered: VecDeque<Create>,
    by_id: HashMap<i64, Key>,
    /// Ids that were cancelled by us, with who waits for the confirmation. What still comes for them is not wanted.
    fading: HashMap<i64, Option<Key>>,
    strangers: usize,
    /// Events that no watcher wanted.
    dropped: u64,
    heard: Option<Instant>,
    /// A response with events is coming in,
    has_events: bool,
    /// and this watcher still wants them.
    reading: Option<Key>,
    actions: VecDeque<Action>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            endpoint: Arc::from(""),
            watchers: HashMap::new(),
            to_create: BTreeSet::new(),
            to_cancel: VecDeque::new(),
            progress_wanted: false,
            to_catch_up: VecDeque::new(),
            catching_up: Vec::new(),
            ids: Ids::Untested,
            next_id: 1,
            unanswered: VecDeque::new(),
            by_id: HashMap::new(),
            fading: HashMap::new(),
            strangers: 0,
            dropped: 0,
            heard: None,
            has_events: false,
            reading: None,
            actions: VecDeque::new(),
        }
    }

    /// A new watcher, to be created from revision `start` on.
    pub(super) fn add(&mut self, key: Key, keys: impl Into<Keys>, start: i64) {
        let watcher = Watcher {
            cursor: Cursor::new(keys.into(), start),
            phase: Phase::Waiting,
            registered: false,
        };
        self.watchers.insert(key, watcher);
        self.to_create.insert(key);
    }

    /// Ends a watcher; with `confirm`, [`Action::Cancelled`] tells when the server has nothing registered any more.
    pub(super) fn cancel(&mut self, key: Key, confirm: bool) {
        let Some(watcher) = self.watchers.remove(&key) else {
            return;
        };
        self.caught_up(key);
        let waiter = confirm.then_some(key);
        match watcher.phase {
            Phase::Waiting => {
                self.to_create.remove(&key);
                self.cancelled(waiter);
            }
            Phase::Creating => self.disown(key, waiter),
            Phase::Live(id) => self.fade(id, waiter),
            Phase::Parked(id) => {
                self.to_catch_up.retain(|parked| *parked != key);
                match id.and_then(|id| self.fading.get_mut(&id)) {
                    Some(fading) => *fading = waiter,
                    None => self.cancelled(waiter),
                }
            }
        }
    }

    /// The reader of `key` did not take `revision`: the server is not to send more until it has caught up.
    pub(super) fn park(&mut self, key: Key, revision: i64) {
        let Some(watcher) = self.watchers.get_mut(&key) else {
            return;
        };
        watcher.cursor.refused(revision);
        // The rest of the response must not be taken for the beginning of what comes after the next create.
        self.reading.take_if(|reading| *reading == key);
        match mem::replace(&mut watcher.phase, Phase::Parked(None)) {
            Phase::Live(id) => {
                watcher.phase = Phase::Parked(Some(id));
                self.fade(id, None);
            }
            Phase::Creating => self.disown(key, None),
            Phase::Waiting => {
                self.to_create.remove(&key);
            }
            Phase::Parked(id) => watcher.phase = Phase::Parked(id),
        }
        self.caught_up(key);
    }

    /// The reader of a parked watcher has read everything: it may have more when its turn comes.
    pub(super) fn drained(&mut self, key: Key) {
        let parked = self
            .watchers
            .get(&key)
            .is_some_and(|watcher| matches!(watcher.phase, Phase::Parked(_)));
        if parked && !self.to_catch_up.contains(&key) {
            self.to_catch_up.push_back(key);
        }
    }

    /// Does a parked watcher wait for its turn to catch up?
    pub(super) fn wants_to_catch_up(&self) -> bool {
        !self.to_catch_up.is_empty()
    }

    /// It is the turn of one more watcher, until [`Action::CaughtUp`].
    pub(super) fn catch_up(&mut self, now: Instant) -> Option<Key> {
        let key = self.to_catch_up.pop_front()?;
        self.watchers.get_mut(&key)?.phase = Phase::Waiting;
        self.to_create.insert(key);
        self.catching_up.push(CatchUp {
            key,
            target: i64::MAX,
            heard: now,
        });
        Some(key)
    }

    /// Asks the server how far it has got. It answers when all watchers of the stream have everything.
    pub(super) fn request_progress(&mut self) {
        self.progress_wanted = true;
    }

    /// A stream is open, to this endpoint.
    pub(super) fn opened(&mut self, endpoint: Arc<str>, now: Instant) {
        self.endpoint = endpoint;
        self.heard = Some(now);
    }

    /// The stream is gone. All its watchers are to be created on the next one.
    pub(super) fn lost(&mut self) {
        let unanswered = self
            .unanswered
            .drain(..)
            .filter_map(|create| create.confirm);
        let waiters = unanswered.chain(self.fading.drain().filter_map(|(_, waiter)| waiter));
        self.actions.extend(waiters.map(Action::Cancelled));
        self.actions.extend(
            self.catching_up
                .drain(..)
                .map(|catch_up| Action::CaughtUp(catch_up.key)),
        );
        for (key, watcher) in &mut self.watchers {
            watcher.cursor.interrupted();
            if matches!(watcher.phase, Phase::Parked(_)) {
                watcher.phase = Phase::Parked(None);
            } else {
                watcher.phase = Phase::Waiting;
                self.to_create.insert(*key);
            }
        }
        self.to_cancel.clear();
        self.by_id.clear();
        self.progress_wanted = false;
        self.actions
            .retain(|action| !matches!(action, Action::Reopen(_)));
        (self.next_id, self.ids, self.strangers) = (1, Ids::Untested, 0);
        (self.has_events, self.reading) = (false, None);
    }

    /// The next thing to do. To be asked after every call that changes something.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// No watcher is left, and nobody waits for a confirmation.
    pub(super) fn is_idle(&self) -> bool {
        self.watchers.is_empty()
            && self.fading.values().all(Option::is_none)
            && self
                .unanswered
                .iter()
                .all(|create| create.confirm.is_none())
    }

    /// How many events came that no watcher wanted.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The create of `key` is not wanted any more; cancelled when it is answered.
    fn disown(&mut self, key: Key, confirm: Option<Key>) {
        if let Some(create) = self
            .unanswered
            .iter_mut()
            .find(|create| create.watcher == Some(key))
        {
            (create.watcher, create.confirm) = (None, confirm);
        }
    }

    fn fade(&mut self, id: i64, confirm: Option<Key>) {
        self.by_id.remove(&id);
        self.fading.insert(id, confirm);
        self.to_cancel.push_back(id);
    }

    fn caught_up(&mut self, key: Key) {
        if let Some(at) = self
            .catching_up
            .iter()
            .position(|catch_up| catch_up.key == key)
        {
            self.catching_up.swap_remove(at);
            self.actions.push_back(Action::CaughtUp(key));
        }
    }

    fn cancelled(&mut self, waiter: Option<Key>) {
        self.actions.extend(waiter.map(Action::Cancelled));
    }

    fn reopen(&mut self, reason: &str) {
        self.actions.push_back(Action::Reopen(Error::protocol(
            self.endpoint.clone(),
            reason,
        )));
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
