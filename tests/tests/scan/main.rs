//! Scans: every key of a range once and in order, of one revision, whatever happens on the way.
//!
//! | module | shows |
//! |---|---|
//! | [`read`] | what is asked for comes; on real etcd |
//! | [`broken`] | connections that break, members that die, replies that are not whole |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod broken;
mod read;

use std::time::Duration;

use etcd_core::proto::mvccpb::KeyValue;
use etcd_core::{Client, Error, Put, Scan, Txn};
use futures_util::future::join_all;
use tokio::time::timeout;

/// For conditions that come true soon on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The name of the `n`th key; they are in this order.
fn key(prefix: &str, n: usize) -> String {
    format!("{prefix}{n:07}")
}

/// Writes keys with values of `size` bytes; the revision of the last one.
async fn fill(client: &Client, prefix: &str, count: usize, size: usize) -> i64 {
    let numbers: Vec<usize> = (0..count).collect();
    let mut last = 0;
    for some in numbers.chunks(100 * 8) {
        let writes = some.chunks(100).map(|some| {
            let puts = some
                .iter()
                .map(|n| Put::new(key(prefix, *n), value(*n, size)));
            client.txn(puts.fold(Txn::new(), Txn::then))
        });
        for written in join_all(writes).await {
            last = last.max(written.unwrap().revision());
        }
    }
    last
}

fn value(n: usize, size: usize) -> Vec<u8> {
    let mut value = n.to_be_bytes().to_vec();
    value.resize(size, n as u8);
    value
}

/// All that comes.
async fn all(mut scan: Scan) -> Result<Vec<KeyValue>, Error> {
    let mut kvs = Vec::new();
    let end = async {
        while let Some(kv) = scan.try_next().await? {
            kvs.push(kv);
        }
        scan.try_next().await
    };
    assert!(timeout(LIMIT, end).await.unwrap()?.is_none());
    Ok(kvs)
}
