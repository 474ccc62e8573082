//! A namespace: a client that sees keys under one prefix, and no others.
//!
//! `cargo run --example namespace` starts an etcd; `cargo run --example namespace -- LIST` uses yours.

use anyhow::{Context, Result};
use etcd_core::{Client, Delete, Get, Watch};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;
    // A view: a client like any other, on the same connections.
    let blue = client.namespace("namespace/blue/");
    let green = client.namespace("namespace/green/");

    let mut watcher = blue.watch(Watch::all()).await?;
    blue.put("color", "blue").await?;
    green.put("color", "green").await?;
    for view in [&blue, &green] {
        let kv = view.get("color").await?.into_first();
        println!("{:?}", kv.map(|kv| (kv.key, kv.value)));
    }
    // All is all of the namespace.
    println!("blue has {} keys", blue.get(Get::all()).await?.count);
    let batch = watcher.try_next().await?.context("it goes on")?;
    println!("and saw {} events", batch.events.len());

    // Without the view, the keys have their whole names.
    let all = client.get(Get::prefix("namespace/").keys_only()).await?;
    for kv in &all.kvs {
        println!("{:?}", kv.key);
    }
    let deleted = blue.delete(Delete::all()).await?.deleted;
    let left = client.get(Get::prefix("namespace/")).await?.count;
    println!("{deleted} deleted, {left} left");
    green.delete(Delete::all()).await?;
    Ok(())
}
