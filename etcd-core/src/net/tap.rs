//! The wrapper around a connection's socket: one write per poll, and a record of what really crossed the kernel's border.
//!
//! h2 flushes after every DATA frame of 256 bytes or more, one system call each; the tap collects everything that h2
//! writes while it is polled, and the connection task writes it out once. Because all bytes pass here, the tap also knows
//! two things that h2 does not tell: the highest request of which a byte was handed to the kernel (a request above it was
//! certainly not seen by the server), and when bytes, and when replies, last arrived.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{CLIENT_PREFACE, DATA, Frames, HEADERS};

/// Bytes collected before the tap makes h2 wait for the socket.
const OUT_LIMIT: usize = 1 << 20;
/// Bytes asked of the socket in one read.
const READ_SIZE: usize = 64 << 10;

/// The half that h2 owns.
pub(crate) struct Tap<IO>(Arc<Mutex<Wire<IO>>>);

/// The half that the connection task owns.
pub(crate) struct TapHandle<IO>(Arc<Mutex<Wire<IO>>>);

/// What arrived since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Any byte at all, PING acknowledgements and window updates included.
    pub(crate) bytes: bool,
    /// A HEADERS or DATA frame: the server answers requests. (etcd forgives PINGs after it sent one of these.)
    pub(crate) replies: bool,
}

struct Wire<IO> {
    io: IO,
    out: BytesMut,
    /// Bytes of the stream already accepted by the socket.
    written: u64,
    outgoing: Frames,
    /// Requests whose HEADERS are collected but not yet (wholly) written: offset of the frame, stream id.
    unwritten: VecDeque<(u64, u32)>,
    highest_written: u32,
    highest_seen: u32,
    read: Box<[u8]>,
    read_from: usize,
    read_to: usize,
    incoming: Frames,
    news: News,
    dead: bool,
}

/// Wraps `io`; the two halves share it.
pub(crate) fn tap<IO>(io: IO) -> (Tap<IO>, TapHandle<IO>) {
    let wire = Arc::new(Mutex::new(Wire {
        io,
        out: BytesMut::new(),
        written: 0,
        outgoing: Frames::new(CLIENT_PREFACE),
        unwritten: VecDeque::new(),
        highest_written: 0,
        highest_seen: 0,
        read: vec![0; READ_SIZE].into_boxed_slice(),
        read_from: 0,
        read_to: 0,
        incoming: Frames::new(0),
        news: News::default(),
        dead: false,
    }));
    (Tap(wire.clone()), TapHandle(wire))
}

fn lock<IO>(wire: &Mutex<Wire<IO>>) -> MutexGuard<'_, Wire<IO>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<IO: AsyncWrite + Unpin> TapHandle<IO> {
    /// Writes out what was collected; Pending while the socket is full.
    pub(crate) fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_write_out(cx)
    }
}

impl<IO> TapHandle<IO> {
    /// What arrived since the last call.
    pub(crate) fn take_news(&self) -> News {
        std::mem::take(&mut lock(&self.0).news)
    }

    /// The highest stream id of which a byte was accepted by the socket; 0 for none.
    pub(crate) fn highest_written(&self) -> u32 {
        lock(&self.0).highest_written
    }

    /// From here on nothing more is handed to the socket, so that what was not written stays unwritten.
    pub(crate) fn kill(&self) {
        let mut wire = lock(&self.0);
        wire.dead = true;
        wire.out.clear();
    }
}

impl<IO> Wire<IO> {
    fn collect(&mut self, bytes: &[u8]) {
        let Self {
            outgoing,
            unwritten,
            highest_seen,
            ..
        } = self;
        outgoing.feed(bytes, |frame| {
            if frame.kind == HEADERS && frame.stream > *highest_seen {
                *highest_seen = frame.stream;
                unwritten.push_back((frame.start, frame.stream));
            }
        });
        self.out.extend_from_slice(bytes);
    }

    fn wrote(&mut self, count: usize) {
        self.out.advance(count);
        self.written += count as u64;
        while let Some(&(start, stream)) = self.unwritten.front() {
            if start >= self.written {
                break;
            }
            self.highest_written = stream;
            self.unwritten.pop_front();
        }
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dead {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(count);
        }
        // TLS keeps what the kernel did not take.
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        if wire.out.len() >= OUT_LIMIT {
            if let Poll::Ready(Err(error)) = wire.poll_write_out(cx) {
                return Poll::Ready(Err(error));
            }
            if wire.out.len() >= OUT_LIMIT {
                return Poll::Pending;
            }
        }
        if wire.dead {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        wire.collect(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Nothing: the connection task writes out once, after h2 was polled.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        ready!(wire.poll_write_out(cx))?;
        Pin::new(&mut wire.io).poll_shutdown(cx)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        let wire = &mut *wire;
        if wire.dead {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if wire.read_from == wire.read_to {
            let mut buffer = ReadBuf::new(&mut wire.read);
            ready!(Pin::new(&mut wire.io).poll_read(cx, &mut buffer))?;
            let filled = buffer.filled();
            wire.read_from = 0;
            wire.read_to = filled.len();
            let news = &mut wire.news;
            news.bytes |= !filled.is_empty();
            wire.incoming.feed(filled, |frame| {
                news.replies |= matches!(frame.kind, HEADERS | DATA)
            });
        }
        let step = into.remaining().min(wire.read_to - wire.read_from);
        into.put_slice(&wire.read[wire.read_from..wire.read_from + step]);
        wire.read_from += step;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn headers(stream: u32, payload: usize) -> Vec<u8> {
        let mut out = (payload as u32).to_be_bytes()[1..].to_vec();
        out.extend([HEADERS, 0x4]);
        out.extend(stream.to_be_bytes());
        out.extend(vec![0x82; payload]);
        out
    }

    #[tokio::test]
    async fn a_request_counts_as_written_from_its_first_byte_on() {
        // The pipe takes the preface, the first request and three bytes of the second.
        let first = CLIENT_PREFACE as usize + 9 + 20;
        let (ours, mut theirs) = tokio::io::duplex(first + 3);
        let (mut io, handle) = tap(ours);
        io.write_all(&[b'P'; CLIENT_PREFACE as usize])
            .await
            .unwrap();
        io.write_all(&headers(1, 20)).await.unwrap();
        io.write_all(&headers(3, 20)).await.unwrap();
        io.write_all(&headers(5, 20)).await.unwrap();
        assert_eq!(handle.highest_written(), 0, "collected is not written");

        let pending = poll_fn(|cx| Poll::Ready(handle.poll_write_out(cx).is_pending())).await;
        assert!(pending);
        assert_eq!(handle.highest_written(), 3);

        handle.kill();
        let mut got = vec![0; first + 3];
        theirs.read_exact(&mut got).await.unwrap();
        assert!(
            poll_fn(|cx| handle.poll_write_out(cx)).await.is_err(),
            "a dead tap writes nothing more"
        );
        assert_eq!(handle.highest_written(), 3);
    }

    /// A socket that takes everything and passes it on only when told to, as TLS does when the kernel's buffer is full.
    #[derive(Default)]
    struct Holding {
        held: Vec<u8>,
        passed: Vec<u8>,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let this = &mut *self;
            this.passed.append(&mut this.held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_the_socket_holds_back_is_flushed_with_the_rest() {
        let (mut io, handle) = tap(Holding::default());
        io.write_all(b"request").await.unwrap();
        poll_fn(|cx| handle.poll_write_out(cx)).await.unwrap();
        assert_eq!(lock(&handle.0).io.passed, b"request");
    }

    #[tokio::test]
    async fn pings_are_bytes_but_not_replies() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let (mut io, handle) = tap(ours);
        let mut sink = [0; 64];

        let ping_ack = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        theirs.write_all(&ping_ack).await.unwrap();
        io.read_exact(&mut sink[..ping_ack.len()]).await.unwrap();
        assert_eq!(
            handle.take_news(),
            News {
                bytes: true,
                replies: false
            }
        );
        assert_eq!(handle.take_news(), News::default(), "news are told once");

        theirs.write_all(&headers(1, 20)).await.unwrap();
        io.read_exact(&mut sink[..29]).await.unwrap();
        assert_eq!(
            handle.take_news(),
            News {
                bytes: true,
                replies: true
            }
        );
    }
}
