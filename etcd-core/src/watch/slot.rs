//! The place where the mux leaves what came for one watcher, and its reader picks it up. Neither waits for the other.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::cursor::Revision;
use super::queue::{Batch, Full, Queue};
use super::request::Watch;
use super::state::Key;
use crate::error::{Error, Result};
use crate::observe::{self, WatchState};

/// One watcher, shared by its reader and the mux.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) watch: Watch,
    pub(super) start_revision: i64,
    seen: observe::Watch,
    content: Mutex<Content>,
    over: Notify,
}

#[derive(Debug)]
struct Content {
    queue: Queue,
    lag: observe::Lag,
    registered: bool,
    /// The mux has stopped the flow; it waits for the reader to empty the queue.
    parked: bool,
    end: Option<End>,
    wishes: Wishes,
    reader: Option<Waker>,
}

/// How a watch ended.
#[derive(Debug)]
enum End {
    Failed(Error),
    /// It was cancelled, or its failure was told.
    Quiet,
}

/// What the owner wants of the mux.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    pub(super) create: bool,
    /// The queue of a parked watcher is empty.
    pub(super) resume: bool,
    pub(super) progress: bool,
    pub(super) cancel: Option<Cancel>,
}

/// Whether somebody waits for the cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cancel {
    Unheard,
    Confirmed,
}

impl Slot {
    pub(super) fn new(key: Key, watch: Watch, start_revision: i64, queue: Queue) -> Self {
        let wishes = Wishes {
            create: true,
            ..Wishes::default()
        };
        let content = Content {
            queue,
            lag: observe::Lag::default(),
            registered: false,
            parked: false,
            end: None,
            wishes,
            reader: None,
        };
        Self {
            key,
            watch,
            start_revision,
            seen: observe::Watch::begin(),
            content: Mutex::new(content),
            over: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner's side.
impl Slot {
    /// Resolves when the server has confirmed the watcher for the first time.
    pub(super) fn poll_registered(&self, cx: &Context<'_>) -> Poll<Result<()>> {
        let mut content = self.lock();
        match &content.end {
            _ if content.registered => Poll::Ready(Ok(())),
            Some(End::Failed(error)) => Poll::Ready(Err(error.clone())),
            Some(End::Quiet) => Poll::Ready(Ok(())),
            None => content.wait(cx),
        }
    }

    /// What has come, then how the watch ended. `resume` is set when the mux is to be told [`Wishes::resume`].
    pub(super) fn poll_batch(
        &self,
        cx: &Context<'_>,
        resume: &mut bool,
    ) -> Poll<Result<Option<Batch>>> {
        let mut content = self.lock();
        if let Some(batch) = content.queue.take() {
            content.lag.taken();
            *resume = mem::take(&mut content.parked);
            content.wishes.resume |= *resume;
            return Poll::Ready(Ok(Some(batch)));
        }
        match content.end.take() {
            None => content.wait(cx),
            Some(end) => {
                content.end = Some(End::Quiet);
                match end {
                    End::Failed(error) => Poll::Ready(Err(error)),
                    End::Quiet => Poll::Ready(Ok(None)),
                }
            }
        }
    }

    pub(super) fn next_revision(&self) -> i64 {
        self.lock().queue.next_revision()
    }

    pub(super) fn wish_progress(&self) {
        self.lock().wishes.progress = true;
    }

    /// Asks for the end. False if the watch is over already.
    pub(super) fn wish_cancel(&self, cancel: Cancel) -> bool {
        let mut content = self.lock();
        content.wishes.cancel = content.wishes.cancel.max(Some(cancel));
        content.end.is_none()
    }

    /// Resolves when the watch is over: nothing is registered for it on any server. Cancel safe.
    pub(super) async fn over(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        over.as_mut().enable();
        if self.lock().end.is_none() {
            over.await;
        }
    }
}

/// The mux's side.
impl Slot {
    pub(super) fn take_wishes(&self) -> Wishes {
        mem::take(&mut self.lock().wishes)
    }

    pub(super) fn registered(&self) {
        self.change(|content| content.registered = true);
        if self.seen.state() != WatchState::CatchingUp {
            self.turned(WatchState::Connected);
        }
    }

    pub(super) fn caught_up(&self) {
        if self.seen.state() == WatchState::CatchingUp {
            self.turned(WatchState::Connected);
        }
    }

    pub(super) fn turned(&self, to: WatchState) {
        let next = self.next_revision();
        self.seen.turn(to, self.watch.key_range(), next);
    }

    /// Leaves a revision, unless the reader is too far behind: then the watcher is parked.
    pub(super) fn offer(&self, revision: Revision) -> Result<(), Full> {
        self.change(|content| {
            let offered = content.queue.offer(revision);
            content.parked = offered.is_err();
            content.lag.came();
            offered
        })
    }

    pub(super) fn progress(&self, revision: i64) {
        self.change(|content| {
            content
                .queue
                .progress(revision, self.watch.wants_progress())
        });
    }

    /// The watch is over.
    pub(super) fn end(&self, failure: Option<Error>) {
        self.change(|content| content.end = Some(failure.map_or(End::Quiet, End::Failed)));
        self.over.notify_waiters();
    }

    /// Changes something and wakes the reader, with nothing locked.
    fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        let mut content = self.lock();
        let output = change(&mut content);
        let reader = content.reader.take();
        drop(content);
        if let Some(reader) = reader {
            reader.wake();
        }
        output
    }
}

impl Content {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        match &mut self.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            None => self.reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use etcd_proto::mvccpb::Event;
    use futures_util::FutureExt;
    use std::future::poll_fn;

    use super::*;
    use crate::watch::queue::QueueLimits;

    fn slot() -> Slot {
        let limits = QueueLimits {
            revisions: 2,
            bytes: 1_000,
        };
        Slot::new(1, Watch::key("k"), 5, Queue::new(5, limits))
    }

    fn revision(revision: i64) -> Revision {
        Revision {
            revision,
            events: vec![Event::default()],
            bytes: 10,
        }
    }

    /// What the reader gets now, with whether the mux is to be told; `None`: it would wait.
    fn read(slot: &Slot) -> Option<(Result<Option<Batch>>, bool)> {
        let mut resume = false;
        let batch = poll_fn(|cx| slot.poll_batch(cx, &mut resume)).now_or_never()?;
        Some((batch, resume))
    }

    #[test]
    fn a_parked_watcher_is_resumed_when_its_reader_has_read_everything() {
        let slot = slot();
        assert!(slot.take_wishes().create);
        slot.offer(revision(5)).unwrap();
        slot.offer(revision(6)).unwrap();
        assert_eq!(slot.offer(revision(7)), Err(Full));
        let (batch, resume) = read(&slot).unwrap();
        assert_eq!((batch.unwrap().unwrap().revision, resume), (6, true));
        assert!(slot.take_wishes().resume);
        assert!(read(&slot).is_none(), "and waits for more");
        slot.offer(revision(7)).unwrap();
        let (batch, resume) = read(&slot).unwrap();
        assert_eq!((batch.unwrap().unwrap().revision, resume), (7, false));
    }

    #[test]
    fn a_failure_is_told_once_and_after_what_came_before() {
        let slot = slot();
        slot.offer(revision(5)).unwrap();
        slot.end(Some(Error::Compacted { revision: 9 }));
        assert!(read(&slot).unwrap().0.unwrap().is_some());
        assert!(read(&slot).unwrap().0.unwrap_err().is_compacted());
        assert!(read(&slot).unwrap().0.unwrap().is_none());
        assert!(read(&slot).unwrap().0.unwrap().is_none());
    }

    #[test]
    fn a_watch_that_was_never_registered_fails_where_it_was_asked_for() {
        let slot = slot();
        let registered = || poll_fn(|cx| slot.poll_registered(cx)).now_or_never();
        assert!(registered().is_none());
        slot.end(Some(Error::Compacted { revision: 9 }));
        assert!(registered().unwrap().is_err());
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_is_told_also_when_it_came_before() {
        let slot = slot();
        assert!(slot.wish_cancel(Cancel::Confirmed));
        assert!(
            slot.wish_cancel(Cancel::Unheard),
            "it runs until the mux has ended it"
        );
        assert_eq!(
            slot.take_wishes().cancel,
            Some(Cancel::Confirmed),
            "a drop does not unsay it"
        );
        let ((), ()) = tokio::join!(slot.over(), async { slot.end(None) });
        assert!(slot.over().now_or_never().is_some(), "over already");
        assert!(!slot.wish_cancel(Cancel::Unheard));
    }
}
