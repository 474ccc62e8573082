//! A large read as the server sends it: piece by piece.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use etcd_proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use etcd_proto::rpc::RANGE_STREAM_PATH;
use futures_core::Stream;

use crate::client::Client;
use crate::error::Result;
use crate::kv::Get;
use crate::limits;
use crate::replies::Replies;

/// The pieces of one read, in order of key and all of one revision. The server waits for a reader that is slow.
///
/// Dropping it ends the read. It keeps the client's connections open, also when every [`Client`] is dropped.
#[must_use = "dropping a range stream ends it"]
pub struct RangeStream {
    replies: Replies<RangeStreamResponse>,
}

impl Client {
    /// Reads a range in pieces, since etcd 3.7: neither the server nor this client holds all of it at once. Header, `more`
    /// and `count` come with the last piece only.
    ///
    /// Returns when the first piece has come; until then other endpoints are tried, within the time limit of a call. After
    /// that only a [`timeout`](Self::timeout) of the view limits the time, of the whole read. It is not resumed when it
    /// breaks off.
    ///
    /// # Errors
    /// Those of [`get`](Self::get). [`Error::Unsupported`](crate::Error::Unsupported) when no endpoint has it: etcd before 3.7, and
    /// 3.7 for a sort or limits of revisions. Dropping the future ends the read.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::Get;
    /// let mut pieces = client.range_stream(Get::prefix("big/")).await?;
    /// while let Some(piece) = pieces.try_next().await? {
    ///     println!("{} keys", piece.kvs.len());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetStream")]
    pub fn range_stream(
        &self,
        get: impl Into<Get>,
    ) -> impl Future<Output = Result<RangeStream>> + Send + 'static {
        let (client, request) = (self.clone(), RangeRequest::from(get.into()));
        async move {
            limits::check(&request, &client.shared.options.limits)?;
            let replies = client.read(RANGE_STREAM_PATH, request).await?;
            Ok(RangeStream { replies })
        }
    }
}

impl RangeStream {
    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// `Error::Connection`, `Error::Server` and `Error::Timeout` when it breaks off, `Error::TooLarge` for a piece over the
    /// client's receive limit. It cannot be continued; after an error, `Ok(None)`.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<RangeResponse>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RangeResponse>>> {
        let piece = |reply: RangeStreamResponse| reply.range_response.unwrap_or_default();
        Poll::Ready(ready!(self.replies.poll_next(cx)).map(|reply| reply.map(piece)))
    }
}

impl Stream for RangeStream {
    type Item = Result<RangeResponse>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_piece(cx)).transpose())
    }
}

impl std::fmt::Debug for RangeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeStream")
            .field("endpoint", self.replies.name())
            .finish_non_exhaustive()
    }
}
