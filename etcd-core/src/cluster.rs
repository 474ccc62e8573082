//! The cluster's membership.

use std::future::Future;

use etcd_proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse,
};

use crate::client::Client;
use crate::error::Result;

/// Members are named by their ids, as in [`member_list`](Self::member_list) and in the header of every reply. All but the list
/// are writes: sent again only when they were certainly not applied, so look at the list after an error whose
/// [`outcome`](crate::Error::outcome) is unknown. The client's own endpoints follow
/// the membership only if asked to ([`sync_endpoints`](Self::sync_endpoints)).
impl Client {
    /// The members, as the leader knows them: a linearizable read, since etcd 3.5.
    ///
    /// Without a leader that read fails. What one member knows by itself, possibly stale, is
    /// `send(MemberListRequest { linearizable: false })`; etcd 3.4 knows nothing else, and would not say so.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) when every endpoint is older than 3.5; those of [`send`](Self::send). Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// use etcd_core::proto::etcdserverpb::MemberListRequest;
    /// for member in client.member_list().await?.members {
    ///     println!("{:x} {} {:?}", member.id, member.name, member.client_urls);
    /// }
    /// let asked = client.endpoint("http://10.0.0.2:2379");
    /// let known = asked.send(MemberListRequest { linearizable: false }).await?.members;
    /// # Ok(()) }
    /// ```
    pub fn member_list(&self) -> impl Future<Output = Result<MemberListResponse>> + Send + use<> {
        self.send(MemberListRequest { linearizable: true })
    }

    /// Adds a voting member, which is then to be started with `--initial-cluster-state=existing`. It counts for the quorum at
    /// once, started or not: add one at a time, or add it [as a learner](Self::member_add_as_learner) first.
    ///
    /// # Errors
    /// `EtcdError::MemberBadUrls` for URLs that are none, `PeerUrlExists`, `MemberNotEnoughStarted` when the cluster would
    /// lose its quorum by it, `Unhealthy` until all members have been connected to each other for 5 s; otherwise those of
    /// [`send`](Self::send). Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let reply = client.member_add(["http://10.0.0.4:2380"]).await?;
    /// let id = reply.member.unwrap_or_default().id;
    /// # Ok(()) }
    /// ```
    pub fn member_add<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Result<MemberAddResponse>> + Send + 'static {
        self.send(MemberAddRequest {
            peer_urls: urls(peer_urls),
            is_learner: false,
        })
    }

    /// Adds a member that does not vote, since etcd 3.4: it is sent the data first, and serves only serializable reads until
    /// it is [promoted](Self::member_promote).
    ///
    /// # Errors
    /// `EtcdError::TooManyLearners` (etcd allows one unless told otherwise), and those of [`member_add`](Self::member_add).
    /// Dropping the future leaves the outcome unknown.
    pub fn member_add_as_learner<U: Into<String>>(
        &self,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Result<MemberAddResponse>> + Send + 'static {
        self.send(MemberAddRequest {
            peer_urls: urls(peer_urls),
            is_learner: true,
        })
    }

    /// Makes a learner that has caught up with the leader a voting member.
    ///
    /// # Errors
    /// `EtcdError::LearnerNotReady` until it has caught up: ask again. `MemberNotLearner`, `MemberNotFound`, and those of
    /// [`send`](Self::send). Dropping the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client, id: u64) -> etcd_core::Result<()> {
    /// use etcd_core::EtcdError;
    /// let promoted = loop {
    ///     match client.member_promote(id).await {
    ///         Err(error) if error.etcd() == Some(EtcdError::LearnerNotReady) => {
    ///             tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    ///         }
    ///         done => break done?,
    ///     }
    /// };
    /// # Ok(()) }
    /// ```
    pub fn member_promote(
        &self,
        id: u64,
    ) -> impl Future<Output = Result<MemberPromoteResponse>> + Send + use<> {
        self.send(MemberPromoteRequest { id })
    }

    /// Removes a member. It ends by itself when it learns it; its id never comes back.
    ///
    /// # Errors
    /// `EtcdError::MemberNotFound`, `MemberNotEnoughStarted` when the cluster would lose its quorum by it, `Unhealthy` until
    /// the other members have been connected to each other for 5 s, and those of [`send`](Self::send). Dropping the future
    /// leaves the outcome unknown.
    pub fn member_remove(
        &self,
        id: u64,
    ) -> impl Future<Output = Result<MemberRemoveResponse>> + Send + use<> {
        self.send(MemberRemoveRequest { id })
    }

    /// Replaces the peer URLs of a member, which must then be started on them.
    ///
    /// # Errors
    /// `EtcdError::MemberNotFound`, `MemberBadUrls`, `PeerUrlExists`, and those of [`send`](Self::send). Dropping the future
    /// leaves the outcome unknown.
    pub fn member_update<U: Into<String>>(
        &self,
        id: u64,
        peer_urls: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Result<MemberUpdateResponse>> + Send + 'static {
        self.send(MemberUpdateRequest {
            id,
            peer_urls: urls(peer_urls),
        })
    }
}

fn urls<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Vec<String> {
    urls.into_iter().map(Into::into).collect()
}
