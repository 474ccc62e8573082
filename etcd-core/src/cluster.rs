//! The cluster's membership.

use std::future::Future;

use etcd_proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// The members, as the leader knows them (a linearizable read; etcd before 3.5 answers from the member asked).
    ///
    /// # Errors
    /// Those of [`send`](Self::send). Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn run(client: etcd_core::Client) -> etcd_core::Result<()> {
    /// for member in client.member_list().await?.members {
    ///     println!("{:x} {} {:?}", member.id, member.name, member.client_urls);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn member_list(
        &self,
    ) -> impl Future<Output = Result<MemberListResponse>> + Send + 'static + use<> {
        self.send(MemberListRequest { linearizable: true })
    }
}
