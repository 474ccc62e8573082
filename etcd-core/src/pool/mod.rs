//! Which endpoint, which connection.
//!
//! The pool keeps one connection for calls to every endpoint, and opens others for streams when the first stream of their
//! kind ([`Lane`]) is asked for. What it knows and how it chooses is in [`state`]; how endpoints are connected and watched is in
//! [`link`], how streams are opened in [`streams`], and how the list of endpoints changes in [`list`].

mod ask;
mod link;
mod list;
pub(crate) mod state;
mod streams;
mod version;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use etcd_proto::etcdserverpb::ResponseHeader;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use self::state::{EndpointView, Generation, Header, Load, PoolState, Want};
use crate::error::{EndpointReport, Error, Outcome, Result};
use crate::net::connect::Connector;
use crate::net::endpoint::Endpoint;
use crate::net::ping::PingOptions;
use crate::net::{Connection, CurrentToken, Headers};

pub(crate) use self::ask::Finding;
pub use self::state::Balance;
pub(crate) use self::state::EndpointId;
pub(crate) use self::streams::{Health, Lane, OpenStream, Prefer};
pub(crate) use self::version::Version;

/// How the pool connects.
#[derive(Clone, Debug)]
pub(crate) struct PoolOptions {
    pub(crate) connector: Connector,
    /// Time limit of a connect attempt.
    pub(crate) dial_timeout: Duration,
    /// Time limit of each of its phases after the connector's: HTTP/2, first reply.
    pub(crate) connect_timeout: Duration,
    pub(crate) ping: PingOptions,
    pub(crate) balance: Balance,
    /// Between two looks at a member; 0: never.
    pub(crate) health_interval: Duration,
    /// Ask members to tell by themselves when they stop serving.
    pub(crate) health_watch: bool,
    /// Largest unary reply, in bytes.
    pub(crate) receive_limit: usize,
    pub(crate) headers: Headers,
    /// For what the pool itself asks of the members.
    pub(crate) token: CurrentToken,
    /// An endpoint that tells an older version is not used.
    pub(crate) min_version: Option<Version>,
}

/// All endpoints of one client and the connections to them. Its tasks end when it is dropped or closed.
pub(crate) struct Pool {
    /// For the tasks, which must not keep the pool alive.
    this: Weak<Self>,
    options: PoolOptions,
    inner: Mutex<Inner>,
    /// Bumped whenever a call that waits for an endpoint should look again.
    changed: watch::Sender<()>,
    closed: watch::Sender<bool>,
}

struct Inner {
    state: PoolState,
    links: HashMap<EndpointId, Link>,
    listed: HashMap<EndpointId, Listed>,
}

/// What is kept of an endpoint for as long as it is in the list.
struct Listed {
    /// PING rules: its connections make them gentler where the server finds them too frequent.
    ping: Arc<Mutex<PingOptions>>,
    /// Closed when the endpoint is removed, so that the streams to it learn of it.
    here: watch::Sender<()>,
}

/// The connections to one endpoint.
struct Link {
    generation: Generation,
    calls: Connection,
    /// The version of etcd that answers here, if it told one.
    version: Option<Arc<str>>,
    /// Opened with the first stream of its kind, once for all that ask at the same time.
    streams: Arc<OnceCell<Connection>>,
    bulk: Arc<OnceCell<Connection>>,
    /// Tells that the member is to be looked at; closed with the link.
    look: watch::Sender<()>,
}

/// A connection chosen for a call.
pub(crate) struct Picked {
    pub(crate) id: EndpointId,
    pub(crate) generation: Generation,
    pub(crate) name: Arc<str>,
    /// The version of etcd that answers there, if it told one.
    pub(crate) version: Option<Arc<str>>,
    pub(crate) connection: Connection,
}

impl Pool {
    /// Starts connecting to all endpoints. Must be called inside a tokio runtime.
    pub(crate) fn new(endpoints: Vec<Endpoint>, options: PoolOptions) -> Arc<Self> {
        let state = PoolState::new(
            endpoints,
            options.balance,
            fastrand::u64(..),
            Instant::now().into_std(),
        );
        let pool = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            options,
            inner: Mutex::new(Inner {
                state,
                links: HashMap::new(),
                listed: HashMap::new(),
            }),
            changed: watch::Sender::new(()),
            closed: watch::Sender::new(false),
        });
        link::supervise(&pool);
        pool
    }

    /// The best connection for `want` now; `None` if no endpoint can serve it.
    pub(crate) fn pick(&self, want: &Want<'_>) -> Option<Picked> {
        let mut inner = self.lock();
        loop {
            let Inner { state, links, .. } = &mut *inner;
            let load = |id| match links.get(&id) {
                Some(link) => Load {
                    in_flight: link.calls.in_flight(),
                    rtt: link.calls.rtt(),
                },
                None => Load {
                    in_flight: 0,
                    rtt: Duration::ZERO,
                },
            };
            let Some(id) = state.pick(want, &load) else {
                if want.pinned.is_some_and(|id| state.demand(id)) {
                    self.wake();
                }
                return None;
            };
            let link = links.get(&id)?;
            if link.calls.is_open() {
                let (generation, connection) = (link.generation, link.calls.clone());
                return Some(Picked {
                    id,
                    generation,
                    name: connection.name(),
                    version: link.version.clone(),
                    connection,
                });
            }
            // Its task has not been told yet.
            let (generation, cause) = (link.generation, link.calls.cause());
            self.lose(&mut inner, id, generation, &cause);
        }
    }

    /// Would `want` be served by an endpoint that it does not avoid?
    pub(crate) fn has_untried(&self, want: &Want<'_>) -> bool {
        self.lock().state.has_untried(want)
    }

    /// Like [`pick`](Self::pick), waiting for an endpoint. The caller bounds the time.
    ///
    /// # Errors
    /// `Error::Closed`, or `Error::Config` when the pinned endpoint is not one of the client's.
    pub(crate) async fn acquire(&self, want: &Want<'_>) -> Result<Picked> {
        if let Some(picked) = self.pick(want)
            && !self.is_closed()
        {
            return Ok(picked);
        }
        let mut changed = self.changed.subscribe();
        let mut closed = self.closed.subscribe();
        loop {
            if *closed.borrow_and_update() {
                return Err(Error::Closed {
                    outcome: Outcome::NotApplied,
                });
            }
            if let Some(picked) = self.pick(want) {
                return Ok(picked);
            }
            if want
                .pinned
                .is_some_and(|id| self.lock().state.endpoint(id).is_none())
            {
                return Err(Error::config(
                    "endpoint",
                    "it is no longer one of the client's endpoints",
                ));
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = closed.changed() => {}
            }
        }
    }

    /// Waits until another endpoint can take over everything from this one. Cancel safe.
    pub(crate) async fn other(&self, than: EndpointId) {
        let mut changed = self.changed.subscribe();
        while !self.has_other(than) && changed.changed().await.is_ok() {}
    }

    /// Is there a usable endpoint other than this one?
    pub(crate) fn has_other(&self, than: EndpointId) -> bool {
        self.lock().state.has_other(than)
    }

    /// What a stream learned of its endpoint. Only `no leader` counts against one; the connection's own detector does the rest.
    pub(crate) fn report(&self, id: EndpointId, error: &Error) {
        let generation = self.lock().links.get(&id).map(|link| link.generation);
        if let Some(generation) = generation {
            self.report_answer(id, generation, error);
            self.look_soon(id);
        }
    }

    /// What a call's answer tells about its endpoint.
    pub(crate) fn report_answer(&self, id: EndpointId, generation: Generation, error: &Error) {
        if error.is_no_leader() {
            self.leaderless(id, generation);
        }
    }

    /// The member says that it has no leader.
    fn leaderless(&self, id: EndpointId, generation: Generation) {
        let mut inner = self.lock();
        if inner
            .state
            .no_leader(id, generation, Instant::now().into_std())
        {
            inner.links.remove(&id);
            drop(inner);
            self.wake();
        }
    }

    /// What a reply's header tells about who leads.
    pub(crate) fn learn(&self, picked: &Picked, header: &ResponseHeader) {
        let header = Header {
            member_id: header.member_id,
            raft_term: header.raft_term,
            leader_id: header.leader_id,
        };
        let now = Instant::now().into_std();
        let mut inner = self.lock();
        let about_leader = inner
            .state
            .learn(picked.id, picked.generation, header, now)
            .then_some(picked.id);
        let unheard = inner.state.unheard(now);
        for id in about_leader.into_iter().chain(unheard) {
            if let Some(link) = inner.links.get(&id) {
                ask::ask_status(self, id, link.generation, link.calls.clone());
            }
        }
    }

    /// Ends everything: calls, streams, connections.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        let links = std::mem::take(&mut self.lock().links);
        for link in links.values() {
            link.calls.close_now();
            link.opened().for_each(Connection::close_now);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Resolves when the client is closed. Cancel safe.
    pub(crate) async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The id of one of the client's endpoints.
    pub(crate) fn find(&self, endpoint: &Endpoint) -> Option<EndpointId> {
        self.lock().state.find(endpoint)
    }

    pub(crate) fn snapshot(&self) -> Vec<(EndpointView, Usage)> {
        let inner = self.lock();
        let usage = |view: &EndpointView| {
            inner
                .links
                .get(&view.id)
                .map_or_else(Usage::default, Link::usage)
        };
        let views = inner.state.snapshot(Instant::now().into_std());
        views
            .into_iter()
            .map(|view| {
                let usage = usage(&view);
                (view, usage)
            })
            .collect()
    }

    /// Where every endpoint stands, for the error of a call that found none.
    pub(crate) fn reports(&self) -> Vec<EndpointReport> {
        self.lock().state.reports()
    }

    /// Does any endpoint serve now?
    pub(crate) fn any_active(&self) -> bool {
        self.lock().state.any_active()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_replace(());
    }

    /// The connection for calls is lost: the endpoint is tried again.
    fn lose(&self, inner: &mut Inner, id: EndpointId, generation: Generation, cause: &str) {
        if inner
            .state
            .lost(id, generation, cause, Instant::now().into_std())
        {
            inner.links.remove(&id);
            self.wake();
        }
    }
}

/// What is on an endpoint's connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

impl Link {
    fn lane(&mut self, lane: Lane) -> &mut Arc<OnceCell<Connection>> {
        match lane {
            Lane::Streams => &mut self.streams,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// The connections for streams that were opened.
    fn opened(&self) -> impl Iterator<Item = &Connection> {
        [&self.streams, &self.bulk]
            .into_iter()
            .filter_map(|cell| cell.get())
    }

    fn usage(&self) -> Usage {
        let open = self.opened().filter(|connection| connection.is_open());
        Usage {
            connections: 1 + open.count(),
            in_flight: self.calls.in_flight(),
        }
    }
}
