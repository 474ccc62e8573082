//! What to send, and when something is due.

use std::time::Instant;

use super::{CatchUp, Create, Ids, Key, Phase, Request, State};

impl State {
    /// The next message for the server, which counts as sent from now on.
    pub(in crate::watch) fn next_request(&mut self, now: Instant) -> Option<Request> {
        if let Some(watch_id) = self.to_cancel.pop_front() {
            return Some(Request::Cancel { watch_id });
        }
        let window = if self.ids == Ids::Ours {
            self.limits.window
        } else {
            1
        };
        if self.unanswered.len() < window
            && let Some(key) = self.to_create.pop_first()
        {
            return self.create(key, now);
        }
        // Its answer is no use to a watcher whose create is unanswered.
        let ask = self.progress_wanted && self.unanswered.is_empty();
        if ask {
            self.progress_wanted = false;
        }
        ask.then_some(Request::Progress)
    }

    /// When to call [`State::tick`].
    pub(in crate::watch) fn deadline(&self) -> Option<Instant> {
        let answer = self.answer_deadline();
        let quiet = self
            .catching_up
            .iter()
            .map(|catch_up| catch_up.heard + self.limits.caught_up_after);
        quiet.chain(answer).min()
    }

    /// Something was due.
    pub(in crate::watch) fn tick(&mut self, now: Instant) {
        if self
            .answer_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.reopen("a create request was not answered in time");
        }
        for at in (0..self.catching_up.len()).rev() {
            let CatchUp { key, heard, .. } = self.catching_up[at];
            if heard + self.limits.caught_up_after > now {
                continue;
            }
            self.catching_up[at].heard = now;
            let phase = self.watchers.get(&key).map(|watcher| watcher.phase);
            if self.reading != Some(key) && matches!(phase, Some(Phase::Live(_))) {
                self.caught_up(key);
            }
        }
    }

    fn create(&mut self, key: Key, now: Instant) -> Option<Request> {
        let watcher = self.watchers.get_mut(&key)?;
        watcher.phase = Phase::Creating;
        let start_revision = watcher.cursor.next();
        let watch_id = if self.ids == Ids::Theirs {
            0
        } else {
            self.next_id
        };
        if watch_id != 0 {
            self.next_id += 1;
            self.by_id.insert(watch_id, key);
        }
        self.unanswered.push_back(Create {
            watch_id,
            watcher: Some(key),
            confirm: None,
            sent: now,
        });
        Some(Request::Create {
            key,
            watch_id,
            start_revision,
        })
    }

    fn answer_deadline(&self) -> Option<Instant> {
        let sent = self.unanswered.front()?.sent;
        Some(self.heard.map_or(sent, |heard| heard.max(sent)) + self.limits.answer_within)
    }
}
