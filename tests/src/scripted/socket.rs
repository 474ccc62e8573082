//! What is under a connection's frames: a socket with TLS or without, and a count of what came out of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Scripted, Shared};
use crate::lock;

/// A TLS handshake that went well as far as the server is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The host name that the client asked for.
    pub server_name: Option<String>,
    /// The client's certificate, if it was asked for one and showed it.
    pub client: Option<CertificateDer<'static>>,
    /// It went on with an earlier session, in which the two had made sure of each other.
    pub resumed: bool,
}

impl Scripted {
    /// How every TLS handshake ended, the failed ones with what the server says about that.
    pub fn handshakes(&self) -> Vec<Result<Handshake, String>> {
        self.state().handshakes.clone()
    }

    /// How many bytes of HTTP/2 clients sent; with TLS, after the handshake and decrypted.
    pub fn received(&self) -> u64 {
        self.state().received
    }

    /// Makes the handshakes that begin from now on with another certificate, or in another way.
    ///
    /// # Panics
    /// When the server was started without TLS.
    pub fn set_tls(&self, config: ServerConfig) {
        let tls = &mut self.state().tls;
        assert!(tls.is_some(), "this server has no TLS");
        *tls = Some(Arc::new(config));
    }
}

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes the TLS handshake, if there is one to make. An error ends the connection.
pub(super) async fn open(shared: &Shared, socket: TcpStream) -> io::Result<Box<dyn Io>> {
    let Some(config) = lock(&shared.state).tls.clone() else {
        return Ok(Box::new(socket));
    };
    let accepted = TlsAcceptor::from(config)
        .accept(socket)
        .into_fallible()
        .await;
    match accepted {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let certificates = session.peer_certificates().unwrap_or_default();
            let handshake = Handshake {
                server_name: session.server_name().map(str::to_owned),
                resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                client: certificates.first().map(|leaf| leaf.clone().into_owned()),
            };
            lock(&shared.state).handshakes.push(Ok(handshake));
            Ok(Box::new(stream))
        }
        Err((error, mut socket)) => {
            lock(&shared.state).handshakes.push(Err(error.to_string()));
            // Closed with unread bytes, the socket would send a RST, which can overtake the alert that says why.
            socket.shutdown().await?;
            tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
            Err(error)
        }
    }
}

/// Counts what is read.
pub(super) struct Counted<R> {
    pub(super) reader: R,
    pub(super) shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(cx, into))?;
        lock(&self.shared.state).received += (into.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}
