//! Opens sockets; the only file that does.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::{Address, Endpoint};
use super::names::Names;
use super::socket::{Io, Socket};
use super::tcp::Tcp;
use super::tls;
use crate::error::{Error, Outcome, Result};
use crate::observe::phase;
use crate::tls::Context;

/// While one address of a name is tried, how long the next one waits, at most.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// How connections are opened.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// Time limit for finding the addresses of a name.
    pub(crate) dns_timeout: Duration,
    /// Time limit for connecting to one of them.
    pub(crate) connect_timeout: Duration,
    /// Time limit of the TLS handshake.
    pub(crate) tls_timeout: Duration,
    pub(crate) tcp: Tcp,
    /// In place of DNS and TCP.
    pub(crate) dialler: Option<Dialler>,
    /// What endpoints with TLS are connected with.
    pub(crate) tls: Option<Arc<Context>>,
    pub(crate) names: Names,
}

/// What the user of the client opens connections with.
#[derive(Clone)]
pub(crate) struct Dialler(Arc<Dial>);

type Dial = dyn Fn(&str, u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> + Send + Sync;

impl Dialler {
    pub(crate) fn new<F, Fut, S>(dial: F) -> Self
    where
        F: Fn(&str, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self(Arc::new(move |host, port| {
            let dialled = dial(host, port);
            Box::pin(async move { Ok(Box::new(dialled.await?) as Box<dyn Io>) })
        }))
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialler")
    }
}

/// What went wrong in one phase.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is left for a phase that has a limit of its own.
pub(crate) fn within(limit: Duration, deadline: Instant) -> Duration {
    limit.min(deadline.saturating_duration_since(Instant::now()))
}

impl Connector {
    /// Connects to the endpoint, with TLS if it asks for TLS.
    ///
    /// # Errors
    /// `Connection`, which names the phase that failed.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Socket> {
        let dialled = async {
            let io = self.open(endpoint, deadline).await?;
            if endpoint.is_tls() {
                self.secure(io, endpoint, deadline).await
            } else {
                Ok(tls::plaintext(io))
            }
        };
        let failed = |cause| Error::connection(endpoint.url().clone(), Outcome::NotApplied, cause);
        dialled.await.map_err(|cause: Cause| failed(cause))
    }

    async fn open(&self, endpoint: &Endpoint, deadline: Instant) -> Result<Box<dyn Io>, Cause> {
        let late = |what: &str, limit| format!("no {what} connection within {limit:?}");
        match endpoint.address() {
            Address::Tcp { host, port } => {
                let addresses = match &self.dialler {
                    Some(_) => Vec::new(),
                    None => self.addresses(endpoint.url(), host, port, deadline).await?,
                };
                let limit = within(self.connect_timeout, deadline);
                let opened = async {
                    match &self.dialler {
                        Some(dialler) => dialler.0(host, port).await,
                        None => first(&addresses, limit, &self.tcp).await,
                    }
                };
                let opened = phase(endpoint.url(), "tcp", opened);
                Ok(timeout(limit, opened)
                    .await
                    .map_err(|_| late("TCP", limit))??)
            }
            Address::Unix(path) => {
                let limit = within(self.connect_timeout, deadline);
                let opened = phase(endpoint.url(), "socket", unix(path));
                let opened = timeout(limit, opened).await;
                Ok(opened.map_err(|_| late("socket", limit))??)
            }
        }
    }

    /// All addresses of a name. It is looked up each time, so that a member that moved is found; while that fails, the
    /// addresses found last are good enough.
    async fn addresses(
        &self,
        url: &str,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, Cause> {
        let limit = within(self.dns_timeout, deadline);
        let lookup = async {
            let found = lookup_host((host, port)).await?;
            Ok(found.collect::<Vec<_>>())
        };
        let found = self.names.find((host, port), limit, lookup);
        Ok(phase(url, "dns", found).await?)
    }

    async fn secure(
        &self,
        io: Box<dyn Io>,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<Socket, Cause> {
        let Some(context) = &self.tls else {
            return Err("TLS is not configured".into());
        };
        let limit = within(self.tls_timeout, deadline);
        let secured = async {
            if context.has_files() {
                refresh(context).await?;
            }
            let name = context.server_name(endpoint.host());
            let name = name.ok_or("no certificate can be for this endpoint's name")?;
            Ok(tls::handshake(io, context, name).await?)
        };
        match timeout(limit, phase(endpoint.url(), "tls", secured)).await {
            Ok(result) => result,
            Err(_) => Err(format!("connected, but no TLS handshake within {limit:?}").into()),
        }
    }
}

/// Rereads the files; what happens then is the whole client's business, and no failure of this connection.
async fn refresh(context: &Arc<Context>) -> Result<(), Cause> {
    let context = context.clone();
    match tokio::task::spawn_blocking(move || context.refresh()).await? {
        Some(Ok(())) => tracing::info!("TLS files changed: new connections use them"),
        Some(Err(wrong)) => {
            tracing::warn!(%wrong, "TLS files changed and cannot be used: the old ones stay in use");
        }
        None => {}
    }
    Ok(())
}

/// Connects to the first of the addresses that accepts. The next one is tried as soon as one has failed, or is slow: all of
/// them within half of the limit.
async fn first(addresses: &[SocketAddr], limit: Duration, tcp: &Tcp) -> io::Result<Box<dyn Io>> {
    let pause = (limit / 2 / addresses.len().try_into().unwrap_or(u32::MAX)).min(NEXT_ADDRESS);
    let (mut rest, mut trying) = (addresses.iter(), FuturesUnordered::new());
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        if let Some(address) = rest.next() {
            trying.push(async move { (*address, open(*address, tcp).await) });
        }
        tokio::select! {
            tried = trying.next() => match tried {
                Some((_, Ok(socket))) => return Ok(Box::new(socket)),
                Some((address, Err(error))) => failures.push((address, error)),
                None => return Err(all(failures)),
            },
            () = sleep(pause), if rest.len() > 0 => {}
        }
    }
}

/// Why none of the addresses could be connected to.
fn all(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    if failures.len() == 1 {
        return failures.remove(0).1;
    }
    let kind = failures
        .first()
        .map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let causes = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"));
    io::Error::new(kind, causes.collect::<Vec<_>>().join("; "))
}

async fn open(address: SocketAddr, tcp: &Tcp) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = tcp.source() {
        if from.is_ipv4() != address.is_ipv4() {
            let why = format!("it cannot be reached from the bind address {from}");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
        }
        socket.bind(SocketAddr::new(IpAddr::clone(&from), 0))?;
    }
    tcp.apply(&socket)?;
    socket.connect(address).await
}

async fn unix(path: &Path) -> io::Result<Box<dyn Io>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}

#[cfg(test)]
mod tests;
