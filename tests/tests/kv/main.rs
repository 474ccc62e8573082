//! Put, get, delete and compact against real etcd.
//!
//! Most tests share one cluster, or the user's (`ETCD_ENDPOINTS`), and keep to a prefix of their own. Those that touch what
//! is not theirs, the history and other keys, start a cluster of their own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod compact;
mod delete;
mod get;
mod put;

use etcd_core::Client;
use etcd_core::proto::etcdserverpb::RangeResponse;
use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_tests::cluster::{Prefix, Target};
use tonic::transport::Channel;

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// The generated stub on a channel of tonic's: shows what the server itself says to a request that our client does not send.
async fn bare() -> KvClient<Channel> {
    let endpoint = Target::get().await.unwrap().endpoints()[0].clone();
    KvClient::new(etcd_tests::tls::channel(endpoint).await.unwrap())
}

/// The key under `prefix` that ends in these bytes.
fn key(prefix: &Prefix, end: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), end].concat()
}

/// The keys of a reply in their order, without the prefix.
fn ends(reply: &RangeResponse, prefix: &Prefix) -> Vec<Vec<u8>> {
    let end = |key: &[u8]| key.strip_prefix(prefix.as_bytes()).unwrap().to_vec();
    reply.kvs.iter().map(|kv| end(&kv.key)).collect()
}
