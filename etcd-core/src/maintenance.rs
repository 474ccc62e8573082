//! What an operator asks of members.

use std::future::Future;
use std::sync::Arc;

use etcd_proto::etcdserverpb::alarm_request::AlarmAction;
use etcd_proto::etcdserverpb::downgrade_request::DowngradeAction;
use etcd_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::pool::state::Want;
use crate::request::Request;

/// What is about one member goes to the one chosen with [`endpoint`](Self::endpoint), or to
/// [each in turn](Self::each_member).
impl Client {
    /// Runs a verb on each member in turn, never on two at a time, and returns one result for each endpoint of the client.
    ///
    /// A member that is not connected is waited for, until the time limit of the view, or for as long as `connect` waits for
    /// one (5 s unless told otherwise); with [`wait_ready(false)`](Self::wait_ready) it is not. A failure does not keep the
    /// others from their turn. Members that are behind none of the client's endpoints are not reached.
    ///
    /// Dropping the future ends the verb that is under way, and those to come.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// for (endpoint, result) in client.each_member(|member| member.defragment()).await {
    ///     println!("{endpoint}: {result:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn each_member<T, F>(
        &self,
        mut verb: impl FnMut(Client) -> F,
    ) -> Vec<(Arc<str>, Result<T>)>
    where
        F: Future<Output = Result<T>>,
    {
        let mut results = Vec::new();
        for endpoint in self.urls() {
            let result = match self.member_at(&endpoint).await {
                Ok(member) => verb(member).await,
                Err(error) => Err(error),
            };
            results.push((endpoint, result));
        }
        results
    }

    /// The state of one member: version, sizes, leader, raft progress, alarms. Of any member, unless one is chosen.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let status = client.endpoint("http://10.0.0.2:2379").status().await?;
    /// println!("{} leader {:x}", status.version, status.leader);
    /// # Ok(()) }
    /// ```
    pub fn status(&self) -> impl Future<Output = Result<StatusResponse>> + Send + use<> {
        self.send(StatusRequest {})
    }

    /// Gives the space that compaction has freed in a member's database back to the file system. The member answers nothing
    /// else meanwhile, which can take long: do one after the other, the leader last. No time limit, unless the view has one.
    ///
    /// # Errors
    /// `Error::InvalidRequest` if no member is chosen and the client has more than one endpoint; those of
    /// [`send`](Self::send). Dropping the future does not stop it on the server.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// client.endpoint("http://10.0.0.2:2379").defragment().await?;
    /// # Ok(()) }
    /// ```
    pub fn defragment(&self) -> impl Future<Output = Result<DefragmentResponse>> + Send + use<> {
        self.send_to_chosen(DefragmentRequest {})
    }

    /// The CRC32 of all keys of a member with their history up to `revision`, 0 for the latest. Equal on all members that
    /// have compacted at the same revision. No time limit, unless the view has one.
    ///
    /// # Errors
    /// Those of [`defragment`](Self::defragment), [`is_compacted`](Error::is_compacted),
    /// [`is_future_revision`](Error::is_future_revision). Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let revision = client.get("any").await?.revision();
    /// for (endpoint, result) in client.each_member(|member| member.hash_kv(revision)).await {
    ///     println!("{endpoint}: {:08x}", result?.hash);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn hash_kv(
        &self,
        revision: i64,
    ) -> impl Future<Output = Result<HashKvResponse>> + Send + use<> {
        self.send_to_chosen(HashKvRequest { revision })
    }

    /// The CRC32 of a member's whole database, which differs between members that hold the same keys: compare
    /// [`hash_kv`](Self::hash_kv). No time limit, unless the view has one.
    ///
    /// # Errors
    /// Those of [`defragment`](Self::defragment). Dropping the future leaves nothing behind.
    pub fn hash(&self) -> impl Future<Output = Result<HashResponse>> + Send + use<> {
        self.send_to_chosen(HashRequest {})
    }

    /// The alarms that are raised.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn alarm_list(&self) -> impl Future<Output = Result<AlarmResponse>> + Send + use<> {
        self.send(AlarmRequest::default())
    }

    /// Clears an alarm of a member. That removes no cause: a member without space raises it again unless it was compacted
    /// and defragmented.
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Clearing an alarm that is not raised is none. Dropping the future leaves the outcome
    /// unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// for raised in client.alarm_list().await?.alarms {
    ///     client.alarm_disarm(raised.member_id, raised.alarm()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn alarm_disarm(
        &self,
        member_id: u64,
        alarm: AlarmType,
    ) -> impl Future<Output = Result<AlarmResponse>> + Send + use<> {
        self.send(disarm(AlarmMember {
            member_id,
            alarm: alarm.into(),
        }))
    }

    /// Clears every alarm that is raised, and returns them.
    ///
    /// # Errors
    /// The first one of [`alarm_list`](Self::alarm_list) and [`alarm_disarm`](Self::alarm_disarm). Dropping the future leaves
    /// the outcome unknown.
    pub fn alarm_disarm_all(
        &self,
    ) -> impl Future<Output = Result<Vec<AlarmMember>>> + Send + use<> {
        let client = self.clone();
        async move {
            let raised = client.alarm_list().await?.alarms;
            for alarm in &raised {
                client.send(disarm(*alarm)).await?;
            }
            Ok(raised)
        }
    }

    /// Makes another member the leader. Only the leader can: unless a member is chosen, the one is asked that says in its
    /// Status that it leads.
    ///
    /// # Errors
    /// `EtcdError::BadLeaderTransferee` if the target is no voting member; `NotLeader` if the chosen one does not lead, or
    /// nobody does; `Error::Config` if the leader is none of the client's endpoints; those of [`send`](Self::send). Dropping
    /// the future leaves the outcome unknown.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// let next = client.endpoint("http://10.0.0.2:2379").status().await?.header.unwrap_or_default();
    /// client.move_leader(next.member_id).await?;
    /// # Ok(()) }
    /// ```
    pub fn move_leader(
        &self,
        target_id: u64,
    ) -> impl Future<Output = Result<MoveLeaderResponse>> + Send + use<> {
        let client = self.clone();
        async move {
            let leader = match client.view().endpoint {
                Some(_) => client,
                None => client.leader_member().await?,
            };
            leader.send(MoveLeaderRequest { target_id }).await
        }
    }

    /// Asks whether the cluster could be downgraded to a version, such as `3.6`: one minor version at a time. Since etcd 3.5.
    ///
    /// # Errors
    /// `EtcdError::InvalidDowngradeTargetVersion`, `WrongDowngradeVersionFormat`, `DowngradeInProcess`; those of
    /// [`send`](Self::send). Dropping the future leaves nothing behind.
    pub fn downgrade_validate(
        &self,
        version: impl Into<String>,
    ) -> impl Future<Output = Result<DowngradeResponse>> + Send + 'static {
        self.send(downgrade(DowngradeAction::Validate, version.into()))
    }

    /// Begins a downgrade: the members then may be replaced, one by one, by ones of that version. Since etcd 3.6.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) before etcd 3.6 (3.5 would begin what it cannot complete, and nothing is
    /// sent to it); those of [`downgrade_validate`](Self::downgrade_validate). Dropping the future leaves the outcome unknown.
    pub fn downgrade_enable(
        &self,
        version: impl Into<String>,
    ) -> impl Future<Output = Result<DowngradeResponse>> + Send + 'static {
        self.send(downgrade(DowngradeAction::Enable, version.into()))
    }

    /// Ends a downgrade that was begun. Since etcd 3.6.
    ///
    /// # Errors
    /// `EtcdError::NoInflightDowngrade` of etcd 3.5 if none was begun; those of [`send`](Self::send). Dropping the future leaves
    /// the outcome unknown.
    pub fn downgrade_cancel(
        &self,
    ) -> impl Future<Output = Result<DowngradeResponse>> + Send + use<> {
        self.send(downgrade(DowngradeAction::Cancel, String::new()))
    }

    /// The URLs of the client's endpoints.
    fn urls(&self) -> Vec<Arc<str>> {
        let rows = self.pool().snapshot();
        rows.iter()
            .map(|(view, _)| view.endpoint.url().clone())
            .collect()
    }

    /// Sends what is about one member only if it is clear which.
    fn send_to_chosen<R: Request>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<<R::Wire as etcd_proto::rpc::Unary>::Reply>> + Send + use<R>
    {
        let chosen = self.view().endpoint.is_some() || self.urls().len() == 1;
        let reply = chosen.then(|| self.send(request));
        async move {
            match reply {
                Some(reply) => reply.await,
                None => Err(Error::invalid_request(
                    "it is about one member: choose it with endpoint(), or run it on each with each_member()",
                )),
            }
        }
    }

    /// A view of the member at one endpoint, once it is connected, that does not wait for it again.
    async fn member_at(&self, endpoint: &str) -> Result<Client> {
        let member = self.endpoint(endpoint).wait_ready(false);
        if self.view().wait_ready {
            let want = Want {
                pinned: member.pinned()?,
                ..Want::default()
            };
            let limit = self
                .view()
                .timeout
                .unwrap_or(self.shared.options.dial_timeout);
            let connected = self.pool().acquire(&want);
            if let Ok(connected) = tokio::time::timeout(limit, connected).await {
                connected?;
            }
        }
        Ok(member)
    }

    /// The member that leads: the first one that says so of itself, or any if nobody knows a leader.
    async fn leader_member(&self) -> Result<Client> {
        let ask = async |endpoint: Arc<str>| -> Result<_> {
            let member = self.member_at(&endpoint).await?;
            Ok((member.status().await?, member))
        };
        let mut answers: FuturesUnordered<_> = self.urls().into_iter().map(ask).collect();
        let mut known = 0;
        while let Some(answer) = answers.next().await {
            let Ok((status, member)) = answer else {
                continue;
            };
            let member_id = status.header.map_or(0, |header| header.member_id);
            if status.leader != 0 && status.leader == member_id {
                return Ok(member);
            }
            known = status.leader.max(known);
        }
        match known {
            0 => Ok(self.clone()),
            _ => Err(Error::config(
                "endpoints",
                format!("member {known:x} leads, and answers at none of them"),
            )),
        }
    }
}

fn disarm(alarm: AlarmMember) -> AlarmRequest {
    AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: alarm.member_id,
        alarm: alarm.alarm,
    }
}

fn downgrade(action: DowngradeAction, version: String) -> DowngradeRequest {
    DowngradeRequest {
        action: action.into(),
        version,
    }
}
