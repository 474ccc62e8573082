//! Put, get, delete: plain, and as values with options.
//!
//! `cargo run --example put_get` starts an etcd; `cargo run --example put_get -- LIST` uses yours.

use anyhow::{Context, Result};
use etcd_core::{Client, Delete, Get, Outcome, Put};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;

    client.put("put_get/a", "1").await?;
    let kv = client.get("put_get/a").await?.into_first();
    let kv = kv.context("it was put just now")?;
    println!("{:?} = {:?}, version {}", kv.key, kv.value, kv.version);

    // The same verb as a value: setters have the names of etcd's fields.
    let before = client.send(Put::new("put_get/a", "2").prev_kv()).await?;
    println!("before: {:?}", before.prev_kv.map(|kv| kv.value));
    client.put("put_get/b", "3").await?;

    let keys = client.get(Get::prefix("put_get/").keys_only()).await?;
    println!("{} keys as of revision {}", keys.count, keys.revision());
    // Of the past, as long as it was not compacted.
    let then = Get::key("put_get/a").revision(kv.mod_revision);
    println!(
        "then: {:?}",
        client.get(then).await?.into_first().map(|kv| kv.value)
    );

    match client.delete(Delete::prefix("put_get/")).await {
        Ok(deleted) => println!("{} deleted", deleted.deleted),
        // What became of a write is always said.
        Err(error) if error.outcome() == Outcome::NotApplied => println!("try again: {error}"),
        Err(error) => println!("look before you try again: {error}"),
    }
    Ok(())
}
