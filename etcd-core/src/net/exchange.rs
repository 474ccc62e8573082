//! One call whose messages are somebody else's: bytes go both ways as they are.
//!
//! The request's body is sent by a task of its own when it does not end at once, so that a caller can send without reading.
//! The reply's body is read by the caller alone, and flow-control credit given back as it does.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use http_body::{Body, Frame};
use tokio::sync::oneshot;

use super::connection::{Connection, Shared};
use super::head::{Heads, Metadata};
use super::outcome;
use super::raw::RawHead;
use super::status::BoxError;
use super::stream::Open;
use crate::error::{Error, Result};

/// More about a status. tonic panics when this is not what it should be.
const DETAILS: &str = "grpc-status-details-bin";

/// The stream of a call, of which the head was handed to HTTP/2. Dropping it, or what becomes of it, resets the stream
/// (CANCEL), unless that has ended.
pub(crate) struct Exchange {
    send: SendStream<Bytes>,
    waiting: Waiting,
    open: Open,
}

/// A call whose answer has not begun: the connection's detector watches over it as over one of ours.
struct Waiting {
    response: ResponseFuture,
    shared: Arc<Shared>,
}

/// The body of the reply.
pub(crate) struct Incoming {
    /// `None` when it has ended.
    body: Option<RecvStream>,
    upload: Upload,
    open: Open,
}

/// The body of the request on its way; it goes no further when this is dropped.
struct Upload {
    failure: Failure,
    _cancel: oneshot::Sender<()>,
}

/// Why the request's body broke off, if it did.
type Failure = Arc<Mutex<Option<BoxError>>>;

/// Why a call ended before its reply did.
#[derive(Debug)]
pub(crate) enum Broken {
    Call(Error),
    /// The caller's own body.
    Body(BoxError),
}

/// Counts a call as long as it lives; see [`Connection::busy`].
pub(crate) struct Busy(Arc<Shared>);

impl Connection {
    /// Opens the stream of somebody else's call; returns when its HEADERS were handed to h2.
    pub(crate) async fn exchange(&self, head: &RawHead, metadata: &Metadata) -> Result<Exchange> {
        let head = |heads: &mut Heads| heads.raw(head, metadata);
        let (response, send) = self.start_stream(head).await?;
        Ok(Exchange::new(send, response, self.shared().clone()))
    }

    /// Counts a call that is under way on another connection to the same endpoint.
    pub(crate) fn busy(&self) -> Busy {
        self.shared().in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self.shared().clone())
    }
}

impl Exchange {
    fn new(send: SendStream<Bytes>, response: ResponseFuture, shared: Arc<Shared>) -> Self {
        Self {
            send,
            open: Open::new(shared.clone()),
            waiting: Waiting::new(response, shared),
        }
    }

    /// Sends the body of the request and waits for the head of the reply. What of the body is not there at once is sent in
    /// the background, also after this has returned.
    pub(crate) async fn call<B>(self, body: B) -> Result<(Response<()>, Incoming), Broken>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self {
            send,
            mut waiting,
            open,
        } = self;
        let (cancel, cancelled) = oneshot::channel();
        let failure = Failure::default();
        let mut task = Box::pin(send_body(send, body, cancelled, failure.clone()));
        let upload = Upload {
            failure,
            _cancel: cancel,
        };
        if poll_fn(|cx| Poll::Ready(task.as_mut().poll(cx).is_pending())).await {
            tokio::spawn(task);
        }
        match (&mut waiting.response).await {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                head.headers.remove(DETAILS);
                let incoming = Incoming {
                    body: Some(body),
                    upload,
                    open,
                };
                Ok((Response::from_parts(head, ()), incoming))
            }
            Err(error) => Err(broken(&error, false, &upload, &open)),
        }
    }
}

impl Incoming {
    /// The next piece; `None` after the last, and after an error. What the server may send is given back to it as pieces
    /// are taken.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                let given_back = body.flow_control().release_capacity(data.len());
                given_back.map(|()| Some(Frame::data(data)))
            }
            Some(Err(error)) => Err(error),
            None => ready!(body.poll_trailers(cx)).map(|trailers| {
                trailers.map(|mut trailers| {
                    trailers.remove(DETAILS);
                    Frame::trailers(trailers)
                })
            }),
        };
        if !matches!(&frame, Ok(Some(frame)) if frame.is_data()) {
            self.body = None;
        }
        let broken = |error| broken(&error, true, &self.upload, &self.open);
        Poll::Ready(frame.map_err(broken).transpose())
    }

    /// Is there nothing more to come?
    pub(crate) fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}

impl Waiting {
    fn new(response: ResponseFuture, shared: Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        shared.wake.announce();
        Self { response, shared }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.wake.announce();
    }
}

fn broken(error: &h2::Error, received: bool, upload: &Upload, open: &Open) -> Broken {
    if let Some(failure) = lock(&upload.failure).take() {
        return Broken::Body(failure);
    }
    let shared = &open.0;
    // What was handed to HTTP/2 may have been written.
    let error = outcome::error(error, &shared.name, received, true);
    Broken::Call(shared.explain(error))
}

/// Sends a body to its end, until the stream ends, or until `cancelled`.
async fn send_body<B>(
    mut send: SendStream<Bytes>,
    body: B,
    mut cancelled: oneshot::Receiver<()>,
    failure: Failure,
) where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    loop {
        let next = poll_fn(|cx| {
            if over(&mut send, &mut cancelled, cx) {
                return Poll::Ready(None);
            }
            let frame = body.as_mut().poll_frame(cx);
            frame.map(|frame| Some(frame.map(|frame| frame.map_err(Into::into))))
        });
        let Some(frame) = next.await else {
            return;
        };
        let data = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => data,
            None => {
                // An error shows in the reply as well, here and below.
                let _ = send.send_data(Bytes::new(), true);
                return;
            }
            // gRPC has none in requests; it is for the server to say so.
            Some(Ok(Err(trailers))) => {
                let _ = send.send_trailers(trailers.into_trailers().unwrap_or_default());
                return;
            }
            Some(Err(error)) => {
                *lock(&failure) = Some(error);
                send.send_reset(Reason::CANCEL);
                return;
            }
        };
        let last = body.is_end_stream() && !data.is_empty();
        if !send_data(&mut send, data, last, &mut cancelled).await || last {
            return;
        }
    }
}

/// Sends one piece as flow control lets it leave. False when there is no use in sending more.
async fn send_data(
    send: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
    cancelled: &mut oneshot::Receiver<()>,
) -> bool {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = poll_fn(|cx| match send.capacity() {
            0 if over(send, cancelled, cx) => Poll::Ready(0),
            0 => send.poll_capacity(cx).map(|room| match room {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => 0,
            }),
            room => Poll::Ready(room),
        });
        let room = room.await;
        let piece = data.split_to(room.min(data.len()));
        let end = last && data.is_empty();
        if room == 0 || send.send_data(piece, end).is_err() {
            return false;
        }
    }
    true
}

/// Has the stream ended, or has the caller left?
fn over(
    send: &mut SendStream<Bytes>,
    cancelled: &mut oneshot::Receiver<()>,
    cx: &mut Context<'_>,
) -> bool {
    Pin::new(cancelled).poll(cx).is_ready() || send.poll_reset(cx).is_ready()
}

fn lock(failure: &Failure) -> MutexGuard<'_, Option<BoxError>> {
    failure.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Call(error)
    }
}
