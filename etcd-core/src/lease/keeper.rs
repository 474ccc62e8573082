//! Keeps leases alive: one stream for all leases of a client, and one task.
//!
//! The task lives as long as a lease is kept, and holds what a kept lease holds anyway. It looks up at least once a second,
//! and by whatever comes first of a renewal, a deadline and too long a silence, as [`state`](super::state) tells it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use etcd_proto::rpc::LEASE_KEEP_ALIVE_PATH;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::once::{MAX_ANSWER, Renewed, renew_once};
use super::state::{Answer, Confirmed, Renewals, Slot};
use super::{LeaseId, LeaseState, seconds};
use crate::backoff::Backoff;
use crate::clock::{BootInstant, Clock};
use crate::error::{Decision, Error, LostReason, Result, decide};
use crate::net::Metadata;
use crate::observe;
use crate::pool::{EndpointId, OpenStream, Pool, Prefer};
use crate::token::Tokens;

/// However far the next thing to do is: timers stand still while the machine sleeps, the deadlines do not.
const TICK: Duration = Duration::from_secs(1);
/// A stream that lived for so long is replaced at once, others after a delay.
const SETTLED: Duration = Duration::from_secs(1);

/// The leases that a client keeps alive.
pub(crate) struct Keeper {
    pub(super) pool: Arc<Pool>,
    tokens: Arc<Tokens>,
    pub(super) clock: Clock,
    kept: Mutex<Kept>,
    /// Tells the task to look again.
    changed: Notify,
}

struct Kept {
    renewals: Renewals,
    signals: HashMap<Slot, Signal>,
    /// Where the shared stream leads, while there is one.
    on: Option<EndpointId>,
    running: bool,
    seen: observe::Leases,
}

struct Signal {
    id: LeaseId,
    lost: watch::Sender<Option<LostReason>>,
}

impl Keeper {
    pub(crate) fn new(pool: Arc<Pool>, tokens: Arc<Tokens>, clock: Clock) -> Arc<Self> {
        let kept = Kept {
            renewals: Renewals::new(fastrand::u64(..)),
            signals: HashMap::new(),
            on: None,
            running: false,
            seen: observe::Leases::default(),
        };
        Arc::new(Self {
            pool,
            tokens,
            clock,
            kept: Mutex::new(kept),
            changed: Notify::new(),
        })
    }

    /// Keeps a lease that was granted or renewed just now. The receiver tells when and why it is lost.
    pub(super) fn keep(
        self: &Arc<Self>,
        renewed: &Renewed,
    ) -> (Slot, watch::Receiver<Option<LostReason>>) {
        let (lost, receiver) = watch::channel(None);
        let mut kept = self.lock();
        let slot = kept
            .renewals
            .keep(renewed.id, renewed.ttl, renewed.sent, self.clock.now());
        kept.signals.insert(
            slot,
            Signal {
                id: renewed.id,
                lost,
            },
        );
        observe::Leases::kept(renewed.id, renewed.ttl);
        kept.count();
        if !std::mem::replace(&mut kept.running, true) {
            tokio::spawn(Task::new(self.clone()).run());
        }
        self.changed.notify_one();
        (slot, receiver)
    }

    /// How a lease stands by the clock; `None` if it was lost earlier. A deadline that is found to have passed is final.
    pub(super) fn state(&self, slot: Slot) -> Option<LeaseState> {
        let mut kept = self.lock();
        let state = kept.renewals.state(slot, self.clock.now())?;
        if let LeaseState::Lost(reason) = state {
            kept.lose(slot, reason);
        }
        Some(state)
    }

    /// How much longer a lease may be relied on.
    pub(super) fn remaining(&self, slot: Slot) -> Duration {
        self.lock().renewals.remaining(slot, self.clock.now())
    }

    /// Stops keeping a lease, unless it is lost already.
    pub(super) fn lose(&self, slot: Slot, reason: LostReason) {
        let mut kept = self.lock();
        kept.lose(slot, reason);
        if kept.signals.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Stops keeping all leases; returns how many.
    pub(crate) fn lose_all(&self, reason: LostReason) -> usize {
        let mut kept = self.lock();
        let slots: Vec<_> = kept.signals.keys().copied().collect();
        slots.iter().for_each(|&slot| kept.lose(slot, reason));
        self.changed.notify_one();
        slots.len()
    }

    /// How many leases are renewed by way of this endpoint.
    pub(crate) fn kept_on(&self, endpoint: EndpointId) -> usize {
        let kept = self.lock();
        if kept.on == Some(endpoint) {
            kept.renewals.len()
        } else {
            0
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Ends a lease once.
    fn lose(&mut self, slot: Slot, reason: LostReason) {
        self.renewals.remove(slot);
        let Some(Signal { id, lost }) = self.signals.remove(&slot) else {
            return;
        };
        observe::Leases::lost(id, reason);
        self.count();
        lost.send_replace(Some(reason));
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Lost(slot, reason) => self.lose(slot, reason),
            Answer::Renewed => {
                if let Some(Confirmed { id, left, late }) = self.renewals.confirmed() {
                    observe::Leases::renewed(id, left, late);
                }
                self.count();
            }
            Answer::Unasked => {}
        }
    }

    fn count(&mut self) {
        let (all, at_risk) = (self.renewals.len(), self.renewals.at_risk());
        self.seen.count(all, at_risk);
    }
}

/// Renews the leases of a [`Keeper`] until none is left.
struct Task {
    keeper: Arc<Keeper>,
    link: Link,
    backoff: Backoff,
    /// The next renewal of each lease that must not share a stream.
    alone: FuturesUnordered<BoxFuture<Event>>,
    /// It has ended by itself; another one may run already.
    over: bool,
}

/// The shared stream.
enum Link {
    Opening(BoxFuture<Result<Box<OpenStream>>>),
    Up(Box<OpenStream>, BootInstant),
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Event {
    /// Time passed, or something changed.
    Woken,
    Opened(Result<Box<OpenStream>>),
    /// Sent, or being sent, at that time.
    Sent(Slot, BootInstant, Result<()>),
    Answered(Result<Option<LeaseKeepAliveResponse>>),
    Alone(Slot, Result<Renewed>),
}

impl Task {
    fn new(keeper: Arc<Keeper>) -> Self {
        let link = open(keeper.clone(), None, Duration::ZERO);
        let backoff = Backoff::new(Duration::from_millis(50), 2.0, Duration::from_secs(1));
        Self {
            keeper,
            link,
            backoff,
            alone: FuturesUnordered::new(),
            over: false,
        }
    }

    async fn run(mut self) {
        while self.keep_up() {
            let event = self.next().await;
            self.handle(event);
        }
        self.over = true;
    }

    /// Does what the clock demands. False when no lease is left, and with it no reason to go on.
    fn keep_up(&mut self) -> bool {
        let now = self.keeper.clock.now();
        let mut kept = self.keeper.lock();
        while let Some(slot) = kept.renewals.expired(now) {
            kept.lose(slot, LostReason::Deadline);
        }
        while let Some(id) = kept.renewals.turned_at_risk(now) {
            observe::Leases::at_risk(id);
            kept.count();
        }
        if kept.signals.is_empty() {
            (kept.running, kept.on) = (false, None);
            return false;
        }
        let overdue = kept.renewals.overdue(now);
        drop(kept);
        if let Link::Up(stream, _) = &self.link
            && (stream.health.is_removed()
                || (overdue || stream.health.is_troubled())
                    && self.keeper.pool.has_other(stream.endpoint))
        {
            tracing::debug!(endpoint = %stream.name, overdue, "lease renewals move to another endpoint");
            self.reopen(None);
        }
        true
    }

    async fn next(&mut self) -> Event {
        let Self {
            keeper,
            link,
            alone,
            ..
        } = self;
        let now = keeper.clock.now();
        let (due, wake) = {
            let kept = keeper.lock();
            let connected = matches!(link, Link::Up(..));
            (
                kept.renewals.due(now).filter(|_| connected),
                kept.renewals.wake(connected, now),
            )
        };
        let rest = wake.map_or(TICK, |at| at - now).min(TICK);
        tokio::select! {
            () = keeper.changed.notified() => Event::Woken,
            () = sleep(rest) => Event::Woken,
            Some(event) = alone.next() => event,
            event = link.next(due, &keeper.clock) => event,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.keeper.clock.now();
        match event {
            Event::Woken => {}
            // The client is closed.
            Event::Opened(Err(_)) => {
                self.keeper.lose_all(LostReason::Closed);
            }
            Event::Opened(Ok(stream)) => {
                self.keeper.lock().on = Some(stream.endpoint);
                self.link = Link::Up(stream, now);
            }
            Event::Sent(slot, at, Ok(())) => self.keeper.lock().renewals.sent(slot, at),
            Event::Answered(Ok(Some(answer))) => {
                let mut kept = self.keeper.lock();
                let answer = kept
                    .renewals
                    .answered(LeaseId(answer.id), seconds(answer.ttl), now);
                kept.answer(answer);
            }
            Event::Answered(Ok(None)) => self.reopen(None),
            Event::Sent(_, _, Err(error)) | Event::Answered(Err(error)) => self.reopen(Some(error)),
            Event::Alone(slot, result) => self.answered_alone(slot, result, now),
        }
    }

    /// Gives up the shared stream for another one, on another endpoint if the trouble may be with this one.
    fn reopen(&mut self, error: Option<Error>) {
        let Link::Up(stream, since) = &self.link else {
            return;
        };
        let now = self.keeper.clock.now();
        let refused = error.as_ref().is_some_and(|error| {
            matches!(error, Error::Server(_)) && decide(error, true) == Decision::Fail
        });
        if let Some(error) = &error {
            observe::record_end(&stream.seen.span(), Some(error));
            tracing::debug!(endpoint = %stream.name, %error, "the stream of lease renewals ended");
            self.keeper.pool.report(stream.endpoint, error);
        }
        let tokens = &self.keeper.tokens;
        let stale = error
            .as_ref()
            .is_some_and(|error| tokens.refused(&stream.token, error));
        let delay = if now - *since >= SETTLED {
            self.backoff.reset();
            Duration::ZERO
        } else {
            self.backoff.next().unwrap_or(SETTLED)
        };
        let avoid = Some(stream.endpoint).filter(|_| !refused && !stale);
        self.link = open(self.keeper.clone(), avoid, delay);
        let mut kept = self.keeper.lock();
        kept.on = None;
        let alone = kept.renewals.stream_ended(refused, now);
        drop(kept);
        if let Some(slot) = alone {
            tracing::debug!(
                "a lease that ends the streams it is renewed on gets streams of its own"
            );
            self.renew_alone(slot);
        }
    }

    fn answered_alone(&mut self, slot: Slot, result: Result<Renewed>, now: BootInstant) {
        match result {
            Ok(Renewed { id: _, ttl, sent }) => {
                let mut kept = self.keeper.lock();
                let answer = kept.renewals.confirm(slot, ttl, sent, now);
                kept.answer(answer);
            }
            Err(Error::LeaseLost { reason, .. }) => self.keeper.lose(slot, reason),
            Err(_) => {}
        }
        self.renew_alone(slot);
    }

    /// Plans the next renewal of a lease that does not share a stream.
    fn renew_alone(&mut self, slot: Slot) {
        let now = self.keeper.clock.now();
        let Some((id, ttl, next)) = self.keeper.lock().renewals.alone(slot, now) else {
            return;
        };
        let keeper = self.keeper.clone();
        self.alone.push(Box::pin(async move {
            sleep(next - now).await;
            if keeper.state(slot).is_none() {
                return Event::Woken;
            }
            let renewed = renew_once(
                &keeper.pool,
                &keeper.tokens,
                &keeper.clock,
                id,
                None,
                ttl / 3,
            )
            .await;
            Event::Alone(slot, renewed)
        }));
    }
}

impl Drop for Task {
    /// Nobody renews the leases any more when the task ends before they do, as it does with its runtime; the next lease to be
    /// kept starts another one.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.keeper.lock().running = false;
        self.keeper.lose_all(LostReason::Closed);
    }
}

impl Link {
    /// Carries the renewal that is due, and says what happened on the stream.
    async fn next(&mut self, due: Option<(Slot, LeaseId)>, clock: &Clock) -> Event {
        let (tx, rx, health) = match self {
            Link::Opening(opening) => return Event::Opened(opening.await),
            Link::Up(stream, _) => (&mut stream.tx, &mut stream.rx, &mut stream.health),
        };
        let renew = async {
            let (slot, LeaseId(id)) = due?;
            // Before the message is handed over: the deadline counts from here.
            let at = clock.now();
            let result = tx.send(&LeaseKeepAliveRequest { id }).await;
            Some((slot, at, result))
        };
        tokio::select! {
            biased; // When the server ended the stream, its status says more than the failure to send.
            answer = rx.message(MAX_ANSWER) => Event::Answered(answer),
            () = health.troubled(), if !health.is_troubled() => Event::Woken,
            Some((slot, at, result)) = renew => Event::Sent(slot, at, result),
            else => std::future::pending().await,
        }
    }
}

/// Opens a stream, however long it takes; fails only when the client is closed.
fn open(keeper: Arc<Keeper>, avoid: Option<EndpointId>, delay: Duration) -> Link {
    let Keeper { pool, tokens, .. } = &*keeper;
    let (pool, tokens) = (pool.clone(), tokens.clone());
    Link::Opening(Box::pin(async move {
        sleep(delay).await;
        let token = loop {
            match tokens.get().await {
                Ok(token) => break token,
                Err(error) if pool.is_closed() => return Err(error),
                // That is said where it happens; the leases have their deadlines.
                Err(_) => sleep(SETTLED).await,
            }
        };
        let metadata = Metadata {
            require_leader: true,
            token,
        };
        let stream = pool.open(
            LEASE_KEEP_ALIVE_PATH,
            Prefer::Leader,
            avoid,
            None,
            &metadata,
        );
        stream.await.map(Box::new)
    }))
}

#[cfg(test)]
mod tests;
