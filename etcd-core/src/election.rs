//! The server's own elections.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use etcd_proto::rpc::OBSERVE_PATH;
use etcd_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use futures_core::Stream;
use futures_util::future::BoxFuture;

use crate::client::Client;
use crate::error::Result;
use crate::lease::LeaseId;
use crate::lock::owner;
use crate::range::IntoBytes;
use crate::replies::Replies;

/// These are thin: a leader is not told when its lease ends and another one is elected, a candidate whose lease ends while it
/// waits can still be told that it won, and [`observe`](Self::observe) does not tell that nobody leads. Guard each write by
/// the leader's key, or use the elections of the crate etcd-recipes, which watch their lease and carry a fencing token.
impl Client {
    /// Waits, without limit unless the view has one, until a lease leads an election, with `value` as what the leader has to
    /// say. The reply's `leader` stands for the leadership: [`proclaim`](Self::proclaim) and [`resign`](Self::resign) take it,
    /// and its key exists for as long as the leadership lasts. Candidates are elected in the order in which they came. A lease
    /// that is a candidate already changes its value.
    ///
    /// The leadership ends with the lease, so keep it alive; nobody else does. As for a [lock](Self::lock), no lease is
    /// refused here, where etcd would take one of its own. Sent again only when it was certainly not received; after an error
    /// whose [`outcome`](crate::Error::outcome) is unknown the lease may be a candidate, or lead, until it ends or is revoked.
    ///
    /// # Errors
    /// `Error::InvalidRequest` for lease 0; [`is_lease_not_found`](crate::Error::is_lease_not_found); those of
    /// [`send`](Self::send).
    ///
    /// Dropping the future withdraws the candidate; if it was elected by then, it leads until the lease ends.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use std::time::Duration;
    /// let lease = client.lease(Duration::from_secs(10)).await?;
    /// let leader = client.campaign("scheduler", &lease, "10.0.0.7").await?.leader;
    /// client.proclaim(leader.clone(), "10.0.0.7, ready").await?;
    /// client.resign(leader).await?;
    /// # Ok(()) }
    /// ```
    pub fn campaign(
        &self,
        name: impl IntoBytes,
        lease: impl Into<LeaseId>,
        value: impl IntoBytes,
    ) -> impl Future<Output = Result<CampaignResponse>> + Send + 'static {
        // After a lost connection the server withdraws what it was waiting for, and with it what was asked for again.
        let (client, lease) = (self.at_most_once(), owner(lease.into()));
        let (name, value) = (name.into_bytes(), value.into_bytes());
        async move {
            let lease = lease?;
            client.send(CampaignRequest { name, lease, value }).await
        }
    }

    /// Changes what the leader has to say. `leader` is what [`campaign`](Self::campaign) returned.
    ///
    /// # Errors
    /// `EtcdError::ElectionNotLeader` if it leads no more; those of [`send`](Self::send). Dropping the future leaves the
    /// outcome unknown.
    pub fn proclaim(
        &self,
        leader: impl Into<Option<LeaderKey>>,
        value: impl IntoBytes,
    ) -> impl Future<Output = Result<ProclaimResponse>> + Send + 'static {
        let (leader, value) = (leader.into(), value.into_bytes());
        self.send(ProclaimRequest { leader, value })
    }

    /// Who leads: the leadership's key with what the leader has to say.
    ///
    /// # Errors
    /// `EtcdError::ElectionNoLeader` if nobody leads; those of [`send`](Self::send). Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::EtcdError;
    /// match client.leader("scheduler").await {
    ///     Ok(leader) => println!("{:?}", leader.kv),
    ///     Err(error) if error.etcd() == Some(EtcdError::ElectionNoLeader) => println!("nobody"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn leader(
        &self,
        name: impl IntoBytes,
    ) -> impl Future<Output = Result<LeaderResponse>> + Send + 'static {
        let name = name.into_bytes();
        self.send(LeaderRequest { name })
    }

    /// Follows an election: who leads now, once somebody does, and each later leader and proclamation, of which some may be
    /// left out when they come quickly. Returns when the request was sent. It ends with the connection: follow it anew then.
    ///
    /// # Errors
    /// `Error::Timeout` or `Error::NoActiveEndpoint` when no endpoint takes it, `Error::Closed`. Dropping the future leaves
    /// nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let mut leaders = client.observe("scheduler").await?;
    /// while let Some(leader) = leaders.try_next().await? {
    ///     println!("{:?}", leader.kv);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn observe(
        &self,
        name: impl IntoBytes,
    ) -> impl Future<Output = Result<LeaderChanges>> + Send + 'static {
        let (client, name) = (self.clone(), name.into_bytes());
        async move {
            let replies = open(client.clone(), name.clone()).await?;
            Ok(LeaderChanges {
                replies,
                fresh: Some((client, name)),
                again: None,
            })
        }
    }

    /// Gives a leadership up, so that the next candidate is elected. That it leads no more is no error.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves the outcome unknown.
    pub fn resign(
        &self,
        leader: impl Into<Option<LeaderKey>>,
    ) -> impl Future<Output = Result<ResignResponse>> + Send + 'static {
        let leader = leader.into();
        self.send(ResignRequest { leader })
    }
}

/// The leaders of an election, one after the other.
///
/// Dropping it ends the call. It keeps the client's connections open, also when every [`Client`] is dropped.
#[must_use = "dropping it ends the call"]
pub struct LeaderChanges {
    replies: Replies<LeaderResponse>,
    /// What to ask anew with another token, until the first answer.
    fresh: Option<(Client, Bytes)>,
    again: Option<BoxFuture<'static, Result<Replies<LeaderResponse>>>>,
}

async fn open(client: Client, name: Bytes) -> Result<Replies<LeaderResponse>> {
    client
        .open(OBSERVE_PATH, LeaderRequest { name }, None)
        .await
}

impl LeaderChanges {
    /// The next leader, or the leader's next proclamation. Waits for it without limit, unless the view had one.
    ///
    /// # Errors
    /// `Error::Connection` and `Error::Server` when the call breaks off, `Error::Timeout`; then, and when the server ends it,
    /// `Ok(None)`.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<LeaderResponse>> {
        poll_fn(|cx| self.poll_leader(cx)).await
    }

    fn poll_leader(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<LeaderResponse>>> {
        loop {
            if let Some(again) = &mut self.again {
                let opened = ready!(again.as_mut().poll(cx));
                self.again = None;
                self.replies = opened?;
            }
            let reply = ready!(self.replies.poll_next(cx));
            match (&reply, self.fresh.take()) {
                (Err(error), Some((client, name))) if self.replies.is_stale(error) => {
                    self.again = Some(Box::pin(open(client, name)));
                }
                _ => return Poll::Ready(reply),
            }
        }
    }
}

impl Stream for LeaderChanges {
    type Item = Result<LeaderResponse>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_leader(cx)).transpose())
    }
}

impl std::fmt::Debug for LeaderChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderChanges")
            .field("endpoint", self.replies.name())
            .finish_non_exhaustive()
    }
}
