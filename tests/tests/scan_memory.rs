//! What a scan of a million keys costs in memory. In a process of its own: what it measures is the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Instant;

use etcd_core::{Client, Get, Put, Txn};
use etcd_tests::cluster::Cluster;
use futures_util::{StreamExt, stream};

const KEYS: usize = 1_000_000;
const SIZE: usize = 256;
/// Of the whole process.
const ALLOWED: usize = 32 << 20;

/// The most memory that this process had in use at once since it was last forgotten, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

async fn fill(client: &Client) {
    let batches = (0..KEYS / 100).map(|batch| {
        let puts = (batch * 100..(batch + 1) * 100)
            .map(|n| Put::new(format!("k{n:07}"), vec![n as u8; SIZE]));
        client.txn(puts.fold(Txn::new(), Txn::then))
    });
    let mut written = stream::iter(batches).buffer_unordered(8);
    while let Some(written) = written.next().await {
        written.unwrap();
    }
}

#[tokio::test]
async fn a_million_keys_are_scanned_in_32_mib() {
    let quota = ["--quota-backend-bytes=4294967296"];
    let cluster = Cluster::builder().args(quota).start().await.unwrap();
    let start = Instant::now();
    fill(&etcd_tests::connect(cluster.endpoint(0)).await.unwrap()).await;
    println!("filled in {:?}", start.elapsed());
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    // As a stream, and as one reply of 300 MB, which is what servers below 3.7 send.
    for (how, get) in [
        ("RangeStream", Get::all()),
        ("Range", Get::all().min_mod_revision(1)),
    ] {
        forget_peak();
        let (start, mut scan, mut count, mut bytes) = (Instant::now(), client.scan(get), 0, 0);
        while let Some(kv) = scan.try_next().await.unwrap() {
            count += 1;
            bytes += kv.key.len() + kv.value.len();
        }
        let peak = peak();
        println!("{how}: {:?}, peak {} KiB", start.elapsed(), peak >> 10);
        assert_eq!((count, bytes), (KEYS, KEYS * (8 + SIZE)));
        assert!(peak <= ALLOWED, "{peak} bytes");
    }
}
