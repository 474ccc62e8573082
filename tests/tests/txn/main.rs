//! Transactions against real etcd: the shared cluster, or the user's (`ETCD_ENDPOINTS`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod compare;
mod limits;
mod run;

use etcd_core::Client;
use etcd_core::proto::etcdserverpb::TxnResponse;
use etcd_core::proto::etcdserverpb::response_op::Response;
use etcd_tests::cluster::{Prefix, Target};

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// The answers to the operations that were run, in order.
fn answers(reply: TxnResponse) -> Vec<Response> {
    let answer = |op: etcd_core::proto::etcdserverpb::ResponseOp| op.response.unwrap();
    reply.responses.into_iter().map(answer).collect()
}

/// The value of a key now; `None` if it is not there.
async fn value(client: &Client, key: String) -> Option<String> {
    let kv = client.get(key).await.unwrap().into_first()?;
    Some(kv.value_str().unwrap().to_owned())
}
