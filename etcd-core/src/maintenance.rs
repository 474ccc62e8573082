//! What an operator asks a member.

use std::future::Future;

use etcd_proto::etcdserverpb::{StatusRequest, StatusResponse};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// The state of one member: version, sizes, leader, raft progress, alarms. Of any member; of a certain one with
    /// [`endpoint`](Self::endpoint).
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
    pub fn status(&self) -> impl Future<Output = Result<StatusResponse>> + Send + 'static + use<> {
        self.send(StatusRequest {})
    }
}
