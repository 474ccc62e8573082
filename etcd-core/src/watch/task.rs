//! The task that owns a watch stream: it sends what [`State`] wants sent, tells it what comes, and takes what it delivers
//! to the slots. When the stream breaks it opens another one. It never waits for a reader.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use etcd_proto::etcdserverpb::watch_request::RequestUnion;
use etcd_proto::etcdserverpb::{WatchCancelRequest, WatchProgressRequest, WatchRequest};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument;

use super::decode::{Decoder, Item};
use super::hub::{Common, StreamKey};
use super::mux::Mux;
use super::slot::{Cancel, Slot};
use super::state::{Action, Key, Request, State};
use crate::backoff::Backoff;
use crate::error::{Error, Outcome, Result};
use crate::net::grpc::Part;
use crate::net::{Metadata, Outbound};
use crate::observe::{self, WatchState};
use crate::pool::{EndpointId, Health, OpenStream, Pool, Prefer};

const PATH: &str = "/etcdserverpb.Watch/Watch";

/// After a stream that served for this long, the next one is opened at once.
const GOOD_STREAM: Duration = Duration::from_secs(1);

/// How often it is looked whether another endpoint has become usable while this one is silent.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(100);

pub(super) struct Task {
    mux: Arc<Mux>,
    /// Held only while there are watchers, which hold it too.
    pool: Arc<Pool>,
    common: Arc<Common>,
    stream: StreamKey,
    state: State,
    /// The places of the watchers that are catching up.
    turns: HashMap<Key, OwnedSemaphorePermit>,
}

/// Why the task leaves a stream, or waits for one no longer.
enum Stop {
    /// No watcher is left.
    Idle,
    /// The watchers are to go on elsewhere.
    Broken(Error),
    /// All watchers end with this.
    Over(Error),
}

impl Task {
    pub(super) fn new(
        mux: Arc<Mux>,
        pool: Arc<Pool>,
        common: Arc<Common>,
        stream: StreamKey,
    ) -> Self {
        let state = State::new(common.limits);
        Self {
            mux,
            pool,
            common,
            stream,
            state,
            turns: HashMap::new(),
        }
    }

    /// Serves the watchers on one stream after the other, until none is left.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), 2.0, Duration::from_millis(500));
        let (mut avoid, mut failed) = (None, false);
        loop {
            let Err(mut stop) = self.stream(&mut avoid, &mut failed).await;
            if matches!(stop, Stop::Broken(_)) {
                if !mem::replace(&mut failed, true) {
                    backoff.reset();
                    continue;
                }
                let delay = backoff.next().unwrap_or_default();
                match self.meanwhile(sleep(delay)).await {
                    Ok(()) => continue,
                    Err(other) => stop = other,
                }
            }
            match stop {
                Stop::Over(error) => return self.mux.end_all(&error),
                Stop::Idle if self.mux.finish() => return,
                Stop::Idle | Stop::Broken(_) => {}
            }
        }
    }

    /// Opens a stream and serves it to its end. `failed` tells whether the last one did not serve for long.
    async fn stream(
        &mut self,
        avoid: &mut Option<EndpointId>,
        failed: &mut bool,
    ) -> Result<Infallible, Stop> {
        let (pool, stream) = (self.pool.clone(), self.stream);
        let tokens = self.common.tokens.clone();
        let token = self.meanwhile(tokens.get()).await?.map_err(no_token)?;
        let metadata = Metadata {
            require_leader: stream.require_leader,
            token,
        };
        let open = pool.open(PATH, Prefer::Any, *avoid, stream.endpoint, &metadata);
        let open = self.meanwhile(open).await?.map_err(Stop::Over)?;
        let (endpoint, name) = (open.endpoint, open.name.clone());
        let span = open.seen.span();
        tracing::debug!(endpoint = %name, watchers = self.mux.len(), "watch stream opened");
        self.mux.set_endpoint(Some(endpoint));
        let opened = Instant::now();
        let Err(mut stop) = self.serve(open).instrument(span.clone()).await;
        *failed &= opened.elapsed() < GOOD_STREAM;
        self.mux.set_endpoint(None);
        self.state.lost();
        for slot in self.mux.slots() {
            slot.turned(WatchState::Resuming);
        }
        if let Stop::Broken(error) = &stop {
            observe::record_end(&span, Some(error));
            tracing::debug!(endpoint = %name, %error, dropped = self.state.dropped(), "watch stream lost");
            self.pool.report(endpoint, error);
            // The endpoint is not at fault when the token is stale.
            let stale = tokens.refused(&metadata.token, error);
            *avoid = Some(endpoint).filter(|_| !stale);
            if error.is_auth() && !stale {
                stop = Stop::Over(error.clone());
            }
        }
        Err(stop)
    }

    /// Waits for `future` and does meanwhile what can be done without a stream.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stop> {
        let mut future = pin!(future);
        loop {
            self.settle()?;
            tokio::select! {
                output = &mut future => return Ok(output),
                () = self.mux.woken() => {}
                () = self.pool.closed() => return Err(closed()),
            }
        }
    }

    async fn serve(&mut self, stream: OpenStream) -> Result<Infallible, Stop> {
        let OpenStream {
            endpoint,
            name,
            mut tx,
            mut rx,
            health,
            ..
        } = stream;
        let pool = self.pool.clone();
        let mut left = pin!(left(
            health,
            &pool,
            endpoint,
            self.stream.endpoint.is_some()
        ));
        let mut closing = pin!(pool.closed());
        let mut decoder = Decoder::new(self.common.limits.max_revision_bytes);
        let (mut outgoing, mut sends) = (None, true);
        self.state.opened(name.clone(), now());
        loop {
            self.settle()?;
            self.give_turns();
            if sends && outgoing.is_none() {
                outgoing = self.next_message();
            }
            let deadline = self.state.deadline();
            let waits = self.state.wants_to_catch_up();
            tokio::select! {
                biased;
                sent = send(&mut tx, outgoing.as_ref()) => {
                    outgoing = None;
                    // Why is told by the other half, which ends soon.
                    sends = sent.is_ok();
                }
                part = rx.part() => match part {
                    Ok(Some(part)) => {
                        self.receive(&mut decoder, &name, part)?;
                        // Readers are to have their turn too.
                        consume_budget().await;
                    }
                    Ok(None) => return Err(Stop::Broken(Error::protocol(name, "the server ended the watch stream"))),
                    Err(error) if error.is_permission_denied() => return Err(Stop::Over(error)),
                    Err(error) => return Err(Stop::Broken(error)),
                },
                () = self.mux.woken() => {}
                turn = self.common.catching_up.clone().acquire_owned(), if waits => self.give_turn(turn.ok()),
                () = at(deadline) => self.state.tick(now()),
                why = &mut left => {
                    return Err(Stop::Broken(Error::connection(name, Outcome::NotApplied, why)));
                }
                () = &mut closing => return Err(closed()),
            }
        }
    }

    fn receive(&mut self, decoder: &mut Decoder, name: &Arc<str>, part: Part) -> Result<(), Stop> {
        let now = now();
        self.state.heard(now);
        decoder.feed(part.data, part.first, part.last);
        let malformed =
            |why: super::decode::Malformed| Stop::Broken(Error::protocol(name.clone(), why.0));
        while let Some(item) = decoder.pull().map_err(malformed)? {
            match item {
                Item::Start {
                    watch_id,
                    cluster_id,
                } => {
                    self.admit(name, cluster_id)?;
                    self.state.start(watch_id);
                }
                Item::Event { event, len } => self.state.event(event, len),
                Item::Oversized => self.state.oversized(),
                Item::End(response) => {
                    self.admit(
                        name,
                        response
                            .header
                            .as_ref()
                            .map_or(0, |header| header.cluster_id),
                    )?;
                    self.state.end(&response, now);
                }
            }
            self.act()?;
        }
        Ok(())
    }

    fn admit(&self, name: &Arc<str>, cluster_id: u64) -> Result<(), Stop> {
        let changed = |seen| Stop::Over(Error::cluster_changed(name.clone(), seen, cluster_id));
        self.common.admit(cluster_id).map_err(changed)
    }

    /// Does all that can be done without waiting.
    fn settle(&mut self) -> Result<(), Stop> {
        for slot in self.mux.touched() {
            self.obey(&slot);
        }
        self.act()?;
        if self.state.is_idle() {
            Err(Stop::Idle)
        } else {
            Ok(())
        }
    }

    fn obey(&mut self, slot: &Slot) {
        let (key, wishes) = (slot.key, slot.take_wishes());
        if wishes.create {
            self.state.add(key, slot.watch.keys(), slot.start_revision);
        }
        if wishes.resume {
            self.state.drained(key);
        }
        if wishes.progress {
            self.state.request_progress();
        }
        if let Some(cancel) = wishes.cancel {
            self.state.cancel(key, cancel == Cancel::Confirmed);
            if cancel == Cancel::Unheard {
                self.mux.remove(key);
            }
        }
    }

    fn act(&mut self) -> Result<(), Stop> {
        while let Some(action) = self.state.next_action() {
            match action {
                Action::Deliver(key, revision) => {
                    let at = revision.revision;
                    let Some(slot) = self.mux.slot(key) else {
                        continue;
                    };
                    if slot.offer(revision).is_err() {
                        slot.turned(WatchState::Parked);
                        self.state.park(key, at);
                    }
                }
                Action::Progress(key, revision) => {
                    if let Some(slot) = self.mux.slot(key) {
                        slot.progress(revision);
                    }
                }
                Action::Registered(key) => {
                    if let Some(slot) = self.mux.slot(key) {
                        slot.registered();
                    }
                }
                Action::CaughtUp(key) => {
                    self.turns.remove(&key);
                    if let Some(slot) = self.mux.slot(key) {
                        slot.caught_up();
                    }
                }
                Action::Cancelled(key) => self.end(key, None),
                Action::End(key, error) => self.end(key, Some(error)),
                Action::Reopen(error) => return Err(Stop::Broken(error)),
            }
        }
        Ok(())
    }

    fn end(&self, key: Key, failure: Option<Error>) {
        let Some(slot) = self.mux.remove(key) else {
            return;
        };
        if let Some(error) = &failure {
            tracing::warn!(range = ?slot.watch.key_range(), next_revision = slot.next_revision(), %error, "watch ended");
        }
        slot.end(failure);
    }

    fn give_turns(&mut self) {
        while self.state.wants_to_catch_up()
            && let Ok(turn) = self.common.catching_up.clone().try_acquire_owned()
        {
            self.give_turn(Some(turn));
        }
    }

    fn give_turn(&mut self, turn: Option<OwnedSemaphorePermit>) {
        if let Some(turn) = turn
            && let Some(key) = self.state.catch_up(now())
        {
            self.turns.insert(key, turn);
            if let Some(slot) = self.mux.slot(key) {
                slot.turned(WatchState::CatchingUp);
            }
        }
    }

    fn next_message(&mut self) -> Option<WatchRequest> {
        let union = match self.state.next_request(now())? {
            Request::Create {
                key,
                watch_id,
                start_revision,
            } => {
                let watch = &self.mux.slot(key)?.watch;
                tracing::debug!(range = ?watch.key_range(), watch_id, start_revision, "watch to be created");
                return Some(watch.create(watch_id, start_revision));
            }
            Request::Cancel { watch_id } => {
                RequestUnion::CancelRequest(WatchCancelRequest { watch_id })
            }
            Request::Progress => RequestUnion::ProgressRequest(WatchProgressRequest {}),
        };
        Some(WatchRequest {
            request_union: Some(union),
        })
    }
}

impl Drop for Task {
    /// When the runtime ends the task, nobody waits for ever.
    fn drop(&mut self) {
        self.mux.end_all(&Error::Closed {
            outcome: Outcome::NotApplied,
        });
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A provider that fails may do better next time; etcd says the same again.
fn no_token(error: Error) -> Stop {
    match &error {
        Error::Login(failed) if failed.refusal().is_none() => Stop::Broken(error),
        _ => Stop::Over(error),
    }
}

fn closed() -> Stop {
    Stop::Over(Error::Closed {
        outcome: Outcome::NotApplied,
    })
}

async fn at(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

async fn send(tx: &mut Outbound, message: Option<&WatchRequest>) -> Result<()> {
    match message {
        Some(message) => tx.send(message).await,
        None => pending().await,
    }
}

/// Resolves when the endpoint is to be left: it was removed, or its connection is in trouble and another one can take over. A
/// pinned stream has no other.
async fn left(mut health: Health, pool: &Pool, endpoint: EndpointId, pinned: bool) -> &'static str {
    loop {
        health.troubled().await;
        if health.is_removed() {
            return "the endpoint was removed";
        }
        if !pinned && pool.has_other(endpoint) {
            return "the connection is silent";
        }
        sleep(LOOK_ELSEWHERE).await;
    }
}
