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

/// One watcher, shared by its reader and the mux.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) watch: Watch,
    pub(super) start_revision: i64,
    content: Mutex<Content>,
    over: Notify,
}

#[derive(Debug)]
struct Content {
    queue: Queue,
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
        let mut content = self.lock();
        content.registered = true;
        content.wake();
    }

    /// Leaves a revision, unless the reader is too far behind: then the watcher is parked.
    pub(super) fn offer(&self, revision: Revision) -> Result<(), Full> {
        let mut content = self.lock();
        let offered = content.queue.offer(revision);
        content.parked = offered.is_err();
        content.wake();
        offered
    }

    pub(super) fn progress(&self, revision: i64) {
        let mut content = self.lock();
        content
            .queue
            .progress(revision, self.watch.wants_progress());
        content.wake();
    }

    /// The watch is over.
    pub(super) fn end(&self, failure: Option<Error>) {
        let mut content = self.lock();
        content.end = Some(failure.map_or(End::Quiet, End::Failed));
        content.wake();
        drop(content);
        self.over.notify_waiters();
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

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
