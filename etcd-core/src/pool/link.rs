//! Connects endpoints, watches their connections, and tells the pool's state.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use etcd_proto::etcdserverpb::StatusResponse;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::ask::{ask_all, ask_status, first_reply, is_leaderless, keep_looking, listen, member};
use super::state::{EndpointId, Generation};
use super::version::told;
use super::{Inner, Lane, Link, Listed, Picked, Pool, PoolOptions};
use crate::error::{Error, Outcome, Result};
use crate::net::connect::within;
use crate::net::endpoint::Endpoint;
use crate::net::ping::PingOptions;
use crate::net::{Condition, Connection, ConnectionOptions};
use crate::observe::{Endpoints, phase};

/// Runs until the pool is closed or dropped: starts connect attempts when they are due.
pub(super) fn supervise(pool: &Pool) {
    let mut changed = pool.changed.subscribe();
    let mut token = pool.options.token.subscribe();
    let closed = pool.closed.subscribe();
    let pool = Supervised(pool.this.clone());
    let mut seen = Endpoints::default();
    tokio::spawn(unless_closed(closed, async move {
        loop {
            let Some(next) = start_due(&pool.0, &mut seen) else {
                return;
            };
            let wait = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                changed = changed.changed() => if changed.is_err() { return },
                Ok(()) = token.changed() => ask_all(&pool.0),
            }
        }
    }));
}

/// Closes the pool when its supervisor goes, as it does when its runtime is shut down: nobody would connect any more, and
/// no caller may wait for that.
struct Supervised(Weak<Pool>);

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.close();
        }
    }
}

/// Starts the attempts that are due; when to come back, or `None` when the pool is gone.
/// What has become of the endpoints meanwhile is told here, in one place.
fn start_due(pool: &Weak<Pool>, seen: &mut Endpoints) -> Option<Option<Instant>> {
    let strong = pool.upgrade()?;
    let mut inner = strong.lock();
    seen.look(&inner.state.reports());
    for id in inner.state.due(Instant::now().into_std()) {
        let Some(endpoint) = inner.state.endpoint(id).cloned() else {
            continue;
        };
        let ping = inner.pings_of(id, &strong.options);
        let attempt = attempt(pool.clone(), id, endpoint, ping, strong.options.clone());
        tokio::spawn(unless_closed(strong.closed.subscribe(), attempt));
    }
    seen.look(&inner.state.reports());
    Some(inner.state.next_due().map(Instant::from_std))
}

/// Runs `task` until the pool is closed or dropped.
pub(super) async fn unless_closed(
    mut closed: watch::Receiver<bool>,
    task: impl Future<Output = ()>,
) {
    // Without the guard that it returns: a task that ends may close the pool.
    let closed = async { closed.wait_for(|closed| *closed).await.map(drop) };
    tokio::select! {
        () = task => {}
        _ = closed => {}
    }
}

/// One connect attempt; when it succeeds, watches the connection to its end.
async fn attempt(
    pool: Weak<Pool>,
    id: EndpointId,
    endpoint: Endpoint,
    ping: Arc<Mutex<PingOptions>>,
    options: PoolOptions,
) {
    let result = async {
        let deadline = Instant::now() + options.dial_timeout;
        let calls = connect(&endpoint, ping, &options, deadline).await?;
        let status = first_reply(&calls, &options, deadline).await?;
        Ok::<_, Error>((calls, status))
    };
    let result = result.await;
    let Some(strong) = pool.upgrade() else { return };
    match result {
        Ok((calls, status)) => {
            let condition = calls.condition();
            let Some((generation, look)) = strong.add(id, &calls, &status) else {
                return;
            };
            drop((strong, calls));
            tokio::select! {
                () = watch_calls(&pool, id, generation, condition) => {}
                () = keep_looking(&pool, id, generation, look, &options) => {}
                () = listen(&pool, id, generation, &options) => {}
            }
        }
        Err(error) => {
            strong
                .lock()
                .state
                .connect_failed(id, &error, Instant::now().into_std());
            strong.wake();
        }
    }
}

/// The socket, HTTP/2, and the first PING's answer.
async fn connect(
    endpoint: &Endpoint,
    ping: Arc<Mutex<PingOptions>>,
    options: &PoolOptions,
    deadline: Instant,
) -> Result<Connection> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::connection(endpoint.url().clone(), Outcome::NotApplied, cause)
    };
    let socket = options.connector.dial(endpoint, deadline).await?;
    let limit = within(options.connect_timeout, deadline);
    let finding = socket.finding();
    let options = ConnectionOptions {
        endpoint: endpoint.clone(),
        ping,
        receive_limit: options.receive_limit,
        headers: options.headers.clone(),
    };
    let started = phase(endpoint.url(), "http2", Connection::start(socket, options));
    match timeout(limit, started).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => match finding.get() {
            Some(wrong) => Err(failed(wrong.clone().into())),
            None => Err(error),
        },
        Err(_) => Err(failed(
            format!("connected, but no answer to HTTP/2 within {limit:?}").into(),
        )),
    }
}

/// Tells the pool what the connection's detector finds, until the connection ends.
async fn watch_calls(
    pool: &Weak<Pool>,
    id: EndpointId,
    generation: Generation,
    mut condition: watch::Receiver<Condition>,
) {
    let mut gone = false;
    // Looks before it waits: the connection may have changed before anybody listened.
    loop {
        let now = *condition.borrow_and_update();
        let on = pool
            .upgrade()
            .is_some_and(|pool| pool.observe(id, generation, now, gone));
        if !on {
            return;
        }
        gone = condition.changed().await.is_err();
    }
}

/// A silent connection for streams is a reason to look at the one for calls as well.
async fn watch_streams(
    pool: Weak<Pool>,
    id: EndpointId,
    generation: Generation,
    mut condition: watch::Receiver<Condition>,
) {
    let _ = condition
        .wait_for(|condition| *condition != Condition::Alive)
        .await;
    let Some(pool) = pool.upgrade() else { return };
    if let Some(calls) = pool.calls(id, generation) {
        calls.probe();
        // Where no call waits for it, nobody knows.
        ask_status(&pool, id, generation, calls);
    }
    pool.look_soon(id);
}

impl Inner {
    fn pings_of(&mut self, id: EndpointId, options: &PoolOptions) -> Arc<Mutex<PingOptions>> {
        let new = || Listed {
            ping: Arc::new(Mutex::new(options.ping)),
            here: watch::Sender::new(()),
        };
        self.listed.entry(id).or_insert_with(new).ping.clone()
    }
}

impl Pool {
    /// Takes note of the condition of a connection for calls; false when there is no more to see.
    fn observe(&self, id: EndpointId, generation: Generation, now: Condition, gone: bool) -> bool {
        let mut inner = self.lock();
        let link = inner.links.get(&id);
        let Some(link) = link.filter(|link| link.generation == generation) else {
            return false;
        };
        if gone || !link.calls.is_open() {
            let cause = link.calls.cause();
            self.lose(&mut inner, id, generation, &cause);
            return false;
        }
        let turned = match now {
            Condition::Suspect => {
                link.opened().for_each(Connection::probe);
                inner.state.suspect(id, generation)
            }
            Condition::Alive => inner.state.alive(id, generation),
            Condition::Closed => false,
        };
        drop(inner);
        if turned {
            self.wake();
        }
        true
    }

    /// Takes a new connection into use.
    fn add(
        &self,
        id: EndpointId,
        calls: &Connection,
        status: &StatusResponse,
    ) -> Option<(Generation, watch::Receiver<()>)> {
        let now = Instant::now().into_std();
        let member = member(status);
        let leaderless = is_leaderless(status);
        let mut inner = self.lock();
        if self.is_closed() {
            return None;
        }
        let cluster = status.header.as_ref().map_or(0, |header| header.cluster_id);
        if let Err(ours) = inner.state.joins(id, cluster) {
            let cause =
                format!("it belongs to cluster {cluster:x}, the other endpoints to {ours:x}");
            inner.state.connect_failed(id, cause.as_str(), now);
            drop(inner);
            self.wake();
            return None;
        }
        let generation = inner.state.connected(id, member, now)?;
        let (look, wanted) = watch::channel(());
        inner.links.insert(
            id,
            Link {
                generation,
                calls: calls.clone(),
                version: told(status),
                streams: Arc::default(),
                bulk: Arc::default(),
                look,
            },
        );
        if leaderless && inner.state.no_leader(id, generation, now) {
            inner.links.remove(&id);
        }
        drop(inner);
        self.wake();
        Some((generation, wanted))
    }

    /// Goes on with `connecting` unless the endpoint, which answered so far, is found to be silent meanwhile. Where no call
    /// waits for it nobody knows, so it is asked.
    async fn unless_silent<T>(
        &self,
        picked: &Picked,
        connecting: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut health = self.health(picked.id, picked.connection.condition());
        if health.is_troubled() {
            return connecting.await;
        }
        ask_status(
            self,
            picked.id,
            picked.generation,
            picked.connection.clone(),
        );
        tokio::select! {
            connected = connecting => connected,
            () = health.troubled() => {
                let cause = "the endpoint went silent, was lost or removed";
                Err(Error::connection(picked.name.clone(), Outcome::NotApplied, cause))
            }
        }
    }

    /// A connection for streams beside the picked one for calls, opened if need be.
    pub(super) async fn beside(&self, picked: &Picked, lane: Lane) -> Result<Connection> {
        let lost = || {
            Error::connection(
                picked.name.clone(),
                Outcome::NotApplied,
                "the connection was lost meanwhile",
            )
        };
        let (cell, endpoint, ping) = {
            let mut inner = self.lock();
            let endpoint = inner.state.endpoint(picked.id).cloned().ok_or_else(lost)?;
            let ping = inner.pings_of(picked.id, &self.options);
            let link = inner
                .links
                .get_mut(&picked.id)
                .filter(|link| link.generation == picked.generation);
            let cell = link.ok_or_else(lost)?.lane(lane);
            if cell.get().is_some_and(|connection| !connection.is_open()) {
                *cell = Arc::default();
            }
            (cell.clone(), endpoint, ping)
        };
        let connection = cell.get_or_try_init(|| async {
            let deadline = Instant::now() + self.options.dial_timeout;
            let connecting = connect(&endpoint, ping, &self.options, deadline);
            let connection = self.unless_silent(picked, connecting).await?;
            tokio::spawn(unless_closed(
                self.closed.subscribe(),
                watch_streams(
                    self.this.clone(),
                    picked.id,
                    picked.generation,
                    connection.condition(),
                ),
            ));
            Ok::<_, Error>(connection)
        });
        connection.await.cloned()
    }
}
