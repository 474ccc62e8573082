//! Membership, on real members that come and go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::time::Duration;

use etcd_core::proto::etcdserverpb::{Member, MemberListRequest};
use etcd_core::{Client, Error, EtcdError, Get};
use etcd_tests::cluster::Cluster;
use etcd_tests::versions::since;
use etcd_tests::wait;

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn client(cluster: &Cluster) -> Client {
    let endpoints = cluster.endpoints();
    let client = etcd_tests::builder(endpoints).connect();
    client.await.unwrap()
}

/// As the leader knows them; etcd before 3.5 has no other list than what a member knows by itself.
async fn members(client: &Client) -> Vec<Member> {
    let listed = match client.member_list().await {
        Err(error) if error.is_unsupported() => {
            let linearizable = false;
            client.send(MemberListRequest { linearizable }).await
        }
        listed => listed,
    };
    listed.unwrap().members
}

async fn listed(client: &Client, id: u64) -> Option<Member> {
    let members = members(client).await;
    members.into_iter().find(|member| member.id == id)
}

fn etcd(error: &Error) -> EtcdError {
    error.etcd().unwrap_or_else(|| panic!("{error}"))
}

#[tokio::test]
async fn the_member_list_names_every_member_with_its_urls() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = client(&cluster).await;
    let mut members = members(&client).await;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = members.iter().map(|member| &member.name[..]).collect();
    assert_eq!(names, ["m0", "m1", "m2"]);
    for (i, member) in members.iter().enumerate() {
        assert_eq!(member.client_urls, [cluster.endpoint(i)]);
        assert_eq!(member.peer_urls, [cluster.peer_url(i)]);
        assert!(!member.is_learner && member.id != 0);
    }
    let version = cluster.version(0).await.unwrap();
    let listed = client.member_list().await;
    if let Some(mut listed) = since((3, 5), version, "MemberList linearizable", listed) {
        listed.members.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(listed.members, members);
    }
}

#[tokio::test]
async fn without_a_leader_only_the_serializable_member_list_is_answered() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = client(&cluster).await.endpoint(cluster.endpoint(0));
    assert_eq!(members(&client).await.len(), 3);
    cluster.kill(1).await.unwrap();
    cluster.kill(2).await.unwrap();
    let serializable = client.send(MemberListRequest {
        linearizable: false,
    });
    assert_eq!(serializable.await.unwrap().members.len(), 3);
    let linearizable = client.timeout(Duration::from_secs(2)).member_list().await;
    let error = linearizable.unwrap_err();
    if cluster.version(0).await.unwrap() >= (3, 5) {
        assert!(error.is_timeout() || error.is_no_leader(), "{error}");
    } else {
        assert!(error.is_unsupported(), "{error}");
    }
}

#[tokio::test]
async fn a_learner_is_added_joins_and_is_promoted_once_it_has_caught_up() {
    let mut cluster = Cluster::start(1).await.unwrap();
    let joining = cluster.prepare_member().unwrap();
    let client = client(&cluster).await;
    client.put("k", "v").await.unwrap();

    let added = client.member_add_as_learner([cluster.peer_url(joining)]);
    let added = added.await.unwrap();
    let id = added.member.unwrap().id;
    assert_eq!(added.members.len(), 2);
    let member = listed(&client, id).await.unwrap();
    assert!(member.is_learner && member.name.is_empty(), "{member:?}");
    // etcd has nothing to tell about its progress as long as it is not started.
    let early = client.member_promote(id).await.unwrap_err();
    assert_eq!(etcd(&early), EtcdError::LearnerNotReady, "{early}");

    cluster.restart(joining).unwrap();
    let learner = client.endpoint(cluster.endpoint(joining));
    let status = learner.timeout(LIMIT).status().await.unwrap();
    assert!(status.is_learner);
    assert_eq!(status.header.unwrap().member_id, id);
    only_serializable(&learner).await;

    promote(&client, id).await;
    assert!(!listed(&client, id).await.unwrap().is_learner);
    wait::until("the member itself knows it", LIMIT, async || {
        learner.put("k", "v2").await.is_ok()
    })
    .await
    .unwrap();
    let again = client.member_promote(id).await.unwrap_err();
    assert_eq!(etcd(&again), EtcdError::MemberNotLearner);
}

/// A learner serves serializable reads, its status and a snapshot, and nothing else.
async fn only_serializable(learner: &Client) {
    wait::until("the learner has the data", LIMIT, async || {
        let read = learner.get(Get::key("k").serializable()).await;
        read.is_ok_and(|read| read.kvs.len() == 1)
    })
    .await
    .unwrap();
    let mut snapshot = learner.snapshot().await.unwrap();
    while snapshot.try_next().await.unwrap().is_some() {}
    let refused = learner.timeout(Duration::from_secs(1)).get("k").await;
    let refused = refused.unwrap_err();
    assert_eq!(etcd(&refused), EtcdError::NotSupportedForLearner);
}

/// Promotes a learner, which is refused until it has caught up.
async fn promote(client: &Client, id: u64) {
    wait::until("the learner is promoted", LIMIT, async || {
        match client.member_promote(id).await {
            Ok(promoted) => {
                let member = promoted.members.into_iter().find(|m| m.id == id).unwrap();
                assert!(!member.is_learner);
                true
            }
            Err(error) => {
                assert_eq!(etcd(&error), EtcdError::LearnerNotReady, "{error}");
                false
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_member_is_added_and_removed_while_the_client_goes_on() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let joining = cluster.prepare_member().unwrap();
    let client = client(&cluster).await;
    let id = add(&client, cluster.peer_url(joining)).await;
    assert!(!listed(&client, id).await.unwrap().is_learner);
    cluster.restart(joining).unwrap();
    cluster.wait_ready(joining).await.unwrap();
    let new = client.endpoint(cluster.endpoint(joining)).timeout(LIMIT);
    new.put("k", "v").await.unwrap();
    assert_eq!(listed(&client, id).await.unwrap().name, "m3");

    let removed = client.member_remove(id).await.unwrap();
    assert_eq!(removed.members.len(), 3);
    assert_eq!(listed(&client, id).await, None);
    client.put("k", "v2").await.unwrap();
    let again = client.member_remove(id).await.unwrap_err();
    assert_eq!(etcd(&again), EtcdError::MemberNotFound);
}

/// Adds a voting member, which etcd refuses for the first seconds in which its members are connected to each other.
async fn add(client: &Client, peer_url: String) -> u64 {
    let mut id = 0;
    wait::until("the member is added", LIMIT, async || {
        match client.member_add([&peer_url]).await {
            Ok(added) => id = added.member.unwrap().id,
            Err(error) => assert_eq!(etcd(&error), EtcdError::Unhealthy, "{error}"),
        }
        id != 0
    })
    .await
    .unwrap();
    id
}

#[tokio::test]
async fn the_peer_urls_of_a_member_are_replaced() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let id = members(&client).await[0].id;
    let urls = [cluster.peer_url(0), "http://127.0.0.1:1".to_owned()];
    let updated = client.member_update(id, urls.clone()).await.unwrap();
    let of = |members: &[Member]| {
        let mut urls = members[0].peer_urls.clone();
        urls.sort();
        urls
    };
    let mut expected = urls.to_vec();
    expected.sort();
    assert_eq!(of(&updated.members), expected);
    assert_eq!(of(&members(&client).await), expected);
    let unknown = client.member_update(7, urls).await.unwrap_err();
    assert_eq!(etcd(&unknown), EtcdError::MemberNotFound);
}

#[tokio::test]
async fn what_the_cluster_refuses_is_said_by_its_name() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let id = members(&client).await[0].id;
    for (result, expected) in [
        (
            client.member_add(["no url"]).await.map(drop),
            EtcdError::MemberBadUrls,
        ),
        (
            client.member_add([cluster.peer_url(0)]).await.map(drop),
            EtcdError::PeerUrlExists,
        ),
        (
            client.member_promote(id).await.map(drop),
            EtcdError::MemberNotLearner,
        ),
        (
            client.member_promote(7).await.map(drop),
            EtcdError::MemberNotFound,
        ),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.etcd(), Some(expected), "{error}");
    }
    assert_eq!(members(&client).await.len(), 1);
}
