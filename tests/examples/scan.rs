//! A scan: a range of any size, key by key, in bounded memory.
//!
//! `cargo run --example scan` starts an etcd; `cargo run --example scan -- LIST` uses yours.

use anyhow::Result;
use etcd_core::{Client, Delete, Get, Op, Put, Txn};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;

    for hundred in 0..50 {
        let puts = (0..100).map(|n| {
            let key = format!("scan/{:04}", hundred * 100 + n);
            Op::from(Put::new(key, vec![b'v'; 256]))
        });
        client
            .txn(Txn::new().then(puts.collect::<Vec<_>>()))
            .await?;
    }

    // Neither this program nor the server (from 3.7 on) ever holds all of it.
    let mut scan = client.scan(Get::prefix("scan/"));
    let (mut keys, mut bytes) = (0, 0);
    while let Some(kv) = scan.try_next().await? {
        keys += 1;
        bytes += kv.value.len();
    }
    println!(
        "{keys} keys, {bytes} bytes, of revision {:?}",
        scan.revision()
    );

    let deleted = client.delete(Delete::prefix("scan/")).await?.deleted;
    println!("{deleted} deleted");
    Ok(())
}
