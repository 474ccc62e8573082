//! Members die, stop and come back under load: what callers see.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod kill;
mod outage;
mod pause;
mod rolling;

use std::time::Duration;

use etcd_core::{Client, Outcome};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::load::{Report, Tally};

/// For what must happen, but may take its time on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A client that is connected to all of `endpoints`.
async fn connect(endpoints: impl IntoIterator<Item = String>) -> Client {
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    let client = etcd_tests::builder(&endpoints).connect().await;
    let client = client.unwrap();
    for endpoint in &endpoints {
        let active = endpoints::active(&client, endpoint, LIMIT).await;
        active.unwrap();
    }
    client
}

/// The members that do not lead.
async fn followers(cluster: &Cluster) -> Vec<usize> {
    let leader = cluster.wait_leader().await.unwrap();
    (0..cluster.len()).filter(|i| *i != leader).collect()
}

/// Every read was answered, and every put that failed is one of which nobody can know whether it was applied.
fn only_unknown_writes_failed(report: &Report) {
    println!(
        "longest gap: reads {:?}, puts {:?}; slowest: read {:?}, put {:?}",
        report.reads.longest_gap(),
        report.puts.longest_gap(),
        report.reads.slowest(),
        report.puts.slowest()
    );
    for (put, error) in report.puts.errors() {
        println!("{:?} {error}", put.took());
    }
    assert!(
        report.reads.errors().is_empty(),
        "{:#?}",
        report.reads.errors()
    );
    let refused = |error: &etcd_core::Error| error.outcome() == Outcome::NotApplied;
    assert!(
        !report.puts.errors().iter().any(|(_, error)| refused(error)),
        "{:#?}",
        report.puts.errors()
    );
}

async fn check(report: &Report, client: &Client) -> Tally {
    let tally = report.check(client).await.unwrap();
    println!("{tally:?}");
    tally
}
