//! One gRPC stream: of messages both ways, for watches and keep-alives, or of replies to one request.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use prost::Message;

use super::connection::Shared;
use super::grpc::{self, Part, Whole};
use super::reply::{Ended, Reply};
use super::settings;
use crate::error::{Error, Outcome, Result};

/// The sending half. When both halves are dropped the stream is reset (CANCEL), unless it has ended.
pub(crate) struct Outbound {
    send: SendStream<Bytes>,
    open: Arc<Open>,
}

/// The receiving half.
pub(crate) struct Inbound {
    reply: Reply,
    whole: Whole,
    open: Arc<Open>,
}

/// Counts the stream as long as it lives: PINGs are only sent while streams are open.
pub(super) struct Open(pub(super) Arc<Shared>);

pub(super) fn new(
    send: SendStream<Bytes>,
    response: ResponseFuture,
    shared: Arc<Shared>,
) -> (Outbound, Inbound) {
    let open = Arc::new(Open::new(shared));
    let outbound = Outbound {
        send,
        open: open.clone(),
    };
    (
        outbound,
        Inbound {
            reply: Reply::new(response),
            whole: Whole::default(),
            open,
        },
    )
}

impl Open {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        shared.wake.announce();
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.wake.announce();
    }
}

impl Outbound {
    /// Waits for flow-control room, then hands the message over. Cancel safe: sent whole or not at all.
    pub(crate) async fn send<M: Message>(&mut self, message: &M) -> Result<()> {
        self.send_frame(grpc::frame(message), false).await
    }

    /// Like [`send`](Self::send), and says that no more will follow: a server that streams replies to one request waits
    /// for that.
    pub(crate) async fn send_last<M: Message>(mut self, message: &M) -> Result<()> {
        self.send_frame(grpc::frame(message), true).await
    }

    async fn send_frame(&mut self, body: Bytes, last: bool) -> Result<()> {
        // A message larger than the window never has room as a whole: h2 keeps it and sends it in pieces.
        let want = if body.len() > settings::BODY_AT_ONCE {
            0
        } else {
            body.len()
        };
        self.send.reserve_capacity(want);
        while self.send.capacity() < want {
            match poll_fn(|cx| self.send.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.lost(&super::outcome::describe(&error))),
                None => return Err(self.lost("the stream has ended")),
            }
        }
        self.send
            .send_data(body, last)
            .map_err(|error| self.lost(&super::outcome::describe(&error)))
    }

    fn lost(&self, why: &str) -> Error {
        let why = self.open.0.cause.get().map_or(why, String::as_str);
        Error::connection(self.open.0.name.clone(), Outcome::Unknown, why)
    }
}

impl Inbound {
    /// The next piece of a message; `None` when the server ended the stream with status OK. Flow-control credit is
    /// given back before this returns. Cancel safe.
    ///
    /// # Errors
    /// `Error::Server` for any other status, `Error::Connection` when the connection is lost, `Error::Protocol` for a
    /// reply that breaks gRPC's rules.
    pub(crate) async fn part(&mut self) -> Result<Option<Part>> {
        poll_fn(|cx| self.poll_part(cx)).await
    }

    /// [`part`](Self::part), for those who are polled themselves.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let polled = self.reply.poll_part(cx);
        polled.map(|part| part.map_err(|ended| self.error(ended)))
    }

    /// The next whole message, of at most `limit` bytes. Cancel safe.
    pub(crate) async fn message<M: Message + Default>(
        &mut self,
        limit: usize,
    ) -> Result<Option<M>> {
        poll_fn(|cx| self.poll_message(cx, limit)).await
    }

    /// [`message`](Self::message), for those who are polled themselves.
    pub(crate) fn poll_message<M: Message + Default>(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Option<M>>> {
        let name = self.open.0.name.clone();
        while !self.whole.complete {
            let part = ready!(self.reply.poll_part(cx)).map_err(|ended| self.error(ended))?;
            let Some(part) = part else {
                return Poll::Ready(Ok(None));
            };
            if !self.whole.add(part, limit) {
                return Poll::Ready(Err(Error::reply_too_large(name, limit)));
            }
        }
        Poll::Ready(match M::decode(self.whole.take()) {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Error::protocol(
                name,
                format!("undecodable message: {error}"),
            )),
        })
    }

    fn error(&self, ended: Ended) -> Error {
        let shared = &self.open.0;
        shared.explain(self.reply.error(ended, &shared.name, true))
    }
}
