//! The list follows the cluster's member list.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::{
    Member, MemberListRequest, MemberListResponse, ResponseHeader,
};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Error, EtcdError};
use etcd_tests::cluster::Cluster;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

use crate::{LIMIT, all_active, left, list, servers};

async fn listed(client: &Client, endpoints: &[String]) {
    let holds = async || {
        let mut list = list(client);
        list.sort();
        let mut endpoints = endpoints.to_vec();
        endpoints.sort();
        list == endpoints
    };
    let came = wait::until("the list is as it should be", LIMIT, holds).await;
    came.unwrap_or_else(|error| panic!("{error}: {endpoints:?}\n{}", client.endpoints()));
}

#[tokio::test]
async fn endpoints_come_and_go_with_the_members_and_learners_are_none() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let joining = cluster.prepare_member().unwrap();
    let client = etcd_tests::builder([cluster.endpoint(0)]);
    let client = client.auto_sync(Duration::from_millis(100));
    let client = client.connect().await.unwrap();
    let three: Vec<_> = (0..3).map(|i| cluster.endpoint(i)).collect();
    let asked = Instant::now();
    listed(&client, &three).await;
    all_active(&client).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{asked:?}");

    let id = add_learner(&client, &cluster, joining).await;
    client.sync_endpoints().await.unwrap();
    assert_eq!(list(&client).len(), 3, "it has not started");
    cluster.restart(joining).unwrap();
    let promoted = async || match client.member_promote(id).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.etcd(), Some(EtcdError::LearnerNotReady), "{error}");
            // It may have started, and is a learner.
            client.sync_endpoints().await.unwrap();
            assert_eq!(list(&client).len(), 3);
            false
        }
    };
    wait::until("it is promoted", LIMIT, promoted)
        .await
        .unwrap();
    let four = [&three[..], &[cluster.endpoint(joining)]].concat();
    listed(&client, &four).await;
    all_active(&client).await;

    let gone = removable(&client, &cluster, 1).await;
    listed(&client, &[&four[..1], &four[2..]].concat()).await;
    assert_ne!(gone, id);
}

async fn add_learner(client: &Client, cluster: &Cluster, joining: usize) -> u64 {
    let mut id = None;
    let added = async || {
        let added = client
            .member_add_as_learner([cluster.peer_url(joining)])
            .await;
        id = added.ok().and_then(|added| Some(added.member?.id));
        id.is_some()
    };
    wait::until("etcd takes it", LIMIT, added).await.unwrap();
    id.unwrap()
}

/// Removes a member, which etcd refuses while its members are not long enough connected; its id.
async fn removable(client: &Client, cluster: &Cluster, member: usize) -> u64 {
    let url = cluster.endpoint(member);
    let id = etcd_tests::endpoints::row(client, &url).unwrap().member_id;
    wait::until("it is removed", LIMIT, async || {
        client.member_remove(id).await.is_ok()
    })
    .await
    .unwrap();
    id
}

#[tokio::test]
async fn after_a_sync_the_one_endpoint_that_was_given_may_die() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    client.sync_endpoints().await.unwrap();
    all_active(&client).await;
    assert_eq!(list(&client)[0], cluster.endpoint(0));
    assert_eq!(list(&client).len(), 3);
    cluster.kill(0).await.unwrap();
    for _ in 0..20 {
        client.get("k").await.unwrap();
    }
    // It stays in the list, though its member is down.
    client.sync_endpoints().await.unwrap();
    assert_eq!(list(&client)[0], cluster.endpoint(0));
}

fn members(cluster_id: u64, members: &[(u64, &str)]) -> Reply {
    let member = |(id, url): &(u64, &str)| Member {
        id: *id,
        client_urls: vec![(*url).to_owned()],
        ..Member::default()
    };
    Reply::message(&MemberListResponse {
        header: Some(ResponseHeader {
            cluster_id,
            ..ResponseHeader::default()
        }),
        members: members.iter().map(member).collect(),
    })
}

#[tokio::test]
async fn a_list_of_another_cluster_or_of_nobody_changes_nothing() {
    let servers = servers(2).await;
    let [a, b] = &servers[..] else { panic!() };
    let answers = |cluster_id: u64, url: Option<String>| {
        a.script(move |request| match (request.path.as_str(), &url) {
            (MemberListRequest::PATH, Some(url)) => members(cluster_id, &[(2, url)]),
            (MemberListRequest::PATH, None) => members(cluster_id, &[]),
            _ => request.usual(),
        });
    };
    let client = etcd_tests::connect(a.endpoint()).await.unwrap();
    answers(7, Some(b.endpoint()));
    client.sync_endpoints().await.unwrap();
    let both = [a.endpoint(), b.endpoint()];
    assert_eq!(list(&client), both);
    let pinned = client.endpoint(a.endpoint());
    answers(7, None);
    // The list is asked for where the leader is: member 1.
    pinned.sync_endpoints().await.unwrap();
    assert_eq!(list(&client), both);
    answers(8, Some("http://127.0.0.1:1".to_owned()));
    let error = client.sync_endpoints().await.unwrap_err();
    assert!(matches!(error, Error::ClusterChanged(_)), "{error}");
    assert_eq!(list(&client), both);
}

#[tokio::test]
async fn who_follows_ends_with_the_client_also_in_the_middle_of_a_round() {
    let script = |request: &Request| match request.path.as_str() {
        MemberListRequest::PATH => Reply::silence(),
        _ => request.usual(),
    };
    let server = Scripted::start(script).await.unwrap();
    let client = etcd_tests::builder([server.endpoint()]).auto_sync(Duration::from_millis(10));
    let client = client.connect().await.unwrap();
    wait::until("a round is under way", LIMIT, async || {
        server.seen(MemberListRequest::PATH) > 0
    })
    .await
    .unwrap();
    drop(client);
    let dropped = Instant::now();
    left(&server).await;
    assert!(
        dropped.elapsed() < Duration::from_millis(1_500),
        "{dropped:?}"
    );
}
