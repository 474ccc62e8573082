//! `kill -9` of the member that serves us.

use std::time::Duration;

use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::load::{Load, Report};
use etcd_tests::wait;

use super::{LIMIT, check, connect, followers, only_unknown_writes_failed};

/// Kills member `victim` under 16 workers, sees its endpoint frozen while calls go on, restarts it, and sees the endpoint active.
async fn kill(cluster: &Cluster, client: &Client, victim: usize) -> Report {
    let endpoint = cluster.endpoint(victim);
    let load = Load::start(client, "load/", 8, 8).await.unwrap();
    load.more(200, 200, LIMIT).await.unwrap();

    // Stopped for a moment, so that calls are in flight on it when it dies.
    cluster.pause(victim).unwrap();
    let caught = async || endpoints::row(client, &endpoint).unwrap().in_flight > 0;
    wait::until("calls are caught", LIMIT, caught)
        .await
        .unwrap();
    cluster.kill(victim).await.unwrap();

    endpoints::frozen(client, &endpoint, Duration::from_secs(1))
        .await
        .unwrap();
    load.more(200, 200, LIMIT).await.unwrap();
    println!("{}", client.endpoints());

    cluster.restart(victim).unwrap();
    cluster.wait_ready(victim).await.unwrap();
    endpoints::active(client, &endpoint, LIMIT).await.unwrap();
    let ranges = [("grpc_method", "Range"), ("grpc_code", "OK")];
    let serves = async || {
        let handled = cluster.metric(victim, "grpc_server_handled_total", &ranges);
        handled.await.is_ok_and(|handled| handled > 0.0)
    };
    wait::until("it serves again", LIMIT, serves).await.unwrap();
    load.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_follower_that_serves_us_fails_no_read_and_the_truth_is_told_about_writes() {
    let cluster = Cluster::start(3).await.unwrap();
    // Without the leader, half of the calls are on the one that dies.
    let followers = followers(&cluster).await;
    let client = connect(followers.iter().map(|i| cluster.endpoint(*i))).await;

    let (report, slack) = wait::with_slack(kill(&cluster, &client, followers[0])).await;
    only_unknown_writes_failed(&report);
    // What the members ask each other on behalf of a read they ask again after 0.5 s, when it was lost.
    assert!(report.reads.longest_gap() < Duration::from_millis(1_100) + slack);
    assert!(report.puts.longest_gap() < Duration::from_millis(1_100) + slack);
    let tally = check(&report, &client).await;
    // Of 8 workers, and of the 20 that arrive in a second.
    assert!(tally.unknown_applied + tally.unknown_lost < 15, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_fails_no_read_and_the_truth_is_told_about_writes() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let client = connect(cluster.endpoints()).await;

    let report = kill(&cluster, &client, leader).await;
    only_unknown_writes_failed(&report);
    // An election takes etcd 1 to 2 s. Puts that reach a follower before it has noticed are lost, and end after etcd's own 7 s.
    assert!(report.reads.longest_gap() < Duration::from_secs(4));
    assert!(report.puts.longest_gap() < Duration::from_secs(4));
    assert!(report.reads.slowest() < Duration::from_secs(5));
    assert!(report.puts.slowest() < Duration::from_millis(7_800));
    check(&report, &client).await;
}
