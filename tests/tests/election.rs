//! The server's own elections.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::time::Duration;

use etcd_core::proto::v3electionpb::LeaderResponse;
use etcd_core::{Client, EtcdError, Get, LeaderChanges, LeaseId};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::wait;
use tokio::time::timeout;

/// For what happens at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

async fn lease(client: &Client) -> LeaseId {
    client.grant(LIMIT).await.unwrap().id
}

/// Waits until the election has so many candidates, of which the first leads.
async fn candidates(client: &Client, name: &str, number: i64) {
    wait::until("the election has its candidates", LIMIT, async || {
        let keys = Get::prefix(format!("{name}/")).count_only();
        client.get(keys).await.unwrap().count == number
    })
    .await
    .unwrap();
}

fn value(leader: &LeaderResponse) -> &str {
    leader.kv.as_ref().unwrap().value_str().unwrap()
}

async fn next(leaders: &mut LeaderChanges) -> String {
    let next = timeout(LIMIT, leaders.try_next()).await.unwrap();
    value(&next.unwrap().unwrap()).to_owned()
}

#[tokio::test]
async fn nobody_leads_an_election_without_candidates() {
    let (client, prefix) = client().await;
    let error = client.leader(prefix.key("e")).await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::ElectionNoLeader), "{error}");
}

#[tokio::test]
async fn the_candidate_that_waits_is_elected_when_the_leader_resigns() {
    let (client, prefix) = client().await;
    let name = prefix.key("e");
    let first = client.campaign(&name, lease(&client).await, "one").await;
    let first = first.unwrap().leader;
    assert_eq!(value(&client.leader(&name).await.unwrap()), "one");

    let waiting = tokio::spawn(client.campaign(&name, lease(&client).await, "two"));
    candidates(&client, &name, 2).await;
    assert_eq!(value(&client.leader(&name).await.unwrap()), "one");
    assert!(!waiting.is_finished());
    client.resign(first.clone()).await.unwrap();
    // Long before the first lease would expire.
    let second = timeout(LIMIT / 2, waiting).await.unwrap();
    let second = second.unwrap().unwrap().leader.unwrap();
    assert_eq!(value(&client.leader(&name).await.unwrap()), "two");
    assert!(second.rev > first.clone().unwrap().rev);

    client.resign(first).await.unwrap();
    assert_eq!(value(&client.leader(&name).await.unwrap()), "two");
    client.resign(second).await.unwrap();
    let error = client.leader(&name).await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::ElectionNoLeader), "{error}");
}

#[tokio::test]
async fn an_observer_sees_each_proclamation_and_the_next_leader() {
    let (client, prefix) = client().await;
    let name = prefix.key("e");
    // Before anybody leads there is nothing to see.
    let mut leaders = client.observe(&name).await.unwrap();
    let leader = client.campaign(&name, lease(&client).await, "V1").await;
    let leader = leader.unwrap().leader;
    assert_eq!(next(&mut leaders).await, "V1");
    for value in ["V2", "V3"] {
        client.proclaim(leader.clone(), value).await.unwrap();
        assert_eq!(next(&mut leaders).await, value);
    }
    let mut late = client.observe(&name).await.unwrap();
    assert_eq!(next(&mut late).await, "V3");

    client.resign(leader.clone()).await.unwrap();
    let other = client.campaign(&name, lease(&client).await, "other").await;
    other.unwrap();
    assert_eq!(next(&mut leaders).await, "other");
    let error = client.proclaim(leader, "V4").await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::ElectionNotLeader), "{error}");
}

#[tokio::test]
async fn a_candidate_whose_future_was_dropped_never_wins_and_leaves_no_key() {
    let (client, prefix) = client().await;
    let name = prefix.key("e");
    let leader = client.campaign(&name, lease(&client).await, "leader").await;
    let leader = leader.unwrap().leader;
    let gone = lease(&client).await;
    let dropped = tokio::spawn(client.campaign(&name, gone, "dropped"));
    candidates(&client, &name, 2).await;
    dropped.abort();
    candidates(&client, &name, 1).await;
    client.resign(leader).await.unwrap();
    let error = client.leader(&name).await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::ElectionNoLeader), "{error}");
    let keys = client.time_to_live(gone, true).await.unwrap().keys;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_second_campaign_of_the_leader_changes_its_value() {
    let (client, prefix) = client().await;
    let (name, lease) = (prefix.key("e"), lease(&client).await);
    let once = client.campaign(&name, lease, "one").await.unwrap().leader;
    let twice = client.campaign(&name, lease, "two").await.unwrap().leader;
    assert_eq!(once, twice);
    assert_eq!(value(&client.leader(&name).await.unwrap()), "two");
}

#[tokio::test]
async fn observing_ends_when_the_client_is_closed() {
    let (client, prefix) = client().await;
    let mut leaders = client.observe(prefix.key("e")).await.unwrap();
    client.close();
    let error = timeout(LIMIT, leaders.try_next()).await.unwrap();
    let error = error.unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert_eq!(leaders.try_next().await.unwrap(), None);
}
