//! What is not a key itself: leases, locks, elections, and the cluster as a whole.

use etcd_core::proto::etcdserverpb::MemberListRequest;
use etcd_core::proto::v3electionpb::{
    CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest,
};
use etcd_core::proto::v3lockpb::{LockRequest, UnlockRequest};
use etcd_core::{Get, Put};
use tokio::time::timeout;

use crate::{LIMIT, client, own};

#[tokio::test]
async fn a_lease_shows_only_its_keys_in_the_namespace() {
    let (client, prefix) = client().await;
    let [one, two] = ["1/", "2/"].map(|end| client.namespace(prefix.key(end)));
    let lease = one.lease(LIMIT).await.unwrap();
    for (view, key) in [(&one, "a"), (&one, "b"), (&two, "c")] {
        view.send(Put::new(key, "v").lease(&lease)).await.unwrap();
    }
    let exactly = prefix.key("1/");
    client
        .send(Put::new(exactly, "v").lease(&lease))
        .await
        .unwrap();
    let keys = async |view: &etcd_core::Client| {
        let mut keys = view.time_to_live(lease.id(), true).await.unwrap().keys;
        keys.sort();
        keys
    };
    assert_eq!(keys(&one).await, ["a", "b"]);
    assert_eq!(keys(&two).await, ["c"]);
    assert_eq!(keys(&client).await.len(), 4);
    // The lease itself is the cluster's, and takes all its keys with it.
    two.revoke(lease.id()).await.unwrap();
    assert_eq!(one.get(Get::all()).await.unwrap().count, 0);
}

#[tokio::test]
async fn a_lock_of_one_namespace_is_not_the_lock_of_another() {
    let (client, prefix) = client().await;
    let lease = client.grant(LIMIT).await.unwrap().id;
    let lock = LockRequest {
        name: "l".into(),
        lease: lease.into(),
    };
    let [one, two] = ["1/", "2/"].map(|end| client.namespace(prefix.key(end)));
    let mut keys = Vec::new();
    for view in [&one, &two] {
        let locked = timeout(LIMIT, view.send(lock.clone())).await.unwrap();
        keys.push(locked.unwrap().key);
    }
    assert_eq!(keys, vec![format!("l/{:x}", i64::from(lease)); 2]);
    for (view, end) in [(&one, "1/"), (&two, "2/")] {
        assert_eq!(view.get(&keys[0]).await.unwrap().count, 1);
        let full = [prefix.key(end).as_bytes(), &keys[0]].concat();
        assert_eq!(client.get(full).await.unwrap().count, 1);
    }
    one.send(UnlockRequest {
        key: keys[0].clone(),
    })
    .await
    .unwrap();
    assert_eq!(one.get(&keys[0]).await.unwrap().count, 0);
    assert_eq!(two.get(&keys[0]).await.unwrap().count, 1);
    client.revoke(lease).await.unwrap();
}

#[tokio::test]
async fn an_election_is_won_and_told_and_left_by_the_names_of_its_namespace() {
    let (client, prefix) = client().await;
    let lease = client.grant(LIMIT).await.unwrap().id;
    let [one, two] = ["1/", "2/"].map(|end| client.namespace(prefix.key(end)));
    let campaign = |value: &'static str| CampaignRequest {
        name: "e".into(),
        lease: lease.into(),
        value: value.into(),
    };
    let won = timeout(LIMIT, one.send(campaign("one"))).await.unwrap();
    let other = timeout(LIMIT, two.send(campaign("two"))).await.unwrap();
    let (leader, other) = (won.unwrap().leader, other.unwrap().leader);
    let key = leader.as_ref().unwrap();
    assert_eq!(key.name, "e");
    assert_eq!(key.key, format!("e/{:x}", i64::from(lease)));
    assert_eq!(other.as_ref().unwrap().key, key.key);

    let value = "changed".into();
    let proclaim = ProclaimRequest {
        leader: leader.clone(),
        value,
    };
    one.send(proclaim).await.unwrap();
    let ask = LeaderRequest { name: "e".into() };
    let now = one.send(ask.clone()).await.unwrap().kv.unwrap();
    assert_eq!((&now.key, &now.value[..]), (&key.key, &b"changed"[..]));
    assert_eq!(
        two.send(ask.clone()).await.unwrap().kv.unwrap().value,
        "two"
    );
    one.send(ResignRequest { leader }).await.unwrap();
    assert!(one.send(ask.clone()).await.is_err(), "nobody leads");
    two.send(ask).await.unwrap();
    client.revoke(lease).await.unwrap();
}

#[tokio::test]
async fn an_election_is_followed_by_the_names_of_its_namespace() {
    let (client, prefix) = client().await;
    let lease = client.grant(LIMIT).await.unwrap().id;
    let [one, two] = ["1/", "2/"].map(|end| client.namespace(prefix.key(end)));
    let mut leaders = one.observe("e").await.unwrap();
    for (view, value) in [(&two, "two"), (&one, "one")] {
        let campaign = view.campaign("e", lease, value);
        timeout(LIMIT, campaign).await.unwrap().unwrap();
    }
    let first = timeout(LIMIT, leaders.try_next()).await.unwrap();
    let kv = first.unwrap().unwrap().kv.unwrap();
    assert_eq!(kv.key, format!("e/{:x}", i64::from(lease)));
    assert_eq!(kv.value, "one");
    client.revoke(lease).await.unwrap();
}

/// Compaction is not confined: the history is everybody's.
#[tokio::test]
async fn what_names_no_key_is_asked_as_it_is() {
    let (_cluster, client) = own().await;
    let inside = client.namespace("app/");
    let first = client.put("beside", "1").await.unwrap().revision();
    let second = inside.put("k", "2").await.unwrap().revision();
    inside.compact(second).await.unwrap();
    let past = Get::key("beside").revision(first);
    assert!(client.get(past).await.unwrap_err().is_compacted());
    assert_eq!(
        inside.status().await.unwrap().version,
        client.status().await.unwrap().version
    );
    let members = MemberListRequest::default();
    assert_eq!(inside.send(members).await.unwrap().members.len(), 1);
}
