//! Where one watcher stands: what to hand over next, and from which revision to resume.  Pure.

use std::mem;

use etcd_proto::mvccpb::Event;

use super::decode::size_in_memory;
use crate::namespace::{Leave, Namespace};
use crate::range::KeyRange;

/// All events of one revision that are in the watcher's range, in etcd's order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Revision {
    pub(super) revision: i64,
    pub(super) events: Vec<Event>,
    /// About how much memory it takes.
    pub(super) bytes: usize,
}

/// The member's answers cannot be trusted; why.
pub(super) type Untrusted = &'static str;

/// The keys of a watcher.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// As the server names them.
    pub(super) range: KeyRange,
    /// Within which the reader names them.
    pub(super) namespace: Option<Namespace>,
}

impl From<KeyRange> for Keys {
    fn from(range: KeyRange) -> Self {
        let namespace = None;
        Self { range, namespace }
    }
}

/// The resume logic of one watcher.
#[derive(Debug)]
pub(super) struct Cursor {
    keys: Keys,
    /// Every event before this revision was handed over. Never goes back, except when what was handed over is refused.
    next: i64,
    /// The revision that may still get events.
    open: Revision,
}

impl Cursor {
    /// `start`: the first revision wanted.
    pub(super) fn new(keys: Keys, start: i64) -> Self {
        Self {
            keys,
            next: start,
            open: Revision::default(),
        }
    }

    /// The revision to resume from.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Is the event one that this watcher still wants? What a member sends again, or beside the range, is not.
    pub(super) fn wants(&self, event: &Event) -> bool {
        event
            .kv
            .as_ref()
            .is_some_and(|kv| kv.mod_revision >= self.next && self.keys.range.contains(&kv.key))
    }

    /// Takes an event that the watcher wants; `len` is the length of its encoding. Gives the revision before it, if this
    /// event completes that.
    pub(super) fn event(
        &mut self,
        mut event: Event,
        len: usize,
    ) -> Result<Option<Revision>, Untrusted> {
        let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        if revision == i64::MAX {
            return Err("an event is of the last revision there can be");
        }
        if revision < self.open.revision {
            return Err("events of one watcher are not in the order of their revisions");
        }
        if let Some(namespace) = &self.keys.namespace {
            let foreign = |_| "the pair before an event is not in the namespace";
            event.leave(namespace).map_err(foreign)?;
        }
        let complete = if revision > self.open.revision {
            self.complete()
        } else {
            None
        };
        self.open.revision = revision;
        self.open.bytes += size_in_memory(len);
        self.open.events.push(event);
        Ok(complete)
    }

    /// The revision that is coming in takes this many bytes so far; 0 when none is.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.bytes
    }

    /// The response ended and was not a fragment: the last revision in it is complete.
    pub(super) fn complete(&mut self) -> Option<Revision> {
        if self.open.events.is_empty() {
            return None;
        }
        self.next = self.open.revision + 1;
        Some(mem::take(&mut self.open))
    }

    /// The member has sent everything up to `revision`. Tells whether that is news.
    pub(super) fn progress(&mut self, revision: i64) -> bool {
        // Between two fragments of a revision it cannot be true; nor ever that no revision is left to come.
        let possible = self.open.events.is_empty() && revision < i64::MAX;
        let news = possible && revision >= self.next;
        if news {
            self.next = revision + 1;
        }
        news
    }

    /// The stream broke: what came of an incomplete revision will come again.
    pub(super) fn interrupted(&mut self) {
        self.open = Revision::default();
    }

    /// The reader did not take `revision`; it and what follows must come again.
    pub(super) fn refused(&mut self, revision: i64) {
        self.next = revision;
        self.interrupted();
    }
}
