//! A member of the cluster, as far as one watch stream sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use etcd_proto::etcdserverpb::WatchResponse;
use etcd_proto::mvccpb::Event;
use prost::Message;

use super::super::tests::{event, response};
use crate::range::KeyRange;

/// The history, and the watchers of the one stream.
#[derive(Default)]
pub(super) struct Server {
    /// The keys changed at revisions 1, 2, …
    pub(super) history: Vec<Vec<&'static str>>,
    /// As a proxy does.
    pub(super) chooses_ids: bool,
    next_id: i64,
    /// The range, and the next revision to send.
    watchers: BTreeMap<i64, (KeyRange, i64)>,
    /// Answers to requests, which wait for their turn on the wire, with the id that they announce.
    control: VecDeque<(WatchResponse, Option<i64>)>,
    /// What waits for its watcher to be announced, as in etcd.
    pending: BTreeMap<i64, Vec<WatchResponse>>,
    pub(super) wire: VecDeque<Vec<u8>>,
}

impl Server {
    pub(super) fn new(history: Vec<Vec<&'static str>>, chooses_ids: bool) -> Self {
        Self {
            history,
            chooses_ids,
            ..Self::default()
        }
    }

    pub(super) fn revision(&self) -> i64 {
        i64::try_from(self.history.len()).unwrap()
    }

    /// The events of one revision in a range.
    pub(super) fn events(&self, range: &KeyRange, revision: i64) -> Vec<Event> {
        let keys = &self.history[usize::try_from(revision).unwrap() - 1];
        let inside = keys.iter().filter(|key| range.contains(key.as_bytes()));
        inside.map(|key| event(key, revision, 20)).collect()
    }

    pub(super) fn create(&mut self, watch_id: i64, range: KeyRange, start: i64) {
        let mut id = watch_id;
        if self.chooses_ids {
            id = self.next_id;
            self.next_id += 1;
        }
        let before = self.watchers.insert(id, (range, start));
        assert!(before.is_none(), "id {id} twice on a stream");
        self.pending.insert(id, Vec::new());
        let created = WatchResponse {
            created: true,
            ..response(id, self.revision())
        };
        self.control.push_back((created, Some(id)));
    }

    pub(super) fn cancel(&mut self, id: i64) {
        if self.watchers.remove(&id).is_some() {
            let canceled = WatchResponse {
                canceled: true,
                ..response(id, self.revision())
            };
            self.control.push_back((canceled, None));
        }
    }

    /// Sends the oldest answer to a request.
    pub(super) fn answer(&mut self) {
        let Some((answer, announced)) = self.control.pop_front() else {
            return;
        };
        self.wire.push_back(answer.encode_to_vec());
        let pending = announced
            .and_then(|id| self.pending.remove(&id))
            .unwrap_or_default();
        self.wire.extend(pending.iter().map(Message::encode_to_vec));
    }

    /// Sends a watcher its next revisions.
    pub(super) fn send(&mut self, index: usize, revisions: usize, fragment: usize) {
        let Some((id, range, mut next)) = self.nth(index) else {
            return;
        };
        let (mut events, mut sent) = (Vec::new(), 0);
        while next <= self.revision() && sent < revisions {
            let more = self.events(&range, next);
            sent += usize::from(!more.is_empty());
            events.extend(more);
            next += 1;
        }
        self.watchers.insert(id, (range, next));
        let size = if fragment == 0 {
            events.len().max(1)
        } else {
            fragment
        };
        let mut chunks = events.chunks(size).peekable();
        while let Some(chunk) = chunks.next() {
            let fragment = chunks.peek().is_some();
            self.push(WatchResponse {
                fragment,
                events: chunk.to_vec(),
                ..response(id, self.revision())
            });
        }
    }

    /// Sends what was sent before, what is in no range, and what is for nobody.
    pub(super) fn repeat(&mut self, index: usize) {
        let Some((id, range, next)) = self.nth(index) else {
            return;
        };
        let old: BTreeSet<i64> = (1..next.min(self.revision() + 1)).rev().take(3).collect();
        let mut events: Vec<Event> = old
            .into_iter()
            .flat_map(|old| self.events(&range, old))
            .collect();
        if !range.contains(b"zz") {
            events.push(event("zz", next, 1));
        }
        if !events.is_empty() {
            self.push(WatchResponse {
                events,
                ..response(id, self.revision())
            });
        }
        self.push(WatchResponse {
            events: vec![event("a", next, 1)],
            ..response(1_000, next)
        });
    }

    pub(super) fn progress(&mut self, index: usize) {
        if let Some((id, _, next)) = self.nth(index)
            && next > self.revision()
        {
            self.push(response(id, self.revision()));
        }
    }

    pub(super) fn progress_of_all(&mut self) {
        if self
            .watchers
            .values()
            .all(|(_, next)| *next > self.revision())
        {
            self.push(response(-1, self.revision()));
        }
    }

    /// Everything that is still to be sent.
    pub(super) fn finish(&mut self) {
        for index in 0..self.watchers.len() {
            self.send(index, usize::MAX, 0);
        }
        while !self.control.is_empty() {
            self.answer();
        }
    }

    fn nth(&self, index: usize) -> Option<(i64, KeyRange, i64)> {
        let (id, (range, next)) = self.watchers.iter().nth(index)?;
        Some((*id, range.clone(), *next))
    }

    fn push(&mut self, response: WatchResponse) {
        match self.pending.get_mut(&response.watch_id) {
            Some(pending) => pending.push(response),
            None => self.wire.push_back(response.encode_to_vec()),
        }
    }
}
