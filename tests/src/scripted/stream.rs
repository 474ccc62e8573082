//! The server's side of one HTTP/2 stream.

use std::sync::Arc;

use anyhow::Result;
use bytes::{Buf, Bytes};
use prost::Message;
use tokio::sync::{Semaphore, mpsc};

use super::frame::{DATA, Frame, MAX_PAYLOAD};
use super::reply::{Reply, Step};
use super::request::Request;
use crate::proxy::Close;

/// What a connection is told to write.
#[derive(Debug)]
pub(super) enum Output {
    Frame(Frame),
    Close(Close),
}

/// Where a connection takes its output from. Not bounded: nothing but a script decides when this server holds back.
pub(super) type Outlet = mpsc::UnboundedSender<Output>;

/// The sending half of a stream.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) id: u32,
    pub(super) outlet: Outlet,
    /// The client's flow-control windows, one permit per byte. That of a stream is closed when the client resets it.
    pub(super) window: Arc<Semaphore>,
    pub(super) connection_window: Arc<Semaphore>,
}

impl Sender {
    /// For what belongs to no stream; nothing of it is held back by a window.
    pub(super) fn for_connection(outlet: Outlet) -> Sender {
        let window = Arc::new(Semaphore::new(0));
        window.close();
        Sender {
            id: 0,
            outlet,
            window: window.clone(),
            connection_window: window,
        }
    }

    /// Goes through the steps of a reply.  Ends early, without an error, when the connection has ended.
    pub(super) async fn perform(&self, reply: Reply) {
        for step in reply.steps {
            match step {
                Step::Frames(frames) => frames.into_iter().for_each(|frame| {
                    self.frame(Frame {
                        stream: self.id,
                        ..frame
                    })
                }),
                Step::Raw(frame) => self.frame(frame),
                Step::Data(bytes) => self.data(bytes).await,
                Step::Wait(delay) => tokio::time::sleep(delay).await,
                Step::Close(close) => self.output(Output::Close(close)),
            }
        }
    }

    async fn data(&self, mut bytes: Bytes) {
        while bytes.has_remaining() {
            let size = take(&self.window, bytes.len().min(MAX_PAYLOAD)).await;
            let mut left = bytes.split_to(size);
            while left.has_remaining() {
                let size = take(&self.connection_window, left.len()).await;
                self.frame(Frame::new(DATA, 0, self.id, left.split_to(size)));
            }
        }
    }

    fn frame(&self, frame: Frame) {
        self.output(Output::Frame(frame));
    }

    fn output(&self, output: Output) {
        // The connection has ended: there is nobody left to tell.
        let _ = self.outlet.send(output);
    }
}

/// Takes at least one and at most `wanted` bytes of a window; all of them, unasked, once it is closed.
async fn take(window: &Semaphore, wanted: usize) -> usize {
    match window.acquire().await {
        Ok(first) => {
            first.forget();
            1 + window.forget_permits(wanted - 1)
        }
        Err(_) => wanted,
    }
}

/// A Watch or LeaseKeepAlive stream in the hands of the test: it reads what the client sends and answers when it likes.
///
/// Dropping it leaves the stream open and silent.
#[derive(Debug)]
pub struct Incoming {
    pub(super) request: Request,
    pub(super) sender: Sender,
    pub(super) messages: mpsc::UnboundedReceiver<Bytes>,
    pub(super) headers_sent: bool,
}

impl Incoming {
    /// How the stream was opened; its `message` is empty.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The client's next message, without gRPC's prefix; `None` when it has ended or reset the stream, or its connection is gone.
    ///
    /// Cancel safe.
    pub async fn message(&mut self) -> Option<Bytes> {
        self.messages.recv().await
    }

    /// The client's next message, decoded.
    ///
    /// # Errors
    /// When it is none of type `M`, or there will be no more.
    ///
    /// Cancel safe.
    pub async fn decode<M: Message + Default>(&mut self) -> Result<M> {
        let message = self
            .message()
            .await
            .ok_or_else(|| anyhow::anyhow!("the client has ended the stream"))?;
        Ok(M::decode(message)?)
    }

    /// Sends a message, with response headers before the first one, as etcd does. Waits for flow-control room.
    pub async fn send(&mut self, message: &impl Message) {
        let part = Reply::part(message);
        let reply = if self.headers_sent {
            part
        } else {
            Reply::headers().then(part)
        };
        self.headers_sent = true;
        self.sender.perform(reply).await;
    }

    /// Goes through any steps, for example [`Reply::trailers`] after messages, or [`Reply::status`] in place of them.
    pub async fn reply(&mut self, reply: Reply) {
        self.headers_sent |= reply
            .steps
            .iter()
            .any(|step| matches!(step, Step::Frames(_)));
        self.sender.perform(reply).await;
    }
}
