//! One unary call on its way: the request body leaving, the reply message arriving.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use tokio::sync::OwnedSemaphorePermit;

use super::cell::Answer;
use super::grpc::Whole;
use super::reply::{Ended, Reply};
use crate::error::{Error, Outcome, Result};

/// A call that was handed to h2.
pub(super) struct Unary {
    answer: Answer,
    stream: u32,
    upload: Option<Upload>,
    reply: Reply,
    whole: Whole,
    limit: usize,
}

/// A body too large to be handed over at once, and its claim on the connection's queue.
pub(super) struct Upload {
    pub(super) send: SendStream<Bytes>,
    pub(super) rest: Bytes,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Unary {
    /// `limit`: the largest reply message, in bytes.
    pub(super) fn new(
        answer: Answer,
        stream: u32,
        upload: Option<Upload>,
        reply: Reply,
        limit: usize,
    ) -> Self {
        Self {
            answer,
            stream,
            upload,
            reply,
            whole: Whole::default(),
            limit,
        }
    }

    /// The HTTP/2 stream id.
    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    pub(super) fn suspect(&self) {
        self.answer.suspect();
    }

    /// Goes on as far as possible; Ready when the call can be finished, with its result or because the caller has left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failed>> {
        if self.answer.is_abandoned() {
            return Poll::Ready(Err(Failed::Abandoned));
        }
        if let Some(upload) = &mut self.upload
            && upload.poll(cx).is_ready()
        {
            self.upload = None;
        }
        loop {
            match ready!(self.reply.poll_part(cx)) {
                Ok(Some(_)) if self.whole.complete => {
                    return Poll::Ready(Err(Failed::Ended(Ended::Bad(
                        "more than one message in a reply".to_owned(),
                    ))));
                }
                Ok(Some(part)) => {
                    if !self.whole.add(part, self.limit) {
                        return Poll::Ready(Err(Failed::TooLarge));
                    }
                }
                Ok(None) if self.whole.complete => return Poll::Ready(Ok(self.whole.take())),
                Ok(None) => {
                    return Poll::Ready(Err(Failed::Ended(Ended::Bad(
                        "status OK without a message".to_owned(),
                    ))));
                }
                Err(ended) => return Poll::Ready(Err(Failed::Ended(ended))),
            }
        }
    }

    /// Tells the caller. `written`: a byte of the request reached the kernel.
    /// `lost`: why the whole connection ended, if it did.
    pub(super) fn finish(
        self,
        result: Result<Bytes, Failed>,
        endpoint: &Arc<str>,
        written: bool,
        lost: Option<&str>,
    ) {
        let result = result.map_err(|failed| match failed {
            Failed::TooLarge => Some(Error::reply_too_large(endpoint.clone(), self.limit)),
            Failed::Ended(ended) => {
                let error = self.reply.error(ended, endpoint, written);
                Some(match (lost, &error) {
                    (Some(why), Error::Connection(e)) => {
                        Error::connection(endpoint.clone(), e.outcome, why)
                    }
                    _ => error,
                })
            }
            Failed::Lost => {
                let known = if written {
                    Outcome::Unknown
                } else {
                    Outcome::NotApplied
                };
                Some(Error::connection(
                    endpoint.clone(),
                    known,
                    lost.unwrap_or("the connection has ended"),
                ))
            }
            Failed::Abandoned => None,
        });
        match result {
            Ok(message) => self.answer.finish(Ok(message)),
            Err(Some(error)) => self.answer.finish(Err(error)),
            Err(None) => {}
        }
    }
}

/// Why a call has no reply.
pub(super) enum Failed {
    Ended(Ended),
    TooLarge,
    /// The connection is over, without a word from h2 on this stream.
    Lost,
    /// The caller has left: dropping the call resets its stream.
    Abandoned,
}

impl Upload {
    /// Hands over what flow control lets leave; Ready when all is handed over, or nobody wants the rest
    /// (the reply says why).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.send.reserve_capacity(self.rest.len());
            let Some(Ok(room)) = ready!(self.send.poll_capacity(cx)) else {
                return Poll::Ready(());
            };
            let piece = self.rest.split_to(room.min(self.rest.len()));
            let end = self.rest.is_empty();
            if self.send.send_data(piece, end).is_err() || end {
                return Poll::Ready(());
            }
        }
    }
}
