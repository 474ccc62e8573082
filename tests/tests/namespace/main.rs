//! Namespaces against real etcd: whatever is done in one, the keys around it are neither seen nor touched.
//!
//! | file | about |
//! |---|---|
//! | [`neighbours`] | everything a namespace can read and delete, with keys seeded just beside it |
//! | [`watches`] | watches, with others writing at the same time |
//! | [`services`] | leases, the server's locks and elections, and what is passed on as it is |
//! | [`unsent`] | what is refused unsent, and what the caller is told; scripted |
//! | [`hostile`] | servers that answer with keys nobody asked for; scripted |

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod hostile;
mod neighbours;
mod services;
mod unsent;
mod watches;

use std::time::Duration;

use bytes::Bytes;
use etcd_core::proto::mvccpb::KeyValue;
use etcd_core::{Client, Get};
use etcd_tests::cluster::{Cluster, Prefix, Target};

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Prefixes with an end of each kind: the usual one, one with a carry, none at all; and one that looks like etcd's sign for
/// no end.
const PREFIXES: [&[u8]; 6] = [b"app/", b"a\xff", b"\xff", b"\xff\xff", b"\0", b"k"];

/// A client of the shared cluster, and a prefix for the keys of one test.
async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// A cluster for a test that reads and writes anywhere.
async fn own() -> (Cluster, Client) {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    (cluster, client)
}

/// Keys beside a prefix, as close to it as a key can be: itself, what it begins with, what comes before it, what comes after
/// all keys that begin with it, and both ends of all keys.
fn beside(prefix: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = vec![prefix.to_vec(), b"\0".to_vec(), b"\xff\xff\xff".to_vec()];
    let (&last, head) = prefix.split_last().unwrap();
    keys.push(head.to_vec());
    for byte in [last.wrapping_sub(1), last.wrapping_add(1)] {
        keys.push([head, &[byte]].concat());
        keys.push([head, &[byte, 0xff, 0xff]].concat());
        keys.push([head, &[byte], b"k"].concat());
    }
    let end = prefix.iter().rposition(|byte| *byte != 0xff);
    keys.extend(end.map(|last| [&prefix[..last], &[prefix[last] + 1]].concat()));
    keys.retain(|key| !key.is_empty() && (key == prefix || !key.starts_with(prefix)));
    keys.sort();
    keys.dedup();
    keys
}

/// Every key there is outside the prefix, with its revisions: untouched means equal.
async fn outside(client: &Client, prefix: &[u8]) -> Vec<KeyValue> {
    let mut all = client.get(Get::all()).await.unwrap().kvs;
    all.retain(|kv| kv.key == prefix || !kv.key.starts_with(prefix));
    all
}

fn keys(kvs: &[KeyValue]) -> Vec<Bytes> {
    kvs.iter().map(|kv| kv.key.clone()).collect()
}
