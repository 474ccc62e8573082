//! One proxied connection: two sockets, and in each direction a queue of what was read and is not yet due.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Close;

/// How many bytes of one direction are held before reading stops; bounds throughput times delay.
const QUEUE_LIMIT: usize = 16 << 20;
const READ_SIZE: usize = 64 << 10;

/// What happens to bytes of one direction, on all connections.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) blocked: bool,
    pub(super) delay: Duration,
    pub(super) cut: Option<(u64, Close)>,
    pub(super) bytes: u64,
}

/// A connection between `client` and, once it is connected, `server`.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: Option<TcpStream>,
    to_server: Lane,
    to_client: Lane,
    frozen: bool,
    waker: Option<Waker>,
}

/// One direction of a link.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<(Instant, Item)>,
    queued: usize,
    read_ended: bool,
    write_ended: bool,
}

#[derive(Debug)]
enum Item {
    Data(Bytes),
    End(Close),
}

/// When the next thing in a queue is due, if there is one; `Err` is the end of the link.
type Progress = Result<Option<Instant>, Close>;

impl Link {
    pub(super) fn new(client: TcpStream) -> Link {
        let _ = client.set_nodelay(true);
        let (to_server, to_client) = Default::default();
        Link {
            client,
            server: None,
            to_server,
            to_client,
            frozen: false,
            waker: None,
        }
    }

    pub(super) fn connected(&mut self, server: TcpStream) {
        let _ = server.set_nodelay(true);
        self.server = Some(server);
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    pub(super) fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Closes both sockets and ends the task that carries them.
    pub(super) fn close(mut self, close: Close) {
        self.wake();
        for mut stream in [Some(self.client), self.server].into_iter().flatten() {
            match close {
                // Before the socket goes: closing one with unread bytes would send a RST in place of the FIN.
                Close::Fin => shutdown(&mut stream),
                Close::Reset => drop(stream.set_zero_linger()),
            }
        }
    }

    /// Moves what can be moved, and registers for what cannot.
    pub(super) fn poll(
        &mut self,
        to_server: &mut Rules,
        to_client: &mut Rules,
        cx: &mut Context<'_>,
    ) -> Progress {
        self.waker = Some(cx.waker().clone());
        if self.frozen {
            return Ok(None);
        }
        let Some(server) = &mut self.server else {
            return Ok(None);
        };
        let next = self
            .to_server
            .carry(&mut self.client, server, to_server, cx)?;
        let other = self
            .to_client
            .carry(server, &mut self.client, to_client, cx)?;
        if self.to_server.write_ended && self.to_client.write_ended {
            return Err(Close::Fin);
        }
        Ok([next, other].into_iter().flatten().min())
    }
}

impl Lane {
    fn carry(
        &mut self,
        source: &mut TcpStream,
        sink: &mut TcpStream,
        rules: &mut Rules,
        cx: &mut Context<'_>,
    ) -> Progress {
        loop {
            if rules.blocked {
                return Ok(None);
            }
            let more = self.fill(source, rules.delay, cx);
            let next = self.flush(sink, rules, cx)?;
            if !more {
                return Ok(next);
            }
        }
    }

    /// Reads once; true when there may be more to read now.
    fn fill(&mut self, source: &TcpStream, delay: Duration, cx: &mut Context<'_>) -> bool {
        if self.read_ended || self.queued >= QUEUE_LIMIT || source.poll_read_ready(cx).is_pending()
        {
            return false;
        }
        let due = Instant::now() + delay;
        let mut chunk = BytesMut::with_capacity(READ_SIZE);
        match source.try_read_buf(&mut chunk) {
            Ok(0) => self.end(due, Close::Fin),
            Ok(n) => {
                self.queued += n;
                self.queue.push_back((due, Item::Data(chunk.freeze())));
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.end(due, Close::Reset),
        }
        true
    }

    fn end(&mut self, due: Instant, close: Close) {
        self.read_ended = true;
        self.queue.push_back((due, Item::End(close)));
    }

    /// Writes what is due.
    fn flush(&mut self, sink: &mut TcpStream, rules: &mut Rules, cx: &mut Context<'_>) -> Progress {
        while let Some((due, item)) = self.queue.front_mut() {
            if *due > Instant::now() {
                return Ok(Some(*due));
            }
            match item {
                Item::Data(data) => {
                    let Poll::Ready(written) = write(sink, data, rules, cx)? else {
                        return Ok(None);
                    };
                    self.queued -= written;
                    if data.has_remaining() {
                        continue;
                    }
                }
                Item::End(Close::Fin) => {
                    shutdown(sink);
                    self.write_ended = true;
                }
                Item::End(Close::Reset) => return Err(Close::Reset),
            }
            self.queue.pop_front();
        }
        Ok(None)
    }
}

/// Writes as much of `data` as the socket takes and the rules allow.
fn write(
    sink: &TcpStream,
    data: &mut Bytes,
    rules: &mut Rules,
    cx: &mut Context<'_>,
) -> Result<Poll<usize>, Close> {
    let mut allowed = data.len();
    if let Some((left, close)) = rules.cut {
        allowed = allowed.min(usize::try_from(left).unwrap_or(usize::MAX));
        if allowed == 0 {
            rules.cut = None;
            return Err(close);
        }
    }
    loop {
        if sink.poll_write_ready(cx).is_pending() {
            return Ok(Poll::Pending);
        }
        match sink.try_write(&data[..allowed]) {
            Ok(written) => {
                data.advance(written);
                rules.bytes += written as u64;
                if let Some((left, _)) = &mut rules.cut {
                    *left -= written as u64;
                }
                return Ok(Poll::Ready(written));
            }
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Close::Reset),
        }
    }
}

/// Sends a FIN.  On a TCP socket that never has to wait.
fn shutdown(stream: &mut TcpStream) {
    let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
}
