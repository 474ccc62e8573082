//! The main job, shown on a real cluster: what `cargo xtask demo` starts.
//!
//! Traffic, a watch and a lease run throughout, while the leader is killed, a follower is stopped, and both come back. What
//! was acknowledged is then compared with what was delivered and with what is there. The exit status says whether all is well.

mod faults;
mod first_steps;
mod gaps;
mod ledger;
mod observe;
mod report;
mod say;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use etcd_core::{Client, Delete, Get, Put};
use etcd_tests::cluster::Cluster;
use tokio::signal::unix::{SignalKind, signal};

use self::gaps::Phase;
use self::observe::Observed;
use self::say::{ms, say};
use self::traffic::Traffic;

/// Long enough to live through an election; far shorter than the demo, so that it ends if it is not kept alive.
const LEASE_TTL: Duration = Duration::from_secs(8);
/// How long the watch may take over the last events when the traffic has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How long the traffic runs where nothing is broken: longer than the lease would last by itself.
const CALM: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Args {
    /// Use this cluster (a comma-separated list), under a key prefix that is cleaned up, and kill nothing
    #[arg(long, value_name = "LIST")]
    endpoints: Option<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
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
    let start = Instant::now();
    let ok = match args.endpoints {
        Some(endpoints) => on_theirs(&endpoints, stopped).await?,
        None => tokio::select! {
            result = on_own() => result?,
            () = stopped => bail!("stopped"),
        },
    };
    say!("done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// On a cluster of our own, which is killed and stopped.
async fn on_own() -> Result<bool> {
    say!("starting a real etcd cluster of three members");
    let start = Instant::now();
    let cluster = Cluster::start(3).await?;
    let endpoints = cluster.endpoints();
    say!(
        "it serves after {}: {}",
        ms(start.elapsed()),
        endpoints.join(" ")
    );
    let client = connect(&endpoints.join(",")).await?;
    let faults = async |observed: &Observed| faults::run(&client, &cluster, observed).await;
    run(&client, "demo/", faults).await
}

/// On the user's cluster, where nothing is broken and nothing is left behind.
async fn on_theirs(endpoints: &str, stopped: impl Future<Output = ()>) -> Result<bool> {
    let client = connect(endpoints).await?;
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let (nanos, process) = (nanos.as_nanos(), std::process::id());
    let prefix = format!("etcd-demo/{nanos:x}-{process:x}/");
    say!("everything is under the prefix {prefix}");
    let calm = async |_: &Observed| {
        let start = Instant::now();
        tokio::select! {
            () = tokio::time::sleep(CALM) => {}
            () = stopped => bail!("stopped"),
        }
        let end = Instant::now();
        Ok(vec![Phase {
            name: "no fault",
            start,
            end,
        }])
    };
    let result = run(&client, &prefix, calm).await;
    let reply = client.delete(Delete::prefix(prefix)).await;
    say!(
        "cleaned up: {} keys deleted",
        reply.context("cannot clean up")?.deleted
    );
    result
}

async fn connect(endpoints: &str) -> Result<Client> {
    let start = Instant::now();
    let client = Client::builder()
        .endpoints([endpoints])
        .name("demo")
        .connect()
        .await?;
    say!("connected in {}", ms(start.elapsed()));
    Ok(client)
}

/// Runs traffic, a watch and a lease during `faults`; true if nothing was lost.
async fn run(
    client: &Client,
    prefix: &str,
    faults: impl AsyncFnOnce(&Observed) -> Result<Vec<Phase>>,
) -> Result<bool> {
    first_steps::show(client, prefix).await?;

    let lease = client.lease(LEASE_TTL).await?;
    let (id, ttl) = (lease.id(), lease.ttl());
    let lease_key = format!("{prefix}lease");
    let tied = Put::new(lease_key.clone(), "alive").lease(&lease);
    client.send(tied).await?;
    say!("lease {id} with a TTL of {ttl:?} is kept alive from now on; a key is tied to it");
    let data: Arc<str> = format!("{prefix}data/").into();
    let observed = Observed::start(client, &data).await?;
    say!("watching everything under {data}");
    let (writers, readers, limit) = (traffic::WRITERS, traffic::READERS, traffic::PUT_LIMIT);
    let traffic = Traffic::start(client, &data);
    say!("{writers} tasks put unique values, each within {limit:?}; {readers} read single keys");

    let phases = faults(&observed).await;
    let endpoints = client.endpoints();
    let log = traffic.stop().await?;
    let phases = phases?;

    let last = client.put(format!("{data}end"), "").await?.revision();
    say!("traffic ended at revision {last}; waiting for the watch to deliver it");
    let events = observed.finish(last, DRAIN_LIMIT).await?;
    let all = Get::prefix(data.to_string()).revision(last);
    let there = ledger::there(&client.get(all).await?);
    let facts = report::Facts {
        log: &log,
        events: &events,
        verdict: &ledger::check(&log.puts, &events.seen, &there, last),
        phases: &phases,
        lease_kept: lease.is_valid() && client.get(lease_key).await?.first().is_some(),
    };
    let ok = report::print(&facts);
    println!("\n{endpoints}");
    lease.revoke().await?;
    Ok(ok)
}
