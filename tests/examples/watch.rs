//! A watch: what is there, and every change from then on, without a gap.
//!
//! `cargo run --example watch` starts an etcd; `cargo run --example watch -- LIST` uses yours.

use anyhow::{Context, Result};
use etcd_core::{Client, Delete, Get, Watch};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;
    client.put("watch/a", "before").await?;

    // A read, and a watch from the revision after it: nothing is missed between the two.
    let now = client.get(Get::prefix("watch/")).await?;
    println!("{} keys as of revision {}", now.kvs.len(), now.revision());
    let changes = Watch::prefix("watch/").start_revision(now.revision() + 1);
    let mut watcher = client.watch(changes.prev_kv()).await?;

    client.put("watch/a", "after").await?;
    client.put("watch/b", "new").await?;
    client.delete(Delete::prefix("watch/")).await?;

    // Whole revisions, in order, also when members fail meanwhile.
    let mut seen = 0;
    while seen < 4 {
        let batch = watcher.try_next().await?.context("nobody cancelled it")?;
        seen += batch.events.len();
        for event in &batch.events {
            let what = if event.is_delete() { "deleted" } else { "put" };
            let key = event.kv.as_ref().map(|kv| &kv.key);
            let before = event.prev_kv.as_ref().map(|kv| &kv.value);
            println!(
                "up to {}: {key:?} {what}, it was {before:?}",
                batch.revision
            );
        }
    }
    println!("a new watch would go on at {}", watcher.next_revision());
    watcher.cancel().await?;
    Ok(())
}
