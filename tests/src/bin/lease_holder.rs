//! Keeps a lease, and stops itself like a process in a debugger, a frozen container or a full swap. What it says of the
//! lease goes to standard output, a line each; somebody else lets it go on (SIGCONT).
//!
//! All its tasks run on one thread, and between being woken and asking the lease nothing else runs: what is seen first is
//! what a program sees whose keeper task has not been scheduled yet.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_core::{ClientBuilder, Lease};
use rustix::process::{Signal, getpid, kill_process};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let config = std::env::args()
        .nth(1)
        .context("usage: lease_holder CONNECTION_STRING")?;
    let client = config.parse::<ClientBuilder>()?.connect().await?;
    let lease = client.lease(Duration::from_secs(2)).await?;
    println!("{}", lease.id().0);
    // Longer than it lives without renewals.
    tokio::time::sleep(lease.ttl() * 3 / 2).await;
    println!("before: {}", word(&lease));
    kill_process(getpid(), Signal::STOP)?;
    println!("after: {}", word(&lease));
    println!("reason: {:?}", lease.lost().await);
    Ok(())
}

fn word(lease: &Lease) -> &'static str {
    if lease.is_valid() { "valid" } else { "lost" }
}
