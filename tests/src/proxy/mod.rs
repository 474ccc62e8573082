//! A TCP proxy on loopback that fails on cue.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use etcd_tests::{cluster::Cluster, proxy::{Direction, Proxy}};
//!
//! let cluster = Cluster::start(1).await?;
//! let proxy = Proxy::start(cluster.address(0)).await?;
//! // … connect a client to proxy.endpoint() …
//! proxy.block(Direction::ToClient); // requests arrive, replies are held
//! // … send a put, see by another way that it was applied …
//! proxy.reset_all(); // the reply is lost with its connection
//! proxy.unblock(Direction::ToClient);
//! # Ok(())
//! # }
//! ```
//!
//! Every control acts before it returns: after [`Proxy::block`] not one more byte passes, after [`Proxy::refuse`] the next connect
//! fails. Controls can be combined and changed at any time.

mod link;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use self::link::{Link, Rules};
use crate::ports::Port;
use crate::{lock, tls};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server: requests.
    ToServer,
    /// From server to client: replies.
    ToClient,
    /// Each of the two.
    Both,
}

/// How a connection is ended, towards client and server alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// With a FIN: the peer reads what was delivered, then the end.
    Fin,
    /// With a RST: the peer's next read or write fails with `ConnectionReset`, and what is still in the sender's buffer is lost.
    Reset,
}

/// A running proxy with a port of its own.  Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Proxy {
    scheme: String,
    shared: Arc<Shared>,
    port: Port,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    state: Mutex<State>,
}

/// One lock for everything, so that a control and the bytes it is about never overlap.
#[derive(Debug, Default)]
struct State {
    listener: Option<TcpListener>,
    acceptor: Option<Waker>,
    ended: bool,
    accepted: u64,
    links: HashMap<u64, Link>,
    to_server: Rules,
    to_client: Rules,
}

impl Proxy {
    /// A proxy to `upstream` (an `http://` or `https://` URL, or `host:port`, which has the scheme of [`tls::by_default`]) that passes everything
    /// on until told otherwise, TLS as it is. The upstream is connected to for each connection anew; when that fails the client sees a reset.
    ///
    /// # Errors
    /// When no port is free.
    ///
    /// # Panics
    /// Outside a tokio runtime.  The proxy works as long as that runtime does.
    pub async fn start(upstream: impl AsRef<str>) -> Result<Proxy> {
        let by_default = tls::scheme(tls::by_default());
        let upstream = upstream.as_ref();
        let (scheme, host) = upstream.split_once("://").unwrap_or((by_default, upstream));
        let proxy = Proxy {
            scheme: scheme.to_owned(),
            shared: Arc::new(Shared {
                upstream: host.to_owned(),
                state: Mutex::default(),
            }),
            port: Port::reserve()?,
        };
        proxy.accept()?;
        tokio::spawn(accept_links(proxy.shared.clone()));
        Ok(proxy)
    }

    /// The proxy's address, as `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// The proxy's URL, as `http://127.0.0.1:port`, with the upstream's scheme.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.port.address())
    }

    /// Turns into a black hole: bytes in `direction` are held, nothing is closed, and a FIN or RST is not passed on either.
    /// While both directions are blocked, new connections are established by the kernel but not picked up.
    pub fn block(&self, direction: Direction) {
        self.each_rule(direction, |rules| rules.blocked = true);
    }

    /// Ends [`block`](Self::block): what was held is delivered.
    pub fn unblock(&self, direction: Direction) {
        self.each_rule(direction, |rules| rules.blocked = false);
    }

    /// Makes the connections that are open now half-open for good: no byte, FIN or RST of theirs is passed on any more, as when a
    /// firewall forgets them.  New connections work.
    pub fn freeze_all(&self) {
        self.state().links.values_mut().for_each(Link::freeze);
    }

    /// Closes the port: new connections are refused. Open ones go on.
    pub fn refuse(&self) {
        self.state().listener = None;
    }

    /// Ends [`refuse`](Self::refuse): listens on the same port again.
    ///
    /// # Errors
    /// When another program has taken the port.
    pub fn accept(&self) -> Result<()> {
        let mut state = self.state();
        if state.listener.is_none() {
            state.listener = Some(listen(self.port.address())?);
        }
        state.wake();
        Ok(())
    }

    /// Closes every open connection with a FIN.
    pub fn drop_all(&self) {
        self.state().close_all(Close::Fin);
    }

    /// Closes every open connection with a RST.
    pub fn reset_all(&self) {
        self.state().close_all(Close::Reset);
    }

    /// Delivers bytes read from now on this much later. Their order stays, and so does the throughput (up to 16 MiB under way).
    /// Zero ends it.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.each_rule(direction, |rules| rules.delay = delay);
    }

    /// Lets `bytes` more bytes through in `direction`, over all connections together, and closes the connection that has the
    /// next byte in its place.  Once; connections after that are left alone.
    pub fn cut_after(&self, direction: Direction, bytes: u64, close: Close) {
        self.each_rule(direction, |rules| rules.cut = Some((bytes, close)));
    }

    /// How many connections were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.state().accepted
    }

    /// How many connections are open. One whose end is held back by [`block`](Self::block) counts.
    pub fn open(&self) -> usize {
        self.state().links.len()
    }

    /// How many bytes were delivered in `direction` since the start.
    pub fn bytes(&self, direction: Direction) -> u64 {
        let mut sum = 0;
        self.each_rule(direction, |rules| sum += rules.bytes);
        sum
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn each_rule(&self, direction: Direction, mut f: impl FnMut(&mut Rules)) {
        let mut state = self.state();
        if direction != Direction::ToClient {
            f(&mut state.to_server);
        }
        if direction != Direction::ToServer {
            f(&mut state.to_client);
        }
        state.wake();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.state();
        state.ended = true;
        state.listener = None;
        state.close_all(Close::Fin);
        state.wake();
    }
}

impl Shared {
    /// What `f` makes of connection `id`; `None` when that is gone, or is closed now because `f` says so.
    fn with_link<T>(
        &self,
        id: u64,
        f: impl FnOnce(&mut Link, &mut Rules, &mut Rules) -> Result<T, Close>,
    ) -> Option<T> {
        let mut state = lock(&self.state);
        let State {
            links,
            to_server,
            to_client,
            ..
        } = &mut *state;
        match f(links.get_mut(&id)?, to_server, to_client) {
            Ok(done) => Some(done),
            Err(close) => {
                links.remove(&id)?.close(close);
                None
            }
        }
    }
}

impl State {
    fn wake(&mut self) {
        self.acceptor.take().into_iter().for_each(Waker::wake);
        self.links.values_mut().for_each(Link::wake);
    }

    fn close_all(&mut self, close: Close) {
        self.links.drain().for_each(|(_, link)| link.close(close));
    }

    /// The id of the next connection, or `None` when the proxy has ended.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        self.acceptor = Some(cx.waker().clone());
        if self.ended {
            return Poll::Ready(None);
        }
        if self.to_server.blocked && self.to_client.blocked {
            return Poll::Pending;
        }
        loop {
            let Some(listener) = &self.listener else {
                return Poll::Pending;
            };
            match listener.poll_accept(cx) {
                Poll::Ready(Ok((client, _))) => {
                    self.accepted += 1;
                    self.links.insert(self.accepted, Link::new(client));
                    return Poll::Ready(Some(self.accepted));
                }
                // A connection that ended before it was picked up.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    listen().with_context(|| format!("cannot listen on {address}"))
}

async fn accept_links(shared: Arc<Shared>) {
    while let Some(id) = poll_fn(|cx| lock(&shared.state).poll_accept(cx)).await {
        tokio::spawn(carry(shared.clone(), id));
    }
}

/// Connects connection `id` to the server and carries its bytes until it ends or a control has removed it.
async fn carry(shared: Arc<Shared>, id: u64) {
    let server = TcpStream::connect(&shared.upstream).await;
    let connected = shared.with_link(id, |link, _, _| {
        link.connected(server.map_err(|_| Close::Reset)?);
        Ok(())
    });
    if connected.is_none() {
        return;
    }
    let mut sleep = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        let due = shared.with_link(id, |link, to_server, to_client| {
            link.poll(to_server, to_client, cx)
        });
        let Some(due) = due else {
            return Poll::Ready(());
        };
        if let Some(due) = due {
            sleep.as_mut().reset(due);
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await;
}
