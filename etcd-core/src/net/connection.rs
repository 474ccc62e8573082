//! One HTTP/2 connection to one endpoint: the handle that callers share, and what they share with the connection's task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::cell::{Answer, Call, call};
use super::driver::Driver;
use super::endpoint::Endpoint;
use super::head::{Heads, Metadata};
use super::headers::Headers;
use super::outcome;
use super::ping::PingOptions;
use super::pulse::Pulse;
use super::settings;
use super::stream::{Inbound, Outbound};
use super::tap::tap;
use super::wake::TaskWake;
use crate::error::{Error, Outcome, Result};

/// A shared connection; when the last handle is dropped it closes, after the calls and streams on it have ended.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Handle>);

struct Handle(Arc<Shared>);

/// What the connection's own detector thinks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Alive,
    /// Calls or a probe wait, a PING was sent, and not a byte came back for the suspicion time.
    Suspect,
    Closed,
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionOptions {
    pub(crate) endpoint: Endpoint,
    /// Of the endpoint, shared with its other connections: fewer when the server says that they are too many.
    pub(crate) ping: Arc<Mutex<PingOptions>>,
    /// Largest unary reply, in bytes.
    pub(crate) receive_limit: usize,
    /// On every request.
    pub(crate) headers: Headers,
}

/// Shared by the handles, the streams and the task.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    ping: Arc<Mutex<PingOptions>>,
    pub(super) wake: Arc<TaskWake>,
    pub(super) condition: watch::Sender<Condition>,
    /// Why the connection takes no more calls: the first reason.
    pub(super) cause: OnceLock<String>,
    /// Smoothed round-trip time in microseconds.
    pub(super) rtt: AtomicU64,
    /// Unary calls submitted and not ended.
    pub(super) in_flight: AtomicUsize,
    /// Bidirectional streams open.
    pub(super) streams: AtomicUsize,
    /// Of these, the exchanges whose answer has not begun: they wait as calls do.
    pub(super) waiting: AtomicUsize,
    /// Somebody suspects the endpoint: find out whether this connection still answers.
    pub(super) probe: AtomicBool,
    /// No new calls: the server said GOAWAY, or the stream ids run out.
    pub(super) retiring: AtomicBool,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    heads: Mutex<Heads>,
}

#[derive(Default)]
struct Queue {
    submitted: Vec<Submit>,
    closing: Closing,
    /// For opening streams; gone when the connection closes.
    sender: Option<SendRequest<Bytes>>,
}

/// Is the connection to end?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closing {
    #[default]
    No,
    /// When what is on it has ended.
    WhenIdle,
    Now,
}

/// A call waiting for the task.
pub(super) struct Submit {
    pub(super) path: &'static str,
    pub(super) metadata: Metadata,
    pub(super) body: Bytes,
    pub(super) answer: Answer,
    pub(super) room: OwnedSemaphorePermit,
}

impl Connection {
    /// Starts HTTP/2 on `io`; returns when the server has answered a PING, so that it is known to be alive
    /// (the kernel of a stopped process still accepts TCP connections). The caller bounds the time.
    pub(crate) async fn start<IO>(io: IO, options: ConnectionOptions) -> Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let name = options.endpoint.url().clone();
        let lost = |error: &h2::Error| {
            Error::connection(name.clone(), Outcome::NotApplied, outcome::describe(error))
        };
        let (io, tap) = tap(io);
        let (sender, mut h2) = settings::builder()
            .handshake::<_, Bytes>(io)
            .await
            .map_err(|e| lost(&e))?;
        let receive_limit = options.receive_limit;
        let shared = Arc::new(Shared::new(options, sender.clone()));
        let connection = Connection(Arc::new(Handle(shared.clone())));
        let (ready, is_ready) = oneshot::channel();
        let Some(ping) = h2.ping_pong() else {
            return Err(Error::connection(
                name,
                Outcome::NotApplied,
                "HTTP/2 PING is not available",
            ));
        };
        let pulse = Pulse::new(ping, shared.ping_options());
        tokio::spawn(Driver::new(
            shared,
            h2,
            sender,
            tap,
            pulse,
            ready,
            receive_limit,
        ));
        match is_ready.await {
            Ok(()) => Ok(connection),
            Err(_) => Err(connection.0.0.error(Outcome::NotApplied)),
        }
    }

    /// Submits a unary call; `body` is a framed message. Waits while the connection's queue is full.
    /// Cancel safe: until this returns nothing was submitted.
    pub(crate) async fn unary(
        &self,
        path: &'static str,
        metadata: Metadata,
        body: Bytes,
    ) -> Result<Call> {
        let shared = &self.0.0;
        let permits = (1 + body.len() / 1024).min(settings::QUEUE_PERMITS);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = match shared.room.clone().try_acquire_many_owned(permits) {
            Ok(room) => room,
            Err(_) => match shared.room.clone().acquire_many_owned(permits).await {
                Ok(room) => room,
                Err(_) => return Err(shared.error(Outcome::NotApplied)),
            },
        };
        let (call, answer) = call();
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        if !shared.submit(Submit {
            path,
            metadata,
            body,
            answer,
            room,
        }) {
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(shared.error(Outcome::NotApplied));
        }
        shared.wake.announce();
        Ok(call)
    }

    /// Opens a bidirectional stream; returns when its HEADERS were handed to h2.
    pub(crate) async fn open(
        &self,
        path: &'static str,
        metadata: &Metadata,
    ) -> Result<(Outbound, Inbound)> {
        let (response, send) = self
            .start_stream(|heads| heads.request(path, metadata))
            .await?;
        Ok(super::stream::new(send, response, self.0.0.clone()))
    }

    /// A new stream, of which HTTP/2 has the head and nothing else.
    pub(super) async fn start_stream(
        &self,
        head: impl FnOnce(&mut Heads) -> http::Request<()>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>)> {
        let shared = &self.0.0;
        let Some(sender) = shared.queue().sender.clone() else {
            return Err(shared.error(Outcome::NotApplied));
        };
        let lost = |e: h2::Error| {
            // Its streams go on, but nobody may ask it for another.
            shared.retire(&outcome::describe(&e));
            shared.error(Outcome::NotApplied)
        };
        let mut sender = sender.ready().await.map_err(lost)?;
        let request = head(&mut shared.heads());
        sender.send_request(request, false).map_err(lost)
    }

    /// Asks the task to find out whether the server still answers on this connection.
    pub(crate) fn probe(&self) {
        self.0.0.probe.store(true, Ordering::SeqCst);
        self.0.0.wake.announce();
    }

    /// Ends the connection and everything on it.
    pub(crate) fn close_now(&self) {
        self.0.0.close(Closing::Now);
    }

    pub(crate) fn condition(&self) -> watch::Receiver<Condition> {
        self.0.0.condition.subscribe()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// The endpoint's URL.
    pub(crate) fn name(&self) -> Arc<str> {
        self.0.0.name.clone()
    }

    /// Can it take new calls?
    pub(crate) fn is_open(&self) -> bool {
        !self.0.0.retiring.load(Ordering::Relaxed)
            && *self.0.0.condition.borrow() != Condition::Closed
    }

    /// Is it silent? Calls that were handed over before hear of it by themselves.
    pub(crate) fn is_suspect(&self) -> bool {
        *self.0.0.condition.borrow() == Condition::Suspect
    }

    /// Why it ended, in words.
    pub(crate) fn cause(&self) -> String {
        self.0
            .0
            .cause
            .get()
            .cloned()
            .unwrap_or_else(|| "the connection is closing".to_owned())
    }

    pub(crate) fn rtt(&self) -> Duration {
        Duration::from_micros(self.0.0.rtt.load(Ordering::Relaxed))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.0.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(Closing::WhenIdle);
    }
}

impl Shared {
    fn new(options: ConnectionOptions, sender: SendRequest<Bytes>) -> Self {
        let endpoint = options.endpoint;
        let scheme = if endpoint.is_tls() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        Self {
            name: endpoint.url().clone(),
            ping: options.ping,
            wake: Arc::new(TaskWake::new()),
            condition: watch::Sender::new(Condition::Alive),
            cause: OnceLock::new(),
            rtt: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            probe: AtomicBool::new(false),
            retiring: AtomicBool::new(false),
            queue: Mutex::new(Queue {
                sender: Some(sender),
                ..Queue::default()
            }),
            room: Arc::new(Semaphore::new(settings::QUEUE_PERMITS)),
            heads: Mutex::new(Heads::new(
                scheme,
                endpoint.authority().clone(),
                &options.headers,
            )),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, submit: Submit) -> bool {
        let mut queue = self.queue();
        let open = queue.sender.is_some();
        if open {
            queue.submitted.push(submit);
        }
        open
    }

    /// Moves the submitted calls to the end of `into`.
    pub(super) fn take_submitted(&self, into: &mut VecDeque<Submit>) -> Closing {
        let mut queue = self.queue();
        into.extend(queue.submitted.drain(..));
        queue.closing
    }

    /// The connection is over (the first reason given holds): no more submissions and streams.
    /// What was submitted is returned.
    pub(super) fn end(&self, why: &str) -> Vec<Submit> {
        self.cause.get_or_init(|| why.to_owned());
        self.set_condition(Condition::Closed);
        self.room.close();
        let mut queue = self.queue();
        queue.sender = None;
        std::mem::take(&mut queue.submitted)
    }

    fn ping_options(&self) -> PingOptions {
        *self.ping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server finds that we PING too often: the next connections to it do so less often.
    pub(super) fn too_many_pings(&self) {
        let mut options = self.ping.lock().unwrap_or_else(PoisonError::into_inner);
        options.too_many_pings();
    }

    /// No new calls; what is on the connection goes on.
    pub(super) fn retire(&self, why: &str) {
        self.cause.get_or_init(|| why.to_owned());
        if !self.retiring.swap(true, Ordering::Relaxed) {
            self.condition.send_modify(|_| {});
        }
    }

    pub(super) fn set_condition(&self, condition: Condition) {
        self.condition.send_if_modified(|known| {
            let changed = *known != condition && *known != Condition::Closed;
            if changed {
                *known = condition;
            }
            changed
        });
    }

    /// No stream can be opened any more.
    pub(super) fn drop_sender(&self) {
        self.queue().sender = None;
    }

    fn close(&self, how: Closing) {
        {
            let mut queue = self.queue();
            queue.closing = queue.closing.max(how);
        }
        self.wake.announce();
    }

    pub(super) fn request(&self, path: &'static str, metadata: &Metadata) -> http::Request<()> {
        self.heads().request(path, metadata)
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a stream, with the reason why the whole connection ended if it did.
    pub(super) fn explain(&self, error: Error) -> Error {
        match (&error, self.cause.get()) {
            (Error::Connection(lost), Some(cause)) => {
                Error::connection(self.name.clone(), lost.outcome, cause.as_str())
            }
            _ => error,
        }
    }

    pub(super) fn error(&self, outcome: Outcome) -> Error {
        let cause = self
            .cause
            .get()
            .map_or("the connection is closing", String::as_str);
        Error::connection(self.name.clone(), outcome, cause)
    }
}
