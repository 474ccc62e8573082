//! The plain verbs, one at a time.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use etcd_core::{Client, Compare, Get, Put, Txn};

use crate::say::{ms, say};

pub(crate) async fn show(client: &Client, prefix: &str) -> Result<()> {
    let key = format!("{prefix}greeting");

    let start = Instant::now();
    let revision = client.put(key.clone(), "hello").await?.revision();
    say!(
        "put {key} = hello: {}, revision {revision}",
        ms(start.elapsed())
    );

    let start = Instant::now();
    let kv = client
        .get(key.clone())
        .await?
        .into_first()
        .context("what was put is not there")?;
    say!("get {key}: {}, {:?}", ms(start.elapsed()), kv.value_str()?);
    ensure!(
        kv.value == "hello" && kv.mod_revision == revision,
        "what was put is not what was read"
    );

    let start = Instant::now();
    let swap = Txn::new()
        .when(Compare::mod_revision(key.clone()).equals(revision))
        .then((Put::new(key.clone(), "hello again"), Get::key(key.clone())));
    let swapped = client.txn(swap.clone()).await?;
    ensure!(
        swapped.succeeded,
        "the transaction's condition holds, but it failed"
    );
    say!(
        "txn, if {key} is still at revision {revision} put it: {}, revision {}",
        ms(start.elapsed()),
        swapped.revision()
    );
    ensure!(
        !client.txn(swap).await?.succeeded,
        "the same transaction succeeded twice"
    );
    say!("the same txn again is refused: its condition no longer holds");
    Ok(())
}
