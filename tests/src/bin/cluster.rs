//! Runs a real etcd cluster until it is told to stop: what `cargo xtask etcd` starts.

use anyhow::Result;
use clap::Parser;
use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use tokio::signal::unix::{SignalKind, signal};

/// Where etcd users look first, where these ports are free.
const CLIENT_PORTS: [u16; 3] = [2379, 2479, 2579];

#[derive(Parser)]
struct Args {
    /// How many members
    #[arg(long, default_value_t = 1)]
    members: u8,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let members = Args::parse().members.into();
    // Before the first process is started, so that none is left behind whenever a signal comes.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        ended = run(members) => ended,
        () = stopped => {
            println!("\nstopped; its data is gone");
            Ok(())
        }
    }
}

/// Returns only with an error.
async fn run(members: usize) -> Result<()> {
    let cluster = Cluster::builder()
        .members(members)
        .client_ports(CLIENT_PORTS)
        .tls(false)
        .start()
        .await?;
    let endpoints = cluster.endpoints().join(",");
    let version = Client::connect(&endpoints).await?.status().await?.version;
    println!(
        "etcd {version}, members: {members}, data in {}\n\n    {endpoints}\n\n\
        in Rust:     etcd_core::Client::connect(\"{endpoints}\").await?\n\
        the demo:    cargo xtask demo --endpoints {endpoints}\n\
        the suites:  ETCD_ENDPOINTS={endpoints} cargo test -p etcd-tests\n\
        to end it:   Ctrl-C, and its data goes with it\n",
        cluster.dir().display(),
    );
    std::future::pending().await
}
