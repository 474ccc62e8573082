//! SIGSTOP of the member that serves us: its sockets stay open, and nothing answers.

use std::time::{Duration, Instant};

use etcd_core::{Client, Outcome};
use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::load::{Load, Report, slowest_read};
use etcd_tests::wait;

use super::{LIMIT, check, connect, followers, only_unknown_writes_failed};

/// Stops member `victim` under 16 workers until it has been declared dead, lets it go on, and sees it active.
async fn pause(cluster: &Cluster, client: &Client, victim: usize) -> Report {
    let endpoint = cluster.endpoint(victim);
    let load = Load::start(client, "load/", 8, 8).await.unwrap();
    load.more(200, 200, LIMIT).await.unwrap();

    cluster.pause(victim).unwrap();
    let (slowest, slack) = wait::with_slack(slowest_read(client, 30)).await;
    let slowest = slowest.unwrap();
    assert!(slowest < Duration::from_millis(500) + slack, "{slowest:?}");
    endpoints::frozen(client, &endpoint, LIMIT).await.unwrap();
    println!("{}", client.endpoints());
    load.more(200, 200, LIMIT).await.unwrap();

    cluster.resume(victim).unwrap();
    endpoints::active(client, &endpoint, LIMIT).await.unwrap();
    let report = load.stop().await;
    cluster.wait_ready(victim).await.unwrap();
    report
}

#[tokio::test]
async fn reads_leave_a_stopped_follower_within_half_a_second_and_writes_on_it_end_as_unknown() {
    let cluster = Cluster::start(3).await.unwrap();
    let followers = followers(&cluster).await;
    let client = connect(followers.iter().map(|i| cluster.endpoint(*i))).await;

    let (report, slack) = wait::with_slack(pause(&cluster, &client, followers[0])).await;
    only_unknown_writes_failed(&report);
    // What the members ask each other on behalf of a read they ask again after 0.5 s, when it was lost.
    assert!(report.reads.slowest() < Duration::from_millis(1_100) + slack);
    assert!(report.puts.longest_gap() < Duration::from_millis(500) + slack);
    // Suspect after 0.3 s, dead 3 s after the PING in the middle of that.
    assert!(report.puts.slowest() < Duration::from_millis(3_800) + slack);
    // Those that were sent to it before it was suspect: of 8 workers, and of the 20 that arrive in a second.
    let tally = check(&report, &client).await;
    let unknown = tally.unknown_applied + tally.unknown_lost;
    assert!(unknown < 20 || !slack.is_zero(), "{tally:?}");

    let pinned = client.endpoint(cluster.endpoint(followers[0]));
    let read = pinned.get("load/first").await.unwrap();
    assert!(read.into_first().is_some(), "it serves again");
}

#[tokio::test]
async fn a_stopped_leader_hangs_nothing_to_its_deadline() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let client = connect(cluster.endpoints()).await;

    let (report, slack) = wait::with_slack(pause(&cluster, &client, leader)).await;
    only_unknown_writes_failed(&report);
    assert!(report.reads.longest_gap() < Duration::from_secs(4) + slack);
    assert!(report.puts.longest_gap() < Duration::from_secs(4) + slack);
    assert!(report.reads.slowest() < Duration::from_secs(5) + slack);
    assert!(report.puts.slowest() < Duration::from_millis(7_800));
    check(&report, &client).await;
}

#[tokio::test]
async fn a_write_pinned_to_a_stopped_member_ends_as_unknown_and_is_never_sent_twice() {
    let cluster = Cluster::start(3).await.unwrap();
    let victim = followers(&cluster).await[0];
    let client = connect(cluster.endpoints()).await;
    let pinned = client.endpoint(cluster.endpoint(victim));
    pinned.get("k").await.unwrap();

    cluster.pause(victim).unwrap();
    let sent = Instant::now();
    let (put, slack) = wait::with_slack(pinned.put("k", "v")).await;
    let (took, error) = (sent.elapsed(), put.unwrap_err());
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(took > Duration::from_millis(2_900), "{took:?}");
    assert!(took < Duration::from_millis(3_800) + slack, "{took:?}");

    cluster.resume(victim).unwrap();
    cluster.wait_ready(victim).await.unwrap();
    // The member reads what waits in its sockets before it answers on a new connection.
    let kv = pinned.get("k").await.unwrap().into_first();
    assert!(kv.as_ref().is_none_or(|kv| kv.version == 1), "{kv:?}");
}
