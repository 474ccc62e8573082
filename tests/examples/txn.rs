//! Transactions: a counter that many raise at once, and none of them twice.
//!
//! `cargo run --example txn` starts an etcd; `cargo run --example txn -- LIST` uses yours.

use anyhow::Result;
use etcd_core::{Client, Compare, Get, Put, Txn};
use etcd_tests::example::Etcd;

const KEY: &str = "txn/counter";

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;

    // Created once, whoever comes first.
    let create = Txn::new()
        .when(Compare::create_revision(KEY).equals(0))
        .then(Put::new(KEY, "0"))
        .or_else(Get::key(KEY));
    let created = client.txn(create).await?.succeeded;
    println!("{}", if created { "created" } else { "it was there" });

    let workers = (0..4).map(|_| tokio::spawn(raise(client.clone(), 5)));
    for worker in workers.collect::<Vec<_>>() {
        println!("a worker tried {} times", worker.await??);
    }
    let kv = client.get(KEY).await?.into_first();
    println!("the counter is at {:?}", kv.map(|kv| kv.value));
    client.delete(KEY).await?;
    Ok(())
}

/// Raises the counter; how often that was tried.
async fn raise(client: Client, times: usize) -> Result<usize> {
    let (mut raised, mut tried) = (0, 0);
    while raised < times {
        tried += 1;
        let Some(kv) = client.get(KEY).await?.into_first() else {
            continue;
        };
        let next = std::str::from_utf8(&kv.value)?.parse::<u64>()? + 1;
        // Only if nobody else has raised it meanwhile.
        let swap = Txn::new()
            .when(Compare::mod_revision(KEY).equals(kv.mod_revision))
            .then(Put::new(KEY, next.to_string()));
        raised += usize::from(client.txn(swap).await?.succeeded);
    }
    Ok(tried)
}
