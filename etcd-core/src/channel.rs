//! The pool under somebody else's stubs: a service for HTTP requests that are gRPC calls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use etcd_proto::rpc::{LEASE_KEEP_ALIVE_PATH, STREAMING, UNARY};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;
use tracing::Instrument;

use crate::call::before;
use crate::class::anonymous;
use crate::client::Client;
use crate::error::{Code, Error, Outcome, Result};
use crate::net::grpc;
use crate::net::{
    BoxError, Broken, Connection, Exchange, Incoming, Metadata, RawHead, Token, status, time_limit,
};
use crate::observe;
use crate::pool::state::{Generation, Want};
use crate::pool::{EndpointId, Lane, Picked};

/// The client's endpoints and connections as a `tower::Service`, for stubs that tonic generates, those of `etcd-proto`
/// (feature `client`) among them. See [`Client::channel`].
///
/// Cloning is cheap. It keeps the client's connections open, also when every [`Client`] is dropped.
#[derive(Clone)]
pub struct Channel {
    client: Client,
    pinned: Option<EndpointId>,
}

/// The body of a reply: gRPC messages as they came, then trailers.
///
/// The server waits for a reader that is slow. Dropping it ends the call on the server, unless it has ended. The default is
/// empty, as tonic's interceptors ask for.
#[derive(Default)]
pub struct ChannelBody(Option<Reply>);

/// A reply that has not ended.
struct Reply {
    incoming: Incoming,
    deadline: Option<Pin<Box<Sleep>>>,
    call: Call,
}

/// One call, wherever it has come to.
struct Call {
    client: Client,
    seen: observe::Call,
    /// Where it went.
    from: Option<(EndpointId, Generation, Arc<str>)>,
    /// What the call showed of who makes it.
    token: Token,
}

impl Client {
    /// A service for generated stubs, or anything else that speaks gRPC over HTTP: unary calls and streams of every kind,
    /// also of services that this crate does not know.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use etcd_core::proto::etcdserverpb::{RangeRequest, kv_client::KvClient};
    ///
    /// let mut kv = KvClient::new(client.channel()?); // or with any tower layer around the channel
    /// let read = RangeRequest { key: "k".into(), ..Default::default() };
    /// println!("{:?}", kv.range(read).await?.into_inner().kvs);
    /// # Ok(()) }
    /// ```
    ///
    /// **What it does**: it chooses the endpoint of each call, and another one when no stream can be opened there; it
    /// notices when an endpoint goes silent; it adds what the client adds to the head of every request, where the request
    /// has no header of that name. Of a request, the method, scheme and authority are not looked at; of a reply,
    /// `grpc-status-details-bin` is left out, which etcd does not send and some readers cannot bear when it is malformed.
    ///
    /// **What it does not do**: no call is sent twice, whatever became of it; watches and lease renewals are the plain
    /// RPCs, which end with their connection; the requests' sizes and keys are not checked. A call whose token etcd refuses
    /// ends with that error; the next one has another token.
    ///
    /// **Views**: [`timeout`](Self::timeout), [`endpoint`](Self::endpoint), [`require_leader`](Self::require_leader) (off
    /// unless asked for, also for watches) and [`wait_ready`](Self::wait_ready) apply, as they are when this is called;
    /// [`idempotent`](Self::idempotent) changes nothing.
    ///
    /// **Time**: the view's time limit and the request's own (`grpc-timeout`, as of `tonic::Request::set_timeout`), whichever
    /// is shorter, are for the whole call, to the end of the reply. Without either, an endpoint must be found within the
    /// client's `request_timeout` (8 s unless told), and after that a call lasts as long as its connection.
    ///
    /// **Flow**: both bodies are held back by the slower side. The replies share one connection for each endpoint with
    /// [`snapshot`](Self::snapshot) and [`range_stream`](Self::range_stream), which holds up to 64 MiB of what nobody
    /// reads, and 4 MiB of one call; so drop what you do not read.
    ///
    /// # Errors
    /// `Error::InvalidRequest` in a [`namespace`](Self::namespace), where a channel would reach the keys outside;
    /// `Error::Config` for an endpoint that is not one of the client's, or a time limit of zero.
    ///
    /// Calls end with a status of etcd's, or with an error that tonic turns into a status: `DeadlineExceeded`, `Unavailable`,
    /// `Cancelled` for a closed client, or `InvalidArgument`. Its `source()` is the [`Error`], with its
    /// [`outcome`](Error::outcome). The service itself is always ready: it is calls that wait for an endpoint.
    ///
    /// Cancel safe in the sense that nothing is left behind: dropping the future of a call, or the body of its reply, resets
    /// the stream.
    #[doc(alias("ActiveConnection", "grpc", "stub"))]
    pub fn channel(&self) -> Result<Channel> {
        if self.view().namespace.is_some() {
            return Err(Error::invalid_request(
                "a channel in a namespace: what a stub sends is not mapped; ask the client without the namespace",
            ));
        }
        self.check_timeout()?;
        Ok(Channel {
            client: self.clone(),
            pinned: self.pinned()?,
        })
    }
}

impl<B> Service<Request<B>> for Channel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ChannelBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move {
            let mut call = Call {
                client: channel.client,
                seen: observe::Call::begin(known(request.uri().path())),
                from: None,
                token: Token::default(),
            };
            let span = call.seen.span();
            match call.run(channel.pinned, request).instrument(span).await {
                Ok((head, incoming, deadline)) => {
                    call.heed(head.headers());
                    let reply = Reply {
                        incoming,
                        deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
                        call,
                    };
                    Ok(head.map(|()| ChannelBody(Some(reply))))
                }
                Err(broken) => Err(call.error(broken)),
            }
        })
    }
}

impl Call {
    /// From the choice of the endpoint to the head of the reply.
    async fn run<B>(
        &mut self,
        pinned: Option<EndpointId>,
        request: Request<B>,
    ) -> Result<(Response<()>, Incoming, Option<Instant>), Broken>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let limits = [self.client.view().timeout, time_limit(&head.headers)?];
        let limit = limits.into_iter().flatten().min();
        let head = Arc::new(RawHead::new(head)?);

        let deadline = limit.and_then(|limit| self.seen.started().checked_add(limit));
        let until = self.seen.started().checked_add(self.client.time_limit());
        if !anonymous(head.path().as_str()) {
            let tokens = self.client.shared.tokens.clone();
            self.token = match before(deadline.or(until), tokens.get()).await {
                Some(token) => token?,
                None => return Err(self.late("a token", Outcome::NotApplied).into()),
            };
        }
        let (picked, exchange) = match before(deadline.or(until), self.open(pinned, &head)).await {
            Some(opened) => opened?,
            None => return Err(self.late("an active endpoint", Outcome::NotApplied).into()),
        };
        self.seen.attempt(&picked.name);
        self.from = Some((picked.id, picked.generation, picked.name));
        // Until the reply begins, this counts where endpoints are compared.
        let _busy = picked.connection.busy();

        match before(deadline, exchange.call(body)).await {
            Some(answered) => answered.map(|(head, incoming)| (head, incoming, deadline)),
            None => Err(self.late("the reply", Outcome::Unknown).into()),
        }
    }

    async fn open(
        &self,
        pinned: Option<EndpointId>,
        head: &Arc<RawHead>,
    ) -> Result<(Picked, Exchange)> {
        let path = head.path().as_str();
        let want = Want {
            // As with calls of our own; only what any member does as well as the leader is left to any.
            leader: UNARY.iter().any(|rpc| rpc.path == path) || path == LEASE_KEEP_ALIVE_PATH,
            pinned,
            ..Want::default()
        };
        self.client.check_ready(&want)?;
        let metadata = Metadata {
            require_leader: self.client.view().require_leader.unwrap_or(false),
            token: self.token.clone(),
        };
        let open = |connection: Connection| {
            let (head, metadata) = (head.clone(), metadata.clone());
            async move { connection.exchange(&head, &metadata).await }
        };
        self.client.pool().place(Lane::Bulk, &want, open).await
    }

    /// Tells the pool what the endpoint said of itself, and that it refused the token, if it did: the next call has another.
    fn heed(&mut self, headers: &HeaderMap) {
        if let (Some((id, generation, name)), Some((code, message))) =
            (&self.from, grpc::status(headers))
        {
            let answer = Error::from_status(name.clone(), code, message);
            self.seen.ended(Some(&answer).filter(|_| code != Code::OK));
            self.client.pool().report_answer(*id, *generation, &answer);
            self.client.shared.tokens.refused(&self.token, &answer);
        }
    }

    fn late(&self, waiting_for: &'static str, outcome: Outcome) -> Error {
        let name = self.from.as_ref().map(|(_, _, name)| name.clone());
        let reports = self.client.pool().reports();
        Error::timeout(
            self.seen.started().elapsed(),
            waiting_for,
            outcome,
            name,
            reports,
        )
    }

    fn error(&mut self, broken: Broken) -> BoxError {
        match broken {
            Broken::Call(error) => {
                let error = self.client.closed_or(error);
                self.seen.ended(Some(&error));
                status(error)
            }
            Broken::Body(error) => error,
        }
    }
}

impl Reply {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Before the next piece: a server that always has one would never be stopped.
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            let late = self.call.late("the reply", Outcome::Unknown);
            return Poll::Ready(Some(Err(late.into())));
        }
        let frame = ready!(self.incoming.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.heed(trailers);
        }
        Poll::Ready(frame)
    }
}

/// The path of an RPC of etcd's, and one name for all others: what they are called is not in our hands.
fn known(path: &str) -> &'static str {
    let unary = UNARY.iter().map(|rpc| rpc.path);
    let mut all = unary.chain(STREAMING.iter().map(|rpc| rpc.path));
    all.find(|known| *known == path).unwrap_or("_OTHER")
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(reply) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(reply.poll_frame(cx));
        let frame = frame.map(|frame| frame.map_err(|broken| reply.call.error(broken)));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = |reply: &Reply| reply.incoming.is_over();
        self.0.as_ref().is_none_or(ended)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ChannelBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.0.as_ref().and_then(|reply| reply.call.from.as_ref());
        let endpoint = from.map(|(_, _, name)| name);
        f.debug_struct("ChannelBody")
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}
