//! What the server's answers mean.

use std::mem;
use std::time::Instant;

use etcd_proto::etcdserverpb::WatchResponse;
use etcd_proto::mvccpb::Event;

use super::{Action, Create, Ids, Key, Phase, State};
use crate::error::{Decision, Error, decide};

/// The watch id of answers that are for no single watcher.
const NO_ID: i64 = -1;

/// How many ids we did not ask for are put up with on one stream.
const MAX_STRANGERS: usize = 1_000;

impl State {
    /// Something came in, if only a part of a response.
    pub(in crate::watch) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// A response with events for this watch id begins.
    pub(in crate::watch) fn start(&mut self, watch_id: i64) {
        let key = self.by_id.get(&watch_id).copied();
        if key.is_none() {
            self.stranger(watch_id);
        }
        (self.has_events, self.reading) = (true, key);
    }

    /// The next event of the response.
    pub(in crate::watch) fn event(&mut self, event: Event, len: usize) {
        let Some(key) = self.reader() else { return };
        let Some(watcher) = self.watchers.get_mut(&key) else {
            return;
        };
        if !watcher.cursor.wants(&event) {
            self.dropped += 1;
            return;
        }
        let complete = match watcher.cursor.event(event, len) {
            Ok(complete) => complete,
            Err(untrusted) => {
                watcher.cursor.interrupted();
                self.reading = None;
                return self.reopen(untrusted);
            }
        };
        let too_large = watcher.cursor.open_bytes() > self.limits.max_revision_bytes;
        self.deliver(key, complete);
        if too_large {
            self.too_large(key);
        }
    }

    /// The next event of the response was too large to be kept.
    pub(in crate::watch) fn oversized(&mut self) {
        if let Some(key) = self.reader() {
            self.too_large(key);
        }
    }

    /// A response is complete; its events, if any, were told before.
    pub(in crate::watch) fn end(&mut self, response: &WatchResponse, now: Instant) {
        let had_events = mem::take(&mut self.has_events);
        self.reading = None;
        let key = self.by_id.get(&response.watch_id).copied();
        if let Some(key) = key.filter(|_| had_events && !response.fragment) {
            let complete = self
                .watchers
                .get_mut(&key)
                .and_then(|watcher| watcher.cursor.complete());
            self.deliver(key, complete);
        }
        match (response.created, response.canceled) {
            (true, true) => self.refused(response),
            (true, false) => self.created(response, now),
            (false, true) => self.canceled(response),
            (false, false) if had_events => {
                if let Some(key) = key {
                    self.catching_up(key, now);
                }
            }
            (false, false) => self.progress(response),
        }
    }

    /// The watcher that events are coming in for, if it still wants any.
    fn reader(&self) -> Option<Key> {
        let key = self.reading?;
        let phase = self.watchers.get(&key)?.phase;
        matches!(phase, Phase::Live(_) | Phase::Creating).then_some(key)
    }

    fn deliver(&mut self, key: Key, complete: Option<super::Revision>) {
        self.actions
            .extend(complete.map(|revision| Action::Deliver(key, revision)));
    }

    fn too_large(&mut self, key: Key) {
        let error =
            Error::revision_too_large(self.endpoint.clone(), self.limits.max_revision_bytes);
        if let Some(Phase::Live(id)) = self.finish(key, error) {
            self.fade(id, None);
        }
    }

    /// Ends a watcher for good. Tells where it was.
    fn finish(&mut self, key: Key, error: Error) -> Option<Phase> {
        let watcher = self.watchers.remove(&key)?;
        self.caught_up(key);
        self.disown(key, None);
        self.actions.push_back(Action::End(key, error));
        Some(watcher.phase)
    }

    /// The answer to the oldest create: the watcher is registered.
    fn created(&mut self, response: &WatchResponse, now: Instant) {
        let id = response.watch_id;
        let Some(create) = self.unanswered.pop_front() else {
            return self.reopen("a create was confirmed that was not asked for");
        };
        if let Err(reason) = self.admit(id, &create) {
            // Put back, so that a waiter for its cancellation is told when the stream is gone.
            self.unanswered.push_front(create);
            return self.reopen(reason);
        }
        let watcher = create
            .watcher
            .and_then(|key| Some((key, self.watchers.get_mut(&key)?)));
        let Some((key, watcher)) = watcher else {
            return self.fade(id, create.confirm);
        };
        watcher.phase = Phase::Live(id);
        watcher.registered = true;
        self.by_id.insert(id, key);
        if let Some(catch_up) = self
            .catching_up
            .iter_mut()
            .find(|catch_up| catch_up.key == key)
        {
            catch_up.target = revision(response);
            catch_up.heard = now;
        }
        self.actions.push_back(Action::Registered(key));
    }

    /// Is this an id that the server may give to this create?
    fn admit(&mut self, id: i64, create: &Create) -> Result<(), &'static str> {
        if self.ids != Ids::Theirs && id == create.watch_id {
            self.ids = Ids::Ours;
            return Ok(());
        }
        if !self.unanswered.is_empty() {
            return Err("a create was answered with the id of another");
        }
        self.forget(create);
        self.ids = Ids::Theirs;
        if id < 0 || self.by_id.contains_key(&id) || self.fading.contains_key(&id) {
            return Err("a create was answered with an id that is in use");
        }
        Ok(())
    }

    /// The id that a create asked for was not given to it.
    fn forget(&mut self, create: &Create) {
        // Where the server chooses, none was asked for, and 0 may be the id of another watcher.
        if self.ids != Ids::Theirs {
            self.by_id.remove(&create.watch_id);
        }
    }

    /// The answer to the oldest create: there will be no watcher.
    fn refused(&mut self, response: &WatchResponse) {
        let Some(create) = self.unanswered.pop_front() else {
            return self.reopen("a create was refused that was not asked for");
        };
        self.forget(&create);
        self.cancelled(create.confirm);
        if let Some(key) = create.watcher {
            self.ended(key, response);
        }
    }

    /// A watcher has ended on the server.
    fn canceled(&mut self, response: &WatchResponse) {
        let id = response.watch_id;
        if let Some(waiter) = self.fading.remove(&id) {
            return self.cancelled(waiter);
        }
        let Some(key) = self.by_id.remove(&id) else {
            return;
        };
        if self.ended(key, response) && response.compact_revision != 0 {
            // The server goes on counting it as one of the stream, and as one that is never up to date.
            self.fade(id, None);
        }
    }

    /// Is that the end of the watcher, or is another member to be asked?
    fn ended(&mut self, key: Key, response: &WatchResponse) -> bool {
        let error =
            Error::from_cancel_reason(self.endpoint.clone(), response.cancel_reason.as_str());
        let compacted = response.compact_revision != 0 || error.is_compacted();
        if compacted {
            self.finish(
                key,
                Error::Compacted {
                    revision: response.compact_revision,
                },
            );
        } else if response.cancel_reason.is_empty() {
            self.reopen("a watcher was cancelled without a reason");
            return false;
        } else {
            let registered = |watcher: &super::Watcher| watcher.registered;
            let over = match decide(&error, true) {
                Decision::Fail => true,
                // Whoever waits for a new one asks again, on a stream with another token.
                Decision::Reauthenticate => !self.watchers.get(&key).is_some_and(registered),
                _ => false,
            };
            if !over {
                self.actions.push_back(Action::Reopen(error));
                return false;
            }
            self.finish(key, error);
        }
        true
    }

    /// A response that is about nothing else says how far the member has got.
    fn progress(&mut self, response: &WatchResponse) {
        let revision = revision(response);
        if response.watch_id == NO_ID {
            // A watcher whose create is unanswered may have events that wait on the server for the answer to go first.
            let live = |watcher: &super::Watcher| matches!(watcher.phase, Phase::Live(_));
            let live: Vec<Key> = self
                .watchers
                .iter()
                .filter(|(_, watcher)| live(watcher))
                .map(|(key, _)| *key)
                .collect();
            return live
                .into_iter()
                .for_each(|key| self.progressed(key, revision));
        }
        match self.by_id.get(&response.watch_id) {
            Some(key) => self.progressed(*key, revision),
            None => self.stranger(response.watch_id),
        }
    }

    fn progressed(&mut self, key: Key, revision: i64) {
        if self
            .watchers
            .get_mut(&key)
            .is_some_and(|watcher| watcher.cursor.progress(revision))
        {
            self.actions.push_back(Action::Progress(key, revision));
        }
        self.caught_up(key);
    }

    /// A response with events was the next one of a watcher that may be catching up.
    fn catching_up(&mut self, key: Key, now: Instant) {
        let Some(catch_up) = self
            .catching_up
            .iter_mut()
            .find(|catch_up| catch_up.key == key)
        else {
            return;
        };
        catch_up.heard = now;
        let target = catch_up.target;
        if self
            .watchers
            .get(&key)
            .is_some_and(|watcher| watcher.cursor.next() > target)
        {
            self.caught_up(key);
        }
    }

    /// Events for an id that is none of ours: cancelled, once.
    fn stranger(&mut self, id: i64) {
        if id == NO_ID || self.fading.contains_key(&id) {
            return;
        }
        self.strangers += 1;
        if self.strangers > MAX_STRANGERS {
            return self.reopen("too many responses for watchers that were not asked for");
        }
        self.fade(id, None);
    }
}

fn revision(response: &WatchResponse) -> i64 {
    response.header.as_ref().map_or(0, |header| header.revision)
}
