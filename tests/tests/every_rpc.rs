//! Every RPC of etcd's schema is called through this client and answered well by a real member, which counts them itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::time::Duration;

use etcd_core::proto::FILE_DESCRIPTOR_SET;
use etcd_core::proto::etcdserverpb::{AuthenticateRequest, MemberListRequest};
use etcd_core::{AlarmType, Client, Get, KeyRange, LeaseId, Permission, Put, Txn};
use etcd_tests::cluster::Cluster;
use etcd_tests::versions::{Version, since};
use etcd_tests::wait;
use prost::Message;
use prost_types::FileDescriptorSet;

const LIMIT: Duration = Duration::from_secs(60);

/// Not etcd's own.
const FOREIGN: &str = "grpc.health.v1";
/// They last until the client ends them, and so never end well: a reply on them is what can be had.
const ENDLESS: [&str; 3] = ["Watch", "LeaseKeepAlive", "Observe"];
/// Since which version there are those that not every release since 3.4 has.
const YOUNG: [(&str, Version); 3] = [
    ("etcdserverpb.KV/RangeStream", (3, 7)),
    ("etcdserverpb.Maintenance/Downgrade", (3, 5)),
    ("etcdserverpb.Auth/AuthStatus", (3, 5)),
];

#[tokio::test]
async fn every_rpc_of_the_schema_is_sent_by_this_client_and_answered_well() {
    let mut cluster = Cluster::start(1).await.unwrap();
    assert_eq!(unanswered(&cluster).await.len(), rpcs().len());
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let version = cluster.version(0).await.unwrap();
    kv(&client, version).await;
    leases_and_watches(&client).await;
    locks_and_elections(&client).await;
    maintenance(&client, version).await;
    membership(&mut cluster, &client).await;
    // The last: from then on only users are served.
    auth(&client, version).await;
    let lacking = YOUNG.into_iter().filter(|(_, since)| version < *since);
    let lacking: Vec<_> = lacking.map(|(rpc, _)| rpc).collect();
    let unanswered = unanswered(&cluster).await;
    assert_eq!(unanswered, lacking, "never answered well");
}

async fn kv(client: &Client, version: Version) {
    let revision = client.put("k", "v").await.unwrap().revision();
    client.get("k").await.unwrap();
    client.txn(Txn::new().then(Get::key("k"))).await.unwrap();
    let pieces = client.range_stream("k").await;
    if let Some(mut pieces) = since((3, 7), version, "RangeStream", pieces) {
        let mut keys = 0;
        while let Some(piece) = pieces.try_next().await.unwrap() {
            keys += piece.kvs.len();
        }
        assert_eq!(keys, 1);
    }
    client.delete("k").await.unwrap();
    client.compact(revision).await.unwrap();
}

async fn lease(client: &Client) -> LeaseId {
    client.grant(LIMIT).await.unwrap().id
}

async fn leases_and_watches(client: &Client) {
    let lease = lease(client).await;
    client.keep_alive_once(lease).await.unwrap();
    client.time_to_live(lease, true).await.unwrap();
    assert_eq!(client.leases().await.unwrap(), [lease]);
    let mut watcher = client.watch("w").await.unwrap();
    client.send(Put::new("w", "v").lease(lease)).await.unwrap();
    watcher.try_next().await.unwrap().unwrap();
    client.revoke(lease).await.unwrap();
}

async fn locks_and_elections(client: &Client) {
    let lease = lease(client).await;
    let lock = client.lock("lock", lease).await.unwrap();
    client.unlock(lock.key).await.unwrap();
    let leader = client.campaign("election", lease, "one").await;
    let leader = leader.unwrap().leader;
    let mut leaders = client.observe("election").await.unwrap();
    leaders.try_next().await.unwrap().unwrap();
    client.proclaim(leader.clone(), "two").await.unwrap();
    client.leader("election").await.unwrap();
    client.resign(leader).await.unwrap();
}

async fn maintenance(client: &Client, version: Version) {
    client.alarm_disarm(1, AlarmType::Corrupt).await.unwrap();
    client.defragment().await.unwrap();
    client.hash().await.unwrap();
    client.hash_kv(0).await.unwrap();
    let mut snapshot = client.snapshot().await.unwrap();
    while snapshot.try_next().await.unwrap().is_some() {}
    client.status().await.unwrap();
    let before = format!("{}.{}", version.0, version.1 - 1);
    let valid = client.downgrade_validate(before).await;
    since((3, 5), version, "Downgrade", valid);
}

/// A second member comes as a learner, is promoted, leads for a moment, and goes.
async fn membership(cluster: &mut Cluster, client: &Client) {
    let linearizable = false;
    let listed = client.send(MemberListRequest { linearizable }).await;
    let first = listed.unwrap().members[0].id;
    let joining = cluster.prepare_member().unwrap();
    let url = cluster.peer_url(joining);
    let added = client.member_add_as_learner([&url]).await.unwrap();
    let second = added.member.unwrap().id;
    cluster.restart(joining).unwrap();
    wait::until("the learner has caught up", LIMIT, async || {
        client.member_promote(second).await.is_ok()
    })
    .await
    .unwrap();
    client.member_update(second, [&url]).await.unwrap();
    let both = etcd_tests::builder(cluster.endpoints()).connect();
    let both = both.await.unwrap();
    client.move_leader(second).await.unwrap();
    wait::until("the first one leads again", LIMIT, async || {
        both.move_leader(first).await.is_ok()
    })
    .await
    .unwrap();
    // Not before the members have been connected for some seconds.
    wait::until("the second one is removed", LIMIT, async || {
        client.member_remove(second).await.is_ok()
    })
    .await
    .unwrap();
}

async fn auth(client: &Client, version: Version) {
    client.auth_disable().await.unwrap();
    let status = client.auth_status().await;
    since((3, 5), version, "AuthStatus", status);
    client.user_add("root", "old").await.unwrap();
    client.user_change_password("root", "new").await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_get("root").await.unwrap();
    client.role_list().await.unwrap();

    client.user_add_no_password("other").await.unwrap();
    client.role_add("app").await.unwrap();
    client.user_grant_role("other", "app").await.unwrap();
    let app = KeyRange::prefix("app/");
    let permission = Permission::read(app.clone());
    let granted = client.role_grant_permission("app", permission).await;
    granted.unwrap();
    client.role_get("app").await.unwrap();
    client.role_revoke_permission("app", app).await.unwrap();
    client.user_revoke_role("other", "app").await.unwrap();
    client.role_delete("app").await.unwrap();
    client.user_delete("other").await.unwrap();
    client.user_list().await.unwrap();

    client.auth_enable().await.unwrap();
    let (name, password) = ("root".to_owned(), "new".to_owned());
    let authenticated = client.send(AuthenticateRequest { name, password }).await;
    assert!(!authenticated.unwrap().token.is_empty());
}

/// The RPCs of the schema, as `service/method`, that the first member has not answered well so far.
async fn unanswered(cluster: &Cluster) -> Vec<String> {
    let metrics = cluster.metrics(0).await.unwrap();
    let answered = |service: &str, method: &str| {
        let mut of_rpc = vec![
            format!("grpc_service=\"{service}\""),
            format!("grpc_method=\"{method}\""),
        ];
        let metric = if ENDLESS.contains(&method) {
            "grpc_server_msg_sent_total{"
        } else {
            of_rpc.push("grpc_code=\"OK\"".to_owned());
            "grpc_server_handled_total{"
        };
        metrics.lines().any(|line| {
            let is_of_rpc = of_rpc.iter().all(|label| line.contains(label));
            line.starts_with(metric) && is_of_rpc && !line.ends_with(" 0")
        })
    };
    rpcs()
        .into_iter()
        .filter(|(service, method)| !answered(service, method))
        .map(|(service, method)| format!("{service}/{method}"))
        .collect()
}

fn rpcs() -> Vec<(String, String)> {
    let schema = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let own = schema.file.iter().filter(|file| file.package() != FOREIGN);
    own.flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let name = format!("{}.{}", file.package(), service.name());
            let methods = service.method.iter();
            methods.map(move |method| (name.clone(), method.name().to_owned()))
        })
    })
    .collect()
}
