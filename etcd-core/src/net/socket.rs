//! An open socket, encrypted or not, that notices what its beginning says about TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::TlsError;

/// What bytes go over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The first that came from the server: bytes, none at all if it closed the connection, or the failure of the connection.
pub(super) type First<'a> = Result<&'a [u8], &'a io::Error>;

/// What the first that came means, if it means that something is wrong about TLS.
pub(super) type Judge = Box<dyn FnOnce(First<'_>) -> Option<TlsError> + Send>;

/// A connected socket.
pub(crate) struct Socket {
    io: Box<dyn Io>,
    /// Gone when it has judged.
    judge: Option<Judge>,
    finding: Finding,
}

/// What a socket finds out about TLS. Outlives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding(Arc<OnceLock<TlsError>>);

impl Finding {
    pub(crate) fn get(&self) -> Option<&TlsError> {
        self.0.get()
    }
}

impl Socket {
    pub(super) fn new(io: Box<dyn Io>, judge: Judge) -> Self {
        Self {
            io,
            judge: Some(judge),
            finding: Finding::default(),
        }
    }

    pub(crate) fn finding(&self) -> Finding {
        self.finding.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, into));
        if let Some(judge) = self.judge.take() {
            let first = read.as_ref().map(|()| &into.filled()[before..]);
            if let Some(wrong) = judge(first) {
                self.finding.0.get_or_init(|| wrong);
            }
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
