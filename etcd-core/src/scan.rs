//! Large reads: keys and values while they arrive.

mod decode;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use etcd_proto::etcdserverpb::{RangeRequest, RangeStreamResponse};
use etcd_proto::mvccpb::KeyValue;
use etcd_proto::rpc::{RANGE_STREAM_PATH, Unary};
use futures_core::Stream;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use self::decode::{Decoder, Stop};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Decision, Error, Result, decide};
use crate::kv::Get;
use crate::limits;
use crate::net::grpc::Part;
use crate::observe;
use crate::pool::EndpointId;
use crate::replies::Replies;

/// Every key of a range with its value, in ascending order of key, as of one revision, in bounded memory however large the
/// range is. Made by [`Client::scan`].
///
/// Dropping it ends the read. It keeps the client's connections open, also when every [`Client`] is dropped.
#[must_use = "a scan reads nothing until it is asked for its first key"]
pub struct Scan {
    client: Client,
    /// What is still to be read, in the caller's names of keys; the revision is 0 until it is known.
    request: RangeRequest,
    /// Whether etcd is asked for a stream: not by those that have none.
    streamed: bool,
    step: Step,
    /// Decoded, and not taken yet.
    kvs: VecDeque<KeyValue>,
    /// Keys decoded since the last request.
    received: i64,
    /// Since when every attempt has failed before a key came.
    failing: Option<Instant>,
    /// The end of the time limit, if the view has one.
    deadline: Option<Instant>,
    backoff: Backoff,
    /// From the first request on.
    seen: Option<observe::Call>,
}

enum Step {
    /// Nothing is under way.
    Idle {
        wait: Duration,
        avoid: Option<EndpointId>,
    },
    /// The revision and the replies.
    Opening(BoxFuture<'static, Result<(i64, Replies<RangeStreamResponse>)>>),
    Reading(Box<Replies<RangeStreamResponse>>, Decoder),
    Over,
}

impl Client {
    /// Reads a range of any size, key by key while it arrives: neither this client nor, since etcd 3.7, the server holds all of
    /// it at once. The members' other calls are not held up by it, on connections of their own.
    ///
    /// All keys are of one revision, the one of the request or, at 0, the current one when the first key is asked for. When
    /// the connection breaks, the scan goes on after the last key that came, on another member if need be. It gives up when
    /// nothing has come for the client's request timeout (8 s unless told) in spite of that; a [`timeout`](Self::timeout)
    /// of the view is one for the whole scan.
    ///
    /// etcd is never asked page by page, which costs it quadratic time. A reader that is slow makes the server wait, in the
    /// middle of its read transaction: etcd cannot reuse what is deleted meanwhile.
    ///
    /// Nothing is sent before it is polled. It is a `Stream` of the keys, and has [`try_next`](Scan::try_next).
    ///
    /// # Errors
    /// Of the first key: `Error::InvalidRequest` for a sort other than by ascending key, for `count_only` and for a range that
    /// cannot be. Later: those of [`get`](Self::get); `Error::Server` with [`is_compacted`](crate::Error::is_compacted) when the
    /// scan had to go on after its revision was compacted; `Error::TooLarge` for one key whose value is over the
    /// client's receive limit.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::Get;
    /// let mut scan = client.scan(Get::prefix("big/"));
    /// while let Some(kv) = scan.try_next().await? {
    ///     println!("{:?}: {} bytes", kv.key, kv.value.len());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetStream")]
    #[doc(alias = "pager")]
    pub fn scan(&self, get: impl Into<Get>) -> Scan {
        let now = Instant::now();
        Scan {
            client: self.clone(),
            request: get.into().into(),
            streamed: true,
            step: Step::Idle {
                wait: Duration::ZERO,
                avoid: None,
            },
            kvs: VecDeque::new(),
            received: 0,
            failing: None,
            deadline: self.view().timeout.map(|timeout| now + timeout),
            backoff: Backoff::new(Duration::from_millis(25), 2.0, Duration::from_secs(1)),
            seen: None,
        }
    }
}

impl Scan {
    /// The next key with its value; `None` after the last one, and after an error.
    ///
    /// # Errors
    /// See [`Client::scan`]. It cannot be continued.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<KeyValue>> {
        poll_fn(|cx| self.poll_key(cx)).await
    }

    /// The revision of which the keys are; `None` before it is known.
    pub fn revision(&self) -> Option<i64> {
        Some(self.request.revision).filter(|revision| *revision > 0)
    }

    fn poll_key(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<KeyValue>>> {
        loop {
            if let Some(kv) = self.kvs.pop_front() {
                return Poll::Ready(Ok(Some(kv)));
            }
            let result = match &mut self.step {
                Step::Over => return Poll::Ready(Ok(None)),
                Step::Idle { wait, avoid } => {
                    let (wait, avoid) = (*wait, *avoid);
                    self.open(wait, avoid)
                }
                Step::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok((revision, replies)) => {
                        if let Some(seen) = &mut self.seen {
                            seen.attempt(replies.name());
                        }
                        self.request.revision = revision;
                        let limit = self.client.shared.options.receive_limit;
                        self.step =
                            Step::Reading(Box::new(replies), Decoder::new(self.streamed, limit));
                        Ok(())
                    }
                    Err(error) => self.failed(error),
                },
                Step::Reading(replies, _) => match ready!(replies.poll_part(cx)) {
                    Ok(part) => self.read(part),
                    Err(error) => self.failed(error),
                },
            };
            if result.is_err() {
                self.step = Step::Over;
                // What came with what is wrong is not trusted either.
                self.kvs.clear();
            }
            if let (Step::Over, Some(seen)) = (&self.step, &mut self.seen) {
                seen.ended(result.as_ref().err());
            }
            if let Err(error) = result {
                return Poll::Ready(Err(error));
            }
        }
    }

    fn open(&mut self, wait: Duration, avoid: Option<EndpointId>) -> Result<()> {
        check(&self.request)?;
        limits::check(&self.request, &self.client.shared.options.limits)?;
        let client = match self.deadline {
            Some(deadline) => self.client.timeout(deadline - Instant::now()),
            None => self.client.clone(),
        };
        let (mut request, streamed) = (self.request.clone(), self.streamed);
        self.received = 0;
        // Whichever RPC serves it.
        let begin = || observe::Call::begin(RANGE_STREAM_PATH);
        let span = self.seen.get_or_insert_with(begin).span();
        let opening = async move {
            sleep(wait).await;
            if request.revision == 0 {
                request.revision = client.revision_of(&request).await?;
            }
            let path = if streamed {
                RANGE_STREAM_PATH
            } else {
                RangeRequest::PATH
            };
            Ok((request.revision, client.open(path, request, avoid).await?))
        };
        self.step = Step::Opening(Box::pin(opening.instrument(span)));
        Ok(())
    }

    /// Takes a piece of a reply, or the end of the last one.
    fn read(&mut self, part: Option<Part>) -> Result<()> {
        let Step::Reading(replies, decoder) = &mut self.step else {
            return Ok(());
        };
        let name = replies.name().clone();
        let Some(part) = part else {
            return match self.missing() {
                None => {
                    self.step = Step::Over;
                    Ok(())
                }
                Some(what) => self.failed(Error::protocol(name, what)),
            };
        };
        let decoded = decoder.decode(part.data, part.first, part.last, &mut self.kvs);
        for kv in &mut self.kvs {
            if let Some(namespace) = &self.client.view().namespace {
                namespace
                    .leave_key(&mut kv.key)
                    .map_err(|foreign| foreign.at(&name))?;
            }
        }
        self.advance();
        match decoded {
            Ok(()) => Ok(()),
            Err(Stop::Malformed(wrong)) => self.failed(Error::protocol(name, wrong.to_string())),
            Err(Stop::Oversized) => {
                let limit = self.client.shared.options.receive_limit;
                Err(Error::reply_too_large(name, limit))
            }
        }
    }

    /// Moves the start of what is still to be read past the keys that have just been decoded.
    fn advance(&mut self) {
        let Some(last) = self.kvs.back() else {
            return;
        };
        self.request.key = after(&last.key);
        let count = i64::try_from(self.kvs.len()).unwrap_or(i64::MAX);
        self.received += count;
        self.failing = None;
        self.backoff.reset();
    }

    /// What is wrong with an end at this place.
    fn missing(&self) -> Option<String> {
        let Step::Reading(_, decoder) = &self.step else {
            return None;
        };
        let Some(rest) = decoder.rest() else {
            return Some("the reply ended before it was complete".to_owned());
        };
        let request = &self.request;
        let filters = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        // etcd counts keys that filters leave out.
        let expected = match request.limit {
            0 => rest.count,
            limit => rest.count.min(limit),
        };
        let short = filters.iter().all(|filter| *filter == 0) && self.received != expected;
        short.then(|| format!("{} keys of {expected} in the reply", self.received))
    }

    /// Nothing is missing but, perhaps, the end of the call.
    fn has_all(&self) -> bool {
        let request = &self.request;
        let one = request.range_end.is_empty() && self.received > 0;
        let limited = request.limit > 0 && self.received >= request.limit;
        let complete = match &self.step {
            Step::Reading(_, decoder) => decoder.rest().is_some() && self.missing().is_none(),
            _ => false,
        };
        one || limited || complete
    }

    /// Goes on after an error, if that can help.
    fn failed(&mut self, error: Error) -> Result<()> {
        if self.has_all() {
            self.step = Step::Over;
            return Ok(());
        }
        // The limit is of the whole scan.
        if self.request.limit > 0 {
            self.request.limit -= self.received;
        }
        let avoid = match &self.step {
            Step::Reading(replies, _) => {
                if let Some(seen) = &mut self.seen {
                    seen.failed_on(replies.name());
                }
                Some(replies.endpoint())
            }
            _ => None,
        };
        if self.streamed && error.is_unsupported() {
            self.streamed = false;
            self.step = Step::Idle {
                wait: Duration::ZERO,
                avoid: None,
            };
            return Ok(());
        }
        let wait = self.backoff.next().unwrap_or_default();
        let now = Instant::now();
        let again = now + wait;
        // Not since the last key: a reader may take its time.
        let limit = *self.failing.get_or_insert(now) + self.client.shared.options.request_timeout;
        let late = again > limit || self.deadline.is_some_and(|deadline| again > deadline);
        let helps = match decide(&error, true) {
            Decision::Fail => false,
            // A call that was never made had a token that was good.
            Decision::Reauthenticate => match &self.step {
                Step::Reading(replies, _) => replies.is_stale(&error),
                _ => false,
            },
            _ => true,
        };
        if late || !helps {
            return Err(error);
        }
        tracing::debug!(%error, "scan goes on after its last key");
        if let Some(endpoint) = avoid {
            self.client.pool().report(endpoint, &error);
        }
        self.step = Step::Idle { wait, avoid };
        Ok(())
    }
}

impl Client {
    /// The revision that a read of this range would have now.
    async fn revision_of(&self, request: &RangeRequest) -> Result<i64> {
        let mut get = Get::key(&request.key).count_only();
        if request.serializable {
            get = get.serializable();
        }
        Ok(self.send(get).await?.revision())
    }
}

/// What a scan cannot be asked for.
fn check(request: &RangeRequest) -> Result<()> {
    let sorted = request.sort_order != i32::from(SortOrder::None);
    let by_key = request.sort_order == i32::from(SortOrder::Ascend)
        && request.sort_target == i32::from(SortTarget::Key);
    if sorted && !by_key {
        return Err(Error::invalid_request(
            "a scan gives keys in ascending order; for another one use get",
        ));
    }
    if request.count_only {
        return Err(Error::invalid_request("a scan has no count_only; use get"));
    }
    Ok(())
}

/// The first key after this one.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

impl Stream for Scan {
    type Item = Result<KeyValue>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_key(cx)).transpose())
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
