//! A gRPC server at the level of HTTP/2 frames, which misbehaves on cue and counts what it saw.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use etcd_tests::scripted::{Reply, Scripted};
//!
//! let server = Scripted::start(|request| match request.path.as_str() {
//!     "/etcdserverpb.KV/Put" if request.nth == 1 => Reply::rst(h2::Reason::REFUSED_STREAM),
//!     _ => request.usual(),
//! })
//! .await?;
//! // … a client of server.endpoint() puts …
//! assert_eq!(server.seen("/etcdserverpb.KV/Put"), 2);
//! # Ok(())
//! # }
//! ```
//!
//! By itself it acknowledges SETTINGS and PING and gives back flow control. Everything else is the script: it is asked once per request
//! that arrived whole, and its [`Reply`] is any sequence of frames, waits and closes. Watch and LeaseKeepAlive streams go to the test
//! instead, which takes them from [`Scripted::next_stream`] and talks on them as it likes.

mod connection;
mod frame;
mod reply;
mod request;
mod socket;
mod stream;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

pub use self::reply::Reply;
use self::request::Member;
pub use self::request::Request;
pub use self::socket::Handshake;
pub use self::stream::Incoming;
use self::stream::{Outlet, Sender};
use crate::lock;
use crate::tls::{self, Authority};

/// The RPCs whose streams go to the test.
const STREAMS: [&str; 2] = [
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
];

type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A running server with a port of its own.  Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Scripted {
    shared: Arc<Shared>,
    address: SocketAddr,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Incoming>>,
    acceptor: JoinHandle<()>,
}

/// How to start a [`Scripted`].
#[derive(Debug, Clone)]
pub struct Builder {
    /// `None`: as by default.
    tls: Option<Option<Arc<ServerConfig>>>,
    member: Member,
    settings: Vec<(u16, u32)>,
}

/// A RST_STREAM that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// On which connection, from 0.
    pub connection: usize,
    /// The stream.
    pub stream: u32,
    /// Why, as HTTP/2 numbers it: 8 is CANCEL.
    pub code: u32,
}

/// A PING that a client sent (not an acknowledgement).
#[derive(Debug, Clone, Copy)]
pub struct Ping {
    /// On which connection, from 0.
    pub connection: usize,
    /// When it arrived.
    pub at: Instant,
}

/// A GOAWAY that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goaway {
    /// On which connection, from 0.
    pub connection: usize,
    /// Why, as HTTP/2 numbers it: 0 is NO_ERROR.
    pub code: u32,
    /// What it says about that.
    pub debug: String,
}

struct Shared {
    member: Member,
    settings: Vec<(u16, u32)>,
    streams: mpsc::UnboundedSender<Incoming>,
    state: Mutex<State>,
}

struct State {
    script: Script,
    answer_pings: bool,
    connections: Vec<Outlet>,
    open: usize,
    /// By path.
    requests: HashMap<String, Vec<Request>>,
    resets: Vec<Reset>,
    pings: Vec<Ping>,
    goaways: Vec<Goaway>,
    tls: Option<Arc<ServerConfig>>,
    handshakes: Vec<Result<Handshake, String>>,
    received: u64,
}

impl Scripted {
    /// A server on a free port whose answers are what `script` returns. The script may be called from several connections at once.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Scripted> {
        Self::builder().start(script).await
    }

    /// A server with settings: member 1, who leads, and HTTP/2's own settings.
    pub fn builder() -> Builder {
        Builder {
            tls: None,
            member: Member { id: 1, leader: 1 },
            settings: Vec::new(),
        }
    }

    /// The server's URL, as `http://127.0.0.1:port` (`https` with TLS).
    pub fn endpoint(&self) -> String {
        let scheme = tls::scheme(self.state().tls.is_some());
        format!("{scheme}://{}", self.address)
    }

    /// The server's address, as `127.0.0.1:port`: what a [`Proxy`](crate::proxy::Proxy) connects to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the script.
    pub fn script(&self, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        self.state().script = Arc::new(script);
    }

    /// Whether PINGs are acknowledged; they are unless told otherwise.
    pub fn answer_pings(&self, yes: bool) {
        self.state().answer_pings = yes;
    }

    /// The next Watch or LeaseKeepAlive stream: it is there as soon as its HEADERS arrived.
    ///
    /// Cancel safe.  Waits for ever when there is none.
    pub async fn next_stream(&self) -> Incoming {
        match self.incoming.lock().await.recv().await {
            Some(stream) => stream,
            // `shared` holds a sender as long as `self` lives.
            None => std::future::pending().await,
        }
    }

    /// Goes through steps that belong to no request on connection `connection` (from 0): GOAWAY, raw frames, close, abort.  Returns when all of
    /// them are handed to the connection; nothing happens when that is closed or was never there.
    pub async fn push(&self, connection: usize, reply: Reply) {
        let Some(outlet) = self.state().connections.get(connection).cloned() else {
            return;
        };
        Sender::for_connection(outlet).perform(reply).await;
    }

    /// How many requests for `path` arrived whole; for Watch and LeaseKeepAlive, how many streams were opened.
    pub fn seen(&self, path: &str) -> usize {
        self.state().requests.get(path).map_or(0, Vec::len)
    }

    /// All requests for `path`, as [`seen`](Self::seen) counts them, in the order they came.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.state().requests.get(path).cloned().unwrap_or_default()
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// Every RST_STREAM that clients sent.
    pub fn resets(&self) -> Vec<Reset> {
        self.state().resets.clone()
    }

    /// Every PING that clients sent, answered or not.
    pub fn pings(&self) -> Vec<Ping> {
        self.state().pings.clone()
    }

    /// Every GOAWAY that clients sent.
    pub fn goaways(&self) -> Vec<Goaway> {
        self.state().goaways.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Builder {
    /// The id of the member that this server makes believe to be; 1 unless told.
    pub fn member(mut self, id: u64) -> Self {
        self.member.id = id;
        self
    }

    /// The id of the member that leads; 1 unless told, 0 for none.
    pub fn leader(mut self, id: u64) -> Self {
        self.member.leader = id;
        self
    }

    /// An HTTP/2 setting that the server announces, for example `(3, 1)` for MAX_CONCURRENT_STREAMS = 1 or `(4, 0)` for
    /// INITIAL_WINDOW_SIZE = 0, with which no request body ever comes.
    pub fn setting(mut self, id: u16, value: u32) -> Self {
        self.settings.push((id, value));
        self
    }

    /// Serves with TLS in this way. Unless told, it serves with a certificate of [`Authority::shared`] where [`tls::by_default`], else in
    /// plaintext.
    pub fn tls(mut self, config: ServerConfig) -> Self {
        self.tls = Some(Some(Arc::new(config)));
        self
    }

    /// Serves in plaintext, whatever the default.
    pub fn plaintext(mut self) -> Self {
        self.tls = Some(None);
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// As [`Scripted::start`].
    pub async fn start(
        self,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Scripted> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot listen")?;
        let address = listener.local_addr()?;
        let (streams, incoming) = mpsc::unbounded_channel();
        let tls = match self.tls {
            Some(tls) => tls,
            None if tls::by_default() => Some(Authority::shared()?.identity()?.server()?.into()),
            None => None,
        };
        let state = Mutex::new(State::new(Arc::new(script), tls));
        let shared = Arc::new(Shared {
            member: self.member,
            settings: self.settings,
            streams,
            state,
        });
        let acceptor = tokio::spawn(accept(shared.clone(), listener));
        Ok(Scripted {
            shared,
            address,
            incoming: incoming.into(),
            acceptor,
        })
    }
}

impl State {
    fn new(script: Script, tls: Option<Arc<ServerConfig>>) -> State {
        State {
            script,
            tls,
            handshakes: Vec::new(),
            received: 0,
            answer_pings: true,
            connections: Vec::new(),
            open: 0,
            requests: HashMap::new(),
            resets: Vec::new(),
            pings: Vec::new(),
            goaways: Vec::new(),
        }
    }
}

impl Shared {
    /// Registers a connection; its index.
    fn connected(&self, outlet: Outlet) -> usize {
        let mut state = lock(&self.state);
        state.open += 1;
        state.connections.push(outlet);
        state.connections.len() - 1
    }

    /// Registers a request, and numbers it.
    fn seen(&self, mut request: Request) -> Request {
        let mut state = lock(&self.state);
        let requests = state.requests.entry(request.path.clone()).or_default();
        request.nth = 1 + requests.len();
        requests.push(request.clone());
        request
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

/// Accepts connections; they end with this task.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error is a connection that ended before it was picked up.
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection::serve(shared.clone(), socket));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
