//! The handle of one watch.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::timeout;

use super::mux::Mux;
use super::queue::Batch;
use super::slot::{Cancel, Slot};
use crate::client::Client;
use crate::error::{Error, Outcome, Result};
use crate::range::KeyRange;

/// A watch: every change of its range from its start revision on, in order, whole revisions at a time, exactly once.
///
/// It goes on while members die, hang and come back: it is resumed on another one, from where it was. It fails only when
///
/// - the revision it needs next has been compacted: `Error::Compacted`;
/// - the user may not read the range: an error with [`is_permission_denied`](Error::is_permission_denied);
/// - etcd does not accept the client's user and password when the watch is to be resumed: `Error::Login`;
/// - the endpoints turn out to belong to another cluster: `Error::ClusterChanged`;
/// - one revision is larger than `max_revision_bytes`: `Error::TooLarge`;
/// - the client is closed: `Error::Closed`.
///
/// It holds a bounded number of revisions for a reader that is slow. Beyond that it is parked: cancelled on the server, and
/// resumed when the reader has read everything. Nothing is lost by that, and no other watch is delayed.
///
/// Dropping it cancels it in the background. It keeps the client's connections open, also when every [`Client`] is dropped.
#[must_use = "dropping a watcher cancels it"]
pub struct Watcher {
    slot: Arc<Slot>,
    mux: Arc<Mux>,
    /// The last of client, watcher and lease ends the connections.
    client: Client,
}

impl Watcher {
    pub(super) fn new(slot: Arc<Slot>, mux: Arc<Mux>, client: Client) -> Self {
        Self { slot, mux, client }
    }

    /// Waits until the server has confirmed the watch.
    pub(super) async fn registered(&self) -> Result<()> {
        poll_fn(|cx| self.slot.poll_registered(cx)).await
    }

    /// The next revisions: all that have come since the last call. Waits for at least one.
    ///
    /// # Errors
    /// Why the watch ended, once and after everything that came before; then, and after a cancellation, `Ok(None)`.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// ```no_run
    /// # async fn run(mut watcher: etcd_core::Watcher) -> etcd_core::Result<()> {
    /// while let Some(batch) = watcher.try_next().await? {
    ///     for event in &batch.events {
    ///         println!("{}: {event:?}", batch.revision);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias("message", "next"))]
    pub async fn try_next(&mut self) -> Result<Option<Batch>> {
        poll_fn(|cx| self.poll_batch(cx)).await
    }

    /// Ends the watch. Returns when the server has confirmed that it has nothing registered for it any more; while no member
    /// is connected nothing is registered, and it returns at once. What was not read is dropped.
    ///
    /// # Errors
    /// `Error::Timeout` when the server does not confirm within the client's time limit; the watch is cancelled all the same.
    ///
    /// Dropping the future cancels the watch in the background.
    pub async fn cancel(self) -> Result<()> {
        if self.wish_cancel(Cancel::Confirmed) {
            within(&self.client, "the watch to be cancelled", self.slot.over()).await?;
        }
        Ok(())
    }

    /// Asks the server how far it has got. Where the whole stream is up to date it answers, which moves
    /// [`next_revision`](Self::next_revision), and is delivered as a batch without events if
    /// [`progress_notify`](crate::Watch::progress_notify) was asked for.
    ///
    /// Members before etcd 3.4.26 and 3.5.9 may answer with a revision whose events they have yet to send; do not use it there.
    #[doc(alias("RequestProgress"))]
    pub fn request_progress(&self) {
        self.slot.wish_progress();
        self.mux.touch(self.slot.key);
    }

    /// The first revision that was asked for, or that was the next one when the watch began.
    pub fn start_revision(&self) -> i64 {
        self.slot.start_revision
    }

    /// The first revision that is not covered by what [`try_next`](Self::try_next) has returned: a new watch with this
    /// `start_revision` continues this one. Progress notifications move it, so that it does not fall behind compaction
    /// while nothing happens.
    pub fn next_revision(&self) -> i64 {
        self.slot.next_revision()
    }

    /// The keys watched.
    pub fn range(&self) -> &KeyRange {
        self.slot.watch.key_range()
    }

    fn poll_batch(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Batch>>> {
        let mut resume = false;
        let batch = self.slot.poll_batch(cx, &mut resume);
        if resume {
            self.mux.touch(self.slot.key);
        }
        if let Poll::Ready(Ok(Some(batch))) = &batch {
            self.client.shared.seen.observe(batch.revision);
        }
        batch
    }

    /// False if the watch is over already.
    fn wish_cancel(&self, cancel: Cancel) -> bool {
        let runs = self.slot.wish_cancel(cancel);
        if runs {
            self.mux.touch(self.slot.key);
        }
        runs
    }
}

impl Stream for Watcher {
    type Item = Result<Batch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_batch(cx)).transpose())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.wish_cancel(Cancel::Unheard);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("watch", &self.slot.watch)
            .field("next_revision", &self.next_revision())
            .finish_non_exhaustive()
    }
}

/// Runs `future` within the client's time limit.
pub(super) async fn within<T>(
    client: &Client,
    waiting_for: &'static str,
    future: impl Future<Output = T>,
) -> Result<T> {
    let limit: Duration = client
        .view()
        .timeout
        .unwrap_or(client.shared.options.request_timeout);
    timeout(limit, future).await.map_err(|_| {
        let endpoints = client.pool().reports();
        Error::timeout(limit, waiting_for, Outcome::NotApplied, None, endpoints)
    })
}
