//! TLS: whom to trust, and how a mistake is told.
//!
//! `cargo run --example tls` starts an etcd with certificates of its own; `cargo run --example tls -- LIST CA_FILE` uses yours.

use anyhow::{Context, Result};
use etcd_core::{Client, Tls};
use etcd_tests::cluster::Cluster;
use etcd_tests::example::Etcd;
use etcd_tests::tls::Authority;

#[tokio::main]
async fn main() -> Result<()> {
    let (etcd, tls) = match std::env::args().nth(2) {
        // A file is read again when it changes; see also `identity_files`, `platform_roots`, `server_name`.
        Some(ca) => (Etcd::given_or_own().await?, Tls::new().ca_file(ca)),
        None => {
            let etcd = Etcd::own(Cluster::builder().tls(true)).await?;
            (etcd, Tls::new().ca_pem(Authority::shared()?.pem()))
        }
    };
    let endpoints = || etcd.endpoints().split(',');
    let client = Client::builder().endpoints(endpoints()).tls(tls);
    let client = client.connect().await?;
    client.put("tls/a", "nobody else can read this").await?;
    println!("{}", client.endpoints());
    client.delete("tls/a").await?;

    // An authority that has nothing to do with it.
    let wrong = Tls::new().ca_pem(Authority::new("another")?.pem());
    let refused = Client::builder().endpoints(endpoints()).tls(wrong);
    let error = refused.connect().await.err();
    let error = error.context("who trusts another authority is not let through")?;
    println!("{:?}\n{error}", error.tls());
    Ok(())
}
