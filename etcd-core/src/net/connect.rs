//! Opens sockets; the only file that does.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::endpoint::{Address, Endpoint};
use super::socket::{Io, Socket};
use super::tls;
use crate::error::{Error, Outcome, Result};
use crate::observe::phase;
use crate::tls::Context;

/// How connections are opened.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// Time limit for finding the address and connecting to it.
    pub(crate) connect_timeout: Duration,
    /// Time limit of the TLS handshake.
    pub(crate) tls_timeout: Duration,
    /// What endpoints with TLS are connected with.
    pub(crate) tls: Option<Arc<Context>>,
}

/// What went wrong in one phase.
type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    /// Connects to the endpoint, with TLS if it asks for TLS.
    ///
    /// # Errors
    /// `Connection`, which names the phase that failed.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Socket> {
        let dialled = async {
            let io = self.open(endpoint).await?;
            if endpoint.is_tls() {
                self.secure(io, endpoint).await
            } else {
                Ok(tls::plaintext(io))
            }
        };
        let failed = |cause| Error::connection(endpoint.url().clone(), Outcome::NotApplied, cause);
        dialled.await.map_err(|cause: Cause| failed(cause))
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Box<dyn Io>, Cause> {
        let limit = self.connect_timeout;
        let (opened, what) = match endpoint.address() {
            Address::Tcp { host, port } => {
                let opened = tcp(endpoint.url(), host, port);
                (timeout(limit, opened).await, "TCP")
            }
            Address::Unix(path) => {
                let opened = phase(endpoint.url(), "socket", unix(path));
                (timeout(limit, opened).await, "socket")
            }
        };
        match opened {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(format!("no {what} connection within {limit:?}").into()),
        }
    }

    async fn secure(&self, io: Box<dyn Io>, endpoint: &Endpoint) -> Result<Socket, Cause> {
        let (Some(context), limit) = (&self.tls, self.tls_timeout) else {
            return Err("TLS is not configured".into());
        };
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

/// Connects to the first of the name's addresses that accepts. Names are resolved anew each time, so a member that moved is
/// found.
async fn tcp(url: &str, host: &str, port: u16) -> io::Result<Box<dyn Io>> {
    let addresses = phase(url, "dns", lookup_host((host, port))).await?;
    phase(url, "tcp", first_of(addresses)).await
}

async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Box<dyn Io>> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Requests are collected and written once per poll: waiting for more (Nagle) only delays them.
                socket.set_nodelay(true)?;
                return Ok(Box::new(socket));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

async fn unix(path: &Path) -> io::Result<Box<dyn Io>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}
