//! What one watcher has received and its reader has not taken yet, within bounds. Pure.

use std::mem;

use etcd_proto::mvccpb::Event;

use super::cursor::Revision;

/// One or more whole revisions, in order: all events of the watcher's range in them.
///
/// No revision is ever split between two batches. A batch without events is a progress notification: nothing has
/// happened in the range up to `revision`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The events, in the order in which they happened.
    pub events: Vec<Event>,
    /// Everything in the range up to this revision, inclusive, has now been delivered.
    pub revision: i64,
}

/// How much waits for one reader before its watcher is parked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// In revisions.
    pub(crate) revisions: usize,
    /// In bytes of memory. A single revision may be larger.
    pub(crate) bytes: usize,
}

/// The reader has too much to read already.
#[derive(Debug, PartialEq)]
pub(super) struct Full;

/// The bounded queue of one watcher. Its content is one batch in the making.
#[derive(Debug)]
pub(super) struct Queue {
    limits: QueueLimits,
    batch: Batch,
    revisions: usize,
    bytes: usize,
    /// There is something to take.
    ready: bool,
    /// Everything before this revision is in the queue or was taken.
    next: i64,
    /// Everything before this revision was taken.
    taken: i64,
}

impl Queue {
    pub(super) fn new(start: i64, limits: QueueLimits) -> Self {
        Self {
            limits,
            batch: Batch::default(),
            revisions: 0,
            bytes: 0,
            ready: false,
            next: start,
            taken: start,
        }
    }

    /// Adds a revision, unless the reader is too far behind.
    pub(super) fn offer(&mut self, revision: Revision) -> Result<(), Full> {
        let fits = self.revisions < self.limits.revisions
            && self.bytes + revision.bytes <= self.limits.bytes;
        if self.revisions > 0 && !fits {
            return Err(Full);
        }
        self.revisions += 1;
        self.bytes += revision.bytes;
        self.reached(revision.revision);
        if self.batch.events.is_empty() {
            self.batch.events = revision.events;
        } else {
            self.batch.events.extend(revision.events);
        }
        self.ready = true;
        Ok(())
    }

    /// Nothing happened up to `revision`; `tell`: the reader wants to know.
    pub(super) fn progress(&mut self, revision: i64, tell: bool) {
        self.reached(revision);
        self.ready |= tell;
    }

    /// Everything there is.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if !mem::take(&mut self.ready) {
            return None;
        }
        (self.revisions, self.bytes) = (0, 0);
        self.taken = self.next;
        Some(mem::take(&mut self.batch))
    }

    /// The first revision that the reader has not got.
    pub(super) fn next_revision(&self) -> i64 {
        if self.ready { self.taken } else { self.next }
    }

    fn reached(&mut self, revision: i64) {
        self.next = revision + 1;
        self.batch.revision = revision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(revision: i64, bytes: usize) -> Revision {
        Revision {
            revision,
            events: vec![Event::default(); 2],
            bytes,
        }
    }

    fn queue() -> Queue {
        Queue::new(
            5,
            QueueLimits {
                revisions: 3,
                bytes: 100,
            },
        )
    }

    #[test]
    fn revisions_wait_in_order_and_are_taken_together() {
        let mut queue = queue();
        assert_eq!(queue.take(), None);
        queue.offer(revision(5, 10)).unwrap();
        queue.offer(revision(8, 10)).unwrap();
        assert_eq!(queue.next_revision(), 5, "nothing was taken yet");
        let batch = queue.take().unwrap();
        assert_eq!((batch.events.len(), batch.revision), (4, 8));
        assert_eq!((queue.next_revision(), queue.take()), (9, None));
    }

    #[test]
    fn a_full_queue_refuses_a_revision_and_takes_it_when_it_was_emptied() {
        let mut by_count = queue();
        for r in 5..8 {
            by_count.offer(revision(r, 1)).unwrap();
        }
        assert_eq!(by_count.offer(revision(8, 1)), Err(Full));
        assert_eq!(by_count.take().unwrap().revision, 7);
        by_count.offer(revision(8, 1)).unwrap();

        let mut by_bytes = queue();
        by_bytes.offer(revision(5, 60)).unwrap();
        assert_eq!(by_bytes.offer(revision(6, 60)), Err(Full));
        by_bytes.offer(revision(6, 40)).unwrap();
    }

    #[test]
    fn a_revision_larger_than_the_queue_is_taken_when_nothing_else_waits() {
        let mut queue = queue();
        queue.offer(revision(5, 1_000)).unwrap();
        assert_eq!(queue.offer(revision(6, 1)), Err(Full));
        assert_eq!(queue.take().unwrap().revision, 5);
    }

    #[test]
    fn progress_moves_the_resume_revision_and_is_told_only_on_request() {
        let mut queue = queue();
        queue.progress(20, false);
        assert_eq!((queue.take(), queue.next_revision()), (None, 21));
        queue.progress(30, true);
        let batch = queue.take().unwrap();
        assert_eq!((batch.events.len(), batch.revision), (0, 30));
        queue.offer(revision(31, 1)).unwrap();
        queue.progress(40, false);
        assert_eq!(
            queue.next_revision(),
            31,
            "an event before it was not taken"
        );
        assert_eq!(
            (queue.take().unwrap().revision, queue.next_revision()),
            (40, 41)
        );
    }
}
