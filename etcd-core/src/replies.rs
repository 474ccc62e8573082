//! Calls with one request and many replies. They go on a connection that may wait for its readers.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Decision, Error, Outcome, Result, decide};
use crate::net::grpc::Part;
use crate::net::{Inbound, Metadata, Token};
use crate::observe;
use crate::pool::state::Want;
use crate::pool::{EndpointId, Lane, Prefer};

/// The replies to one request, in order. Dropping it ends the call on the server.
pub(crate) struct Replies<M> {
    path: &'static str,
    inbound: Inbound,
    token: Token,
    endpoint: EndpointId,
    name: Arc<str>,
    version: Option<Arc<str>>,
    /// The first reply, when it was waited for and not taken yet.
    first: Option<M>,
    over: bool,
    stream: observe::Stream,
    /// Of the call as a whole, unless that is another's business.
    seen: Option<observe::Call>,
    /// Of the call as a whole; only if the caller has set one.
    deadline: Option<Pin<Box<Sleep>>>,
    started: Instant,
    /// Keeps the client open, and knows its limits.
    client: Client,
}

impl<M: Message + Default + 'static> Replies<M> {
    /// The next reply; `None` when the server has ended the call well, and after an error. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<M>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M>>> {
        if self.first.is_some() || self.over {
            return Poll::Ready(Ok(self.first.take()));
        }
        let limit = self.client.shared.options.receive_limit;
        let polled = self.inbound.poll_message(cx, limit);
        let reply = ready!(self.in_time(polled, cx)).and_then(|reply| self.named(reply));
        self.came(&reply);
        Poll::Ready(reply)
    }

    /// The next piece of a reply, for those who decode while it arrives; `None` as of [`poll_next`](Self::poll_next).
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        if self.over {
            return Poll::Ready(Ok(None));
        }
        let polled = self.inbound.poll_part(cx);
        let part = ready!(self.in_time(polled, cx));
        self.came(&part);
        Poll::Ready(part)
    }

    fn came<T>(&mut self, reply: &Result<Option<T>>) {
        self.over = !matches!(reply, Ok(Some(_)));
        if self.over {
            let error = reply.as_ref().err();
            observe::record_end(&self.stream.span(), error);
            if let Some(seen) = &mut self.seen {
                seen.ended(error);
            }
        }
    }

    /// What came, unless the time of the call is over.
    fn in_time<T>(&mut self, polled: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        match polled {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| {
                let error = error.of_rpc(self.path, self.version.as_ref());
                self.client.closed_or(error)
            })),
            Poll::Pending => {
                let deadline = self.deadline.as_mut();
                if deadline.is_none_or(|deadline| deadline.as_mut().poll(cx).is_pending()) {
                    return Poll::Pending;
                }
                Poll::Ready(Err(self.late()))
            }
        }
    }

    /// The first reply, if it was waited for and has not been taken yet.
    pub(crate) fn first(&self) -> Option<&M> {
        self.first.as_ref()
    }

    /// The endpoint that answers.
    pub(crate) fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// The endpoint that answers.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Was the call refused for its token, and may it be made with another one?
    pub(crate) fn is_stale(&self, error: &Error) -> bool {
        self.client.shared.tokens.refused(&self.token, error)
    }

    /// With its keys as the caller names them.
    fn named(&self, mut reply: Option<M>) -> Result<Option<M>> {
        if let (Some(namespace), Some(reply)) = (&self.client.view().namespace, &mut reply) {
            let mapped = namespace.leave(self.path, reply);
            mapped.map_err(|foreign| foreign.at(&self.name))?;
        }
        Ok(reply)
    }

    fn late(&self) -> Error {
        let elapsed = self.started.elapsed();
        let name = Some(self.name.clone());
        Error::timeout(elapsed, "the reply", Outcome::Unknown, name, Vec::new())
    }
}

impl Client {
    /// Sends `request`, a read, and waits for the first reply; until then other endpoints are tried, within the time limit
    /// of a call. After that only a time limit of the view bounds the call.
    pub(crate) async fn read<M: Message + Default + 'static>(
        &self,
        path: &'static str,
        mut request: impl Message + 'static,
    ) -> Result<Replies<M>> {
        self.prepare(path, &mut request)?;
        let mut seen = observe::Call::begin(path);
        let span = seen.span();
        let begun = self.begin(path, &request, &mut seen).instrument(span).await;
        match begun {
            Ok(mut replies) => {
                if replies.over {
                    seen.ended(None);
                }
                replies.seen = Some(seen);
                Ok(replies)
            }
            Err(error) => seen.end(Err(error)),
        }
    }

    async fn begin<M: Message + Default + 'static>(
        &self,
        path: &'static str,
        request: &impl Message,
        seen: &mut observe::Call,
    ) -> Result<Replies<M>> {
        let until = seen.started() + self.time_limit();
        let mut backoff = Backoff::new(Duration::from_millis(25), 2.0, Duration::from_secs(1));
        let mut tried = Vec::new();
        loop {
            let mut replies: Replies<M> = self.ask(path, request, &tried, until).await?;
            seen.attempt(&replies.name);
            let error = match replies.next().await {
                Ok(first) => {
                    replies.first = first;
                    return Ok(replies);
                }
                Err(error) => error,
            };
            seen.failed_on(&replies.name);
            let stale = replies.is_stale(&error);
            if !stale {
                tried.push(replies.endpoint);
            }
            let untried = self.has_untried(&tried)?;
            let wait = match decide(&error, true) {
                _ if stale => backoff.next().unwrap_or_default(),
                Decision::Fail | Decision::Reauthenticate => return Err(error),
                Decision::Elsewhere if !untried => return Err(error),
                Decision::Elsewhere => Duration::ZERO,
                _ => backoff.next().unwrap_or_default(),
            };
            if !untried {
                // The next round, from which only the last one is left out at first.
                tried = vec![replies.endpoint];
            }
            if Instant::now() + wait > until {
                return Err(error);
            }
            tracing::debug!(path, endpoint = %replies.name, %error, "call is tried again");
            self.pool().report(replies.endpoint, &error);
            sleep(wait).await;
        }
    }

    /// Sends `request`, to another endpoint than `avoid` if there is one; returns before it is answered.
    pub(crate) async fn open<M: Message + Default>(
        &self,
        path: &'static str,
        mut request: impl Message + 'static,
        avoid: Option<EndpointId>,
    ) -> Result<Replies<M>> {
        self.prepare(path, &mut request)?;
        let until = Instant::now() + self.time_limit();
        self.ask(path, &request, avoid.as_slice(), until).await
    }

    fn has_untried(&self, tried: &[EndpointId]) -> Result<bool> {
        Ok(self.pool().has_untried(&Want {
            avoid: tried,
            pinned: self.pinned()?,
            ..Want::default()
        }))
    }

    async fn ask<M: Message + Default>(
        &self,
        path: &'static str,
        request: &impl Message,
        avoid: &[EndpointId],
        until: Instant,
    ) -> Result<Replies<M>> {
        let (pool, started) = (self.pool(), Instant::now());
        let pinned = self.pinned()?;
        let want = Want {
            pinned,
            ..Want::default()
        };
        self.check_ready(&want)?;
        let opened = async {
            let metadata = Metadata {
                require_leader: self.view().require_leader.unwrap_or(false),
                token: self.shared.tokens.get().await?,
            };
            let stream = pool
                .open_in(
                    Lane::Bulk,
                    path,
                    Prefer::Any,
                    avoid.to_vec(),
                    pinned,
                    &metadata,
                )
                .await?;
            stream.tx.send_last(request).await?;
            let own_limit = self.view().timeout.is_some();
            Ok(Replies {
                path,
                inbound: stream.rx,
                token: stream.token,
                endpoint: stream.endpoint,
                name: stream.name,
                version: stream.version,
                first: None,
                over: false,
                stream: stream.seen,
                seen: None,
                deadline: own_limit.then(|| Box::pin(sleep_until(until))),
                started,
                client: self.clone(),
            })
        };
        match timeout_at(until, opened).await {
            Ok(opened) => opened.map_err(|error| self.closed_or(error)),
            Err(_) => Err(Error::timeout(
                started.elapsed(),
                "an active endpoint",
                Outcome::NotApplied,
                None,
                pool.reports(),
            )),
        }
    }

    /// An error at once when no endpoint can be used and the view does not wait.
    pub(crate) fn check_ready(&self, want: &Want<'_>) -> Result<()> {
        let pool = self.pool();
        if self.view().wait_ready || pool.pick(want).is_some() {
            return Ok(());
        }
        Err(Error::no_active_endpoint(pool.reports()))
    }

    /// What an error of a connection is when it was the client that closed it.
    pub(crate) fn closed_or(&self, error: Error) -> Error {
        match error {
            Error::Connection(lost) if self.pool().is_closed() => Error::Closed {
                outcome: lost.outcome,
            },
            error => error,
        }
    }
}
