//! What happens to the members while the traffic runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use etcd_tests::wait::until;

use crate::gaps::Phase;
use crate::observe::Observed;
use crate::say::{ms, say};

/// How long each state of the cluster lasts once it is reached.
const SETTLE: Duration = Duration::from_secs(3);
const STOPPED: Duration = Duration::from_secs(6);
const LIMIT: Duration = Duration::from_secs(20);

/// The run of faults, and when each was.
pub(crate) async fn run(
    client: &Client,
    cluster: &Cluster,
    observed: &Observed,
) -> Result<Vec<Phase>> {
    let mut phases = Phases::default();
    phases.begin("no fault");
    tokio::time::sleep(SETTLE).await;

    let leader = cluster.wait_leader().await?;
    phases.begin("kill -9 of the leader");
    say!(
        "kill -9 of member {leader}, the leader, at {}",
        cluster.endpoint(leader)
    );
    kill(cluster, leader, observed).await?;
    tokio::time::sleep(SETTLE).await;
    println!("\n{}", client.endpoints());

    phases.begin("restart of the killed one");
    let start = Instant::now();
    cluster.restart(leader)?;
    cluster.wait_ready(leader).await?;
    say!(
        "member {leader} was restarted and serves after {}",
        ms(start.elapsed())
    );
    wait_active(client, 3).await?;
    say!("the client has it back after {}", ms(start.elapsed()));
    tokio::time::sleep(SETTLE).await;

    let follower = follower(client, cluster).await?;
    phases.begin("SIGSTOP of a follower");
    say!(
        "SIGSTOP of member {follower}, a follower that serves us, at {}",
        cluster.endpoint(follower)
    );
    stop(client, cluster, follower, observed).await?;

    phases.begin("SIGCONT of the stopped one");
    let start = Instant::now();
    cluster.resume(follower)?;
    wait_active(client, 3).await?;
    say!(
        "SIGCONT: the client has it back after {}",
        ms(start.elapsed())
    );
    tokio::time::sleep(SETTLE).await;
    Ok(phases.end())
}

async fn kill(cluster: &Cluster, leader: usize, observed: &Observed) -> Result<()> {
    let start = Instant::now();
    cluster.kill(leader).await?;
    let next = cluster.wait_leader().await?;
    say!("member {next} leads {} after the kill", ms(start.elapsed()));
    let elected = Instant::now();
    until("the watch delivers again", LIMIT, async || {
        observed.last() > Some(elected)
    })
    .await?;
    say!(
        "the watch delivers what was written since: {} after the kill",
        ms(start.elapsed())
    );
    Ok(())
}

async fn stop(
    client: &Client,
    cluster: &Cluster,
    follower: usize,
    observed: &Observed,
) -> Result<()> {
    let start = Instant::now();
    cluster.pause(follower)?;
    until("the stopped member is suspect", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await?;
    say!(
        "the client has noticed its silence after {}",
        ms(start.elapsed())
    );
    tokio::time::sleep(STOPPED.saturating_sub(start.elapsed())).await;
    let since = observed.last().context("nothing was delivered")?.elapsed();
    say!(
        "{} s later the watch has delivered {} ago; the endpoints:",
        STOPPED.as_secs(),
        ms(since)
    );
    println!("\n{}", client.endpoints());
    Ok(())
}

async fn wait_active(client: &Client, count: usize) -> Result<()> {
    until("every endpoint is active", LIMIT, async || {
        client.endpoints().active() == count
    })
    .await
}

/// The follower on which the most hangs: the watch, else calls.
async fn follower(client: &Client, cluster: &Cluster) -> Result<usize> {
    let leader = cluster.wait_leader().await?;
    let load = |i: &usize| {
        let endpoints = client.endpoints();
        let endpoint = cluster.endpoint(*i);
        let row = endpoints
            .rows()
            .iter()
            .find(|row| *row.endpoint == *endpoint);
        row.map(|row| (row.watchers, row.leases, row.in_flight))
    };
    let followers = (0..cluster.len()).filter(|i| *i != leader);
    followers
        .max_by_key(load)
        .context("a cluster of one has no follower")
}

#[derive(Default)]
struct Phases(Vec<Phase>);

impl Phases {
    /// A phase ends where the next one begins.
    fn begin(&mut self, name: &'static str) {
        let now = Instant::now();
        self.close(now);
        self.0.push(Phase {
            name,
            start: now,
            end: now,
        });
    }

    fn end(mut self) -> Vec<Phase> {
        self.close(Instant::now());
        self.0
    }

    fn close(&mut self, now: Instant) {
        if let Some(last) = self.0.last_mut() {
            last.end = now;
        }
    }
}
