//! A lease: kept alive while its handle lives, with keys that go when it goes.
//!
//! `cargo run --example lease` starts an etcd; `cargo run --example lease -- LIST` uses yours.

use std::time::Duration;

use anyhow::Result;
use etcd_core::{Client, Put};
use etcd_tests::example::Etcd;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;

    let lease = client.lease(Duration::from_secs(5)).await?;
    println!("lease {}, granted for {:?}", lease.id(), lease.ttl());
    client
        .send(Put::new("lease/me", "10.0.0.7:80").lease(&lease))
        .await?;

    // Work goes on only while the lease can be relied on, which is told in time.
    let work = async {
        for step in 1..=3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            println!(
                "step {step}: {:?}, for {:?} at least",
                lease.state(),
                lease.remaining()
            );
        }
    };
    tokio::select! {
        () = work => println!("done"),
        reason = lease.lost() => println!("stopped: {reason}"),
    }

    let reply = client.time_to_live(lease.id(), true).await?;
    println!("etcd keeps {} keys for {} s", reply.keys.len(), reply.ttl);
    // Dropping it would leave the key there until the time to live is over.
    lease.revoke().await?;
    let gone = client.get("lease/me").await?.into_first().is_none();
    println!("valid: {}, the key is gone: {gone}", lease.is_valid());
    Ok(())
}
