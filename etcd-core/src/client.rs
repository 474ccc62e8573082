//! The client: one cheap handle to a cluster, and its views.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_proto::rpc::{Class, Reply, Unary};
use prost::Message;
use tokio::sync::watch;
use tracing::Instrument;

use crate::budget::Budget;
use crate::call::{Plan, run};
use crate::class;
use crate::clock::Clock;
use crate::endpoints::{Admission, EndpointSync};
use crate::error::{Error, LostReason, Outcome, Result};
use crate::lease::keeper::Keeper;
use crate::limits;
use crate::namespace::Namespace;
use crate::net::endpoint::Endpoint;
use crate::net::grpc;
use crate::observe;
use crate::options::{ClientBuilder, LONGEST, Open, Options};
use crate::pool::{EndpointId, Pool};
use crate::request::Request;
use crate::seen::Seen;
use crate::token::Tokens;
use crate::watch::Hub;

/// The paths whose replies tell a revision of the keys.
const KV: &str = "/etcdserverpb.KV/";

/// A handle to an etcd cluster. Cloning is cheap; all clones and views share connections, watches and leases.
///
/// Verbs return futures that own what they need, so that they can be spawned, joined, and made from temporary views. How a
/// call is made is a *view* of the client ([`timeout`](Self::timeout), [`endpoint`](Self::endpoint), …), itself a `Client`.
///
/// # What ends what
///
/// | when | then |
/// |---|---|
/// | the last of `Client`, its views, `Watcher`, `Lease`, [`Channel`](crate::Channel) and unfinished calls and reads is dropped | the connections are closed and the background tasks end; nothing has to be called before |
/// | a [`Lease`](crate::Lease) is dropped | it is renewed no more, and ends on the server when its time to live is over |
/// | a [`Watcher`](crate::Watcher) is dropped | it is cancelled in the background |
/// | the future of a call is dropped | the call is withdrawn or its stream reset; the outcome of a write is unknown |
/// | [`close`](Self::close) | every clone and view: calls, reads and watches end with [`Error::Closed`](crate::Error::Closed), leases are lost as [`LostReason::Closed`](crate::LostReason::Closed); what is begun later fails so at once |
/// | the runtime is shut down in which the client was made | as `close`, for those who use the client from another runtime or hold a handle still |
/// | another runtime is shut down | the calls made in it; watches that share a stream with the one that was begun there first end with `Error::Closed`, and leases are lost if the first of those kept was kept there. The client goes on, and so do those begun afterwards |
/// | the process is stopped, or the machine sleeps | connections that died meanwhile are replaced; a lease whose time is over is not valid from the first look at it on |
///
/// A client is made inside a tokio runtime with its clock and its I/O enabled (otherwise [`Error::Config`](crate::Error::Config)),
/// and its futures run in any such runtime. **Fork**: a program started by this process (`fork` with `exec`, as
/// `std::process::Command` does) inherits no connection. A child that goes on without `exec` has a runtime whose threads
/// are gone and sockets that it shares with its parent: it must not touch the client, also not to drop it (end it with
/// `_exit`), and makes a runtime and a client of its own.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    view: View,
}

/// What all clones and views share.
pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) watches: Hub,
    pub(crate) options: Options,
    pub(crate) leases: Arc<Keeper>,
    pub(crate) seen: Seen,
    pub(crate) sync: Arc<EndpointSync>,
    budget: Budget,
    /// Ends the task that follows the member list, if there is one.
    _syncing: Option<watch::Sender<()>>,
}

/// How calls are made.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) timeout: Option<Duration>,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) require_leader: Option<bool>,
    pub(crate) wait_ready: bool,
    pub(crate) idempotent: bool,
    /// `None`: the whole keyspace.
    pub(crate) namespace: Option<Namespace>,
}

impl Client {
    /// Connects to a cluster: `endpoints` is a comma-separated list, which may be followed by options, as in
    /// `a:2379,b:2379?request_timeout=5s&name=billing`; see `FromStr` of [`ClientBuilder`]. Waits until one endpoint has
    /// answered, 5 s at most.
    ///
    /// # Errors
    /// `Error::Config` for a bad endpoint or option; `Error::NoActiveEndpoint` naming every endpoint and its last failure.
    ///
    /// ```no_run
    /// # async fn run() -> etcd_core::Result<()> {
    /// let client = etcd_core::Client::connect("10.0.0.1:2379,10.0.0.2:2379").await?;
    /// client.put("greeting", "hello").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(endpoints: impl AsRef<str>) -> Result<Self> {
        let builder: ClientBuilder = endpoints.as_ref().parse()?;
        builder.connect().await
    }

    /// Starts a client with options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(endpoints: Vec<Endpoint>, options: Options, admission: Admission) -> Self {
        let pool_options = options.pool(admission.tls.clone());
        let token = pool_options.token.clone();
        let pool = Pool::new(endpoints, pool_options);
        let source = options
            .credentials
            .source(&pool, options.read_attempt_timeout);
        let tokens = Tokens::new(source, token);
        let sync = EndpointSync::new(pool.clone(), tokens.clone(), admission);
        let interval = Some(options.auto_sync).filter(|interval| !interval.is_zero());
        let view = View {
            timeout: None,
            endpoint: None,
            require_leader: None,
            wait_ready: true,
            idempotent: false,
            namespace: None,
        };
        Self {
            shared: Arc::new(Shared {
                leases: Keeper::new(pool.clone(), tokens.clone(), Clock::default()),
                watches: Hub::new(&options, tokens.clone()),
                pool,
                tokens,
                options,
                seen: Seen::default(),
                budget: Budget::default(),
                _syncing: interval.map(|interval| sync.every(interval)),
                sync,
            }),
            view,
        }
    }

    /// Sends any request: this crate's values ([`Put`](crate::Put), [`Get`](crate::Get), …) and every generated message of a
    /// unary RPC.
    ///
    /// Reads are repeated on other endpoints until the time limit; writes only when the failed attempt certainly did nothing.
    ///
    /// # Errors
    /// `Error::InvalidRequest` before anything is sent; everything else with what is known about a write in
    /// [`Error::outcome`].
    ///
    /// Dropping the future withdraws the call or resets its stream; the outcome of a write is then unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::{Put, proto::etcdserverpb::MemberListRequest};
    /// client.send(Put::new("k", "v").prev_kv()).await?;
    /// let members = client.send(MemberListRequest { linearizable: true }).await?.members;
    /// # Ok(()) }
    /// ```
    pub fn send<R: Request>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<<R::Wire as Unary>::Reply>> + Send + 'static + use<R> {
        let plan = self.plan(request);
        let (shared, namespace) = (self.shared.clone(), self.view.namespace.clone());
        async move {
            let plan = plan?;
            let mut seen = observe::Call::begin(R::Wire::PATH);
            let span = seen.span();
            let called = async {
                let (pool, budget, tokens) = (&shared.pool, &shared.budget, &shared.tokens);
                let (reply, from) = run(pool, budget, tokens, &plan, &mut seen).await?;
                let mut reply = <R::Wire as Unary>::Reply::decode(reply).map_err(|error| {
                    Error::protocol(from.name.clone(), format!("undecodable reply: {error}"))
                })?;
                if let Some(header) = reply.header() {
                    shared.pool.learn(&from, header);
                    if R::Wire::PATH.starts_with(KV) {
                        shared.seen.observe(header.revision);
                    }
                }
                if let Some(namespace) = &namespace {
                    let mapped = namespace.leave(R::Wire::PATH, &mut reply);
                    mapped.map_err(|foreign| foreign.at(&from.name))?;
                }
                Ok(reply)
            };
            let result = called.instrument(span).await;
            seen.end(result)
        }
    }

    fn plan<R: Request>(&self, request: R) -> Result<Plan> {
        self.check_timeout()?;
        let mut wire = request.into_wire()?;
        limits::check(&wire, &self.shared.options.limits)?;
        self.prepare(R::Wire::PATH, &mut wire)?;
        let class = class::class(&wire, R::Wire::CLASS);
        let read = matches!(class, Class::PointRead | Class::Range);
        let serializable = class::serializable(&wire);
        let unlimited = matches!(class, Class::Long | Class::Blocking);
        let options = &self.shared.options;
        Ok(Plan {
            path: R::Wire::PATH,
            body: grpc::frame(&wire),
            require_leader: self.view.require_leader.unwrap_or(false),
            anonymous: class::anonymous(R::Wire::PATH),
            repeatable: read || self.view.idempotent,
            leader: !serializable,
            serializable,
            at_least: match options.monotonic_reads && class::may_be_stale(&wire) {
                true => self.shared.seen.latest(),
                false => 0,
            },
            needs: class::needs(&wire),
            pinned: self.pinned()?,
            timeout: self
                .view
                .timeout
                .or((!unlimited).then_some(options.request_timeout)),
            attempt_timeout: (class == Class::PointRead).then_some(options.read_attempt_timeout),
            wait_ready: self.view.wait_ready,
        })
    }

    pub(crate) fn check_timeout(&self) -> Result<()> {
        if self.view.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::config("timeout", "must be longer than zero"));
        }
        Ok(())
    }

    /// The last thing before a request is encoded: its keys become those of the cluster.
    pub(crate) fn prepare<M: Message + 'static>(&self, path: &str, request: &mut M) -> Result<()> {
        if let Some(namespace) = &self.view.namespace {
            namespace.enter(path, request)?;
        }
        limits::check_len(request.encoded_len(), &self.shared.options.limits)
    }

    /// A view with another time limit: of each call as a whole, with queueing, connecting and retries. Calls fail with
    /// `Error::Config` if it is zero; one of more than a year is one of a year.
    #[doc(alias = "with_timeout")]
    pub fn timeout(&self, timeout: Duration) -> Self {
        self.with(|view| view.timeout = Some(timeout.min(LONGEST)))
    }

    /// A view whose calls all go to one of the client's endpoints. Calls fail with `Error::Config` if it is none of them.
    pub fn endpoint(&self, endpoint: impl AsRef<str>) -> Self {
        self.with(|view| view.endpoint = Some(endpoint.as_ref().into()))
    }

    /// A view whose calls are refused by a member that knows no leader (`no leader`, and another member is tried), rather
    /// than answered from what it has or kept waiting. Default: off for calls, on for watches and lease renewals.
    #[doc(alias = "with_require_leader")]
    pub fn require_leader(&self, require: bool) -> Self {
        self.with(|view| view.require_leader = Some(require))
    }

    /// A view whose calls wait for a usable endpoint (`true`, the default), or fail with `Error::NoActiveEndpoint` at once
    /// (`false`).
    pub fn wait_ready(&self, wait: bool) -> Self {
        self.with(|view| view.wait_ready = wait)
    }

    /// A view whose writes may be sent again although an earlier attempt may have been applied. Only for writes that do no
    /// harm when applied twice, with other writes in between: a plain put is applied twice, with two revisions and two watch
    /// events, and may overwrite what somebody else wrote after its first application.
    pub fn idempotent(&self) -> Self {
        self.with(|view| view.idempotent = true)
    }

    /// The name given to the builder.
    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    /// Ends every clone and view: calls, watches and leases end with `Error::Closed`, connections are closed. Leases are
    /// not revoked. Calling it again does nothing.
    pub fn close(&self) {
        self.shared.pool.close();
        self.shared.leases.lose_all(LostReason::Closed);
    }

    pub(crate) fn with(&self, change: impl FnOnce(&mut View)) -> Self {
        let mut client = self.clone();
        change(&mut client.view);
        client
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.shared.pool
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// For calls whose second application would be answered differently from their first, whatever the view says.
    pub(crate) fn at_most_once(&self) -> Self {
        self.with(|view| view.idempotent = false)
    }

    /// Of a call that does not wait for others by design.
    pub(crate) fn time_limit(&self) -> Duration {
        self.view
            .timeout
            .unwrap_or(self.shared.options.request_timeout)
    }

    /// The endpoint that the view is pinned to.
    pub(crate) fn pinned(&self) -> Result<Option<EndpointId>> {
        let Some(text) = &self.view.endpoint else {
            return Ok(None);
        };
        let tls = self.shared.options.tls.is_some();
        let endpoint = Endpoint::parse(text, tls).map_err(|error| match error {
            Error::Config(wrong) => Error::config("endpoint", wrong.reason.clone()),
            error => error,
        })?;
        match self.shared.pool.find(&endpoint) {
            Some(id) => Ok(Some(id)),
            None => Err(Error::config(
                "endpoint",
                format!("{endpoint} is not one of the client's endpoints"),
            )),
        }
    }

    /// Waits until enough endpoints are connected, or so many cannot be.
    pub(crate) async fn wait_open(&self, open: Open, limit: Duration) -> Result<()> {
        let (pool, started) = (&self.shared.pool, Instant::now());
        let opened = pool.opened(|endpoints| open.of(endpoints));
        match tokio::time::timeout(limit, opened).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) if pool.tally().connected == 0 => {
                Err(Error::no_active_endpoint(pool.reports()))
            }
            Ok(Ok(false)) | Err(_) => Err(Error::timeout(
                started.elapsed(),
                open.what(),
                Outcome::NotApplied,
                None,
                pool.reports(),
            )),
        }
    }

    /// Waits until there is a token, if one is needed.
    pub(crate) async fn log_in(&self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.shared.tokens.get()).await {
            Ok(token) => token.map(|_| ()),
            Err(_) => Err(Error::timeout(
                limit,
                "a token",
                Outcome::NotApplied,
                None,
                self.shared.pool.reports(),
            )),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name())
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}
