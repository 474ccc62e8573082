//! Watches: many on one stream, resumed wherever a member can serve them.
//!
//! [`state`] decides what to send and what the answers mean, [`decode`] reads them while they arrive, [`task`] owns
//! the stream, [`slot`] is where the task and a reader meet without waiting for each other.

mod cursor;
mod decode;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod hub;
mod mux;
mod queue;
mod request;
mod revision;
mod slot;
mod state;
mod task;
mod watcher;

use std::future::Future;

use futures_util::FutureExt;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::kv::Get;
use crate::token::MAX_REFUSALS;

pub(crate) use self::hub::Hub;
use self::hub::StreamKey;
pub use self::queue::Batch;
pub use self::request::Watch;
pub use self::watcher::Watcher;
use self::watcher::within;

impl Client {
    /// Watches a key or a range. Returns when the server has registered the watch: every change after the call will be
    /// delivered.
    ///
    /// All watches of a client share one stream, unless their views differ in `endpoint` or `require_leader`. Requiring a
    /// leader is on by default: a member that is cut off from the others does not feed silence.
    ///
    /// # Errors
    /// `Error::InvalidRequest` before anything is sent; what ended the watch while it was created, such as a permission
    /// that is missing; `Error::Timeout` when no member confirms within the client's time limit.
    ///
    /// Dropping the future cancels the watch in the background.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Get, Watch};
    /// let services = client.get(Get::prefix("svc/")).await?;
    /// let next = Watch::prefix("svc/").start_revision(services.revision() + 1).prev_kv();
    /// let mut watcher = client.watch(next).await?;
    /// while let Some(batch) = watcher.try_next().await? {
    ///     println!("up to revision {}: {:?}", batch.revision, batch.events);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn watch<W: Into<Watch>>(
        &self,
        watch: W,
    ) -> impl Future<Output = Result<Watcher>> + Send + 'static + use<W> {
        let watch = watch.into().within(self.view().namespace.clone());
        let client = self.clone();
        async move {
            within(
                &client,
                "the watch to be created",
                client.create_watch(watch),
            )
            .await?
        }
    }

    /// Cancels every watch of this client, its clones and views, and returns how many there were. Waits until the servers
    /// have confirmed all of them; their readers get what has come before, then `Ok(None)`.
    ///
    /// # Errors
    /// `Error::Timeout` when they do not confirm within the client's time limit; the watches are cancelled all the same.
    #[doc(alias = "cancel_all")]
    pub fn cancel_all_watches(
        &self,
    ) -> impl Future<Output = Result<usize>> + Send + 'static + use<> {
        let (client, cancelled) = (self.clone(), self.shared.watches.cancel_all());
        async move { within(&client, "the watches to be cancelled", cancelled).await }
    }

    async fn create_watch(&self, watch: Watch) -> Result<Watcher> {
        watch.check(self.shared.options.limits.max_request_bytes)?;
        let endpoint = self.pinned()?;
        if !self.view().wait_ready && !self.pool().any_active() {
            return Err(Error::no_active_endpoint(self.pool().reports()));
        }
        let start = match watch.start() {
            Some(revision) => revision,
            None => self.current_revision(&watch).await?.saturating_add(1),
        };
        let mut refusals = 0;
        loop {
            let token = self.shared.tokens.get().await?;
            let stream = StreamKey {
                endpoint,
                require_leader: self.view().require_leader.unwrap_or(true),
                token: token.generation(),
            };
            let watches = &self.shared.watches;
            let (mux, slot) = watches.add(self.pool(), stream, watch.clone(), start);
            let watcher = Watcher::new(slot, mux, self.clone());
            match watcher.registered().await {
                Ok(()) => return Ok(watcher),
                // The watches that are on the stream stay there: for them its token is good enough.
                Err(error)
                    if self.shared.tokens.refused(&token, &error) && refusals < MAX_REFUSALS =>
                {
                    refusals += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A revision that is not older than this call. The revision in the answer to the create would not do: changes may
    /// come between the registration and that answer, and be lost if the stream breaks before they are delivered.
    async fn current_revision(&self, watch: &Watch) -> Result<i64> {
        // One of the keys watched: a user who may watch the range may read it.
        let key = Get::key(watch.key_range().start()).count_only();
        let read = self.send(key.clone());
        let shared = move || read.map(|reply| Some(reply.ok()?.revision()));
        match self.shared.watches.current_revision.get(shared).await {
            Some(revision) => Ok(revision),
            // It may have been another one's read that failed.
            None => Ok(self.send(key).await?.revision()),
        }
    }
}
