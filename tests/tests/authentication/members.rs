//! Real members: tokens that expire or are taken back, authentication that is switched on and off.

use std::time::{Duration, Instant};

use etcd_core::{Client, Compare, EtcdError, Get, Put, Txn, Watch, Watcher};
use etcd_tests::cluster::Cluster;
use etcd_tests::versions::differs;
use etcd_tests::wait;
use tokio::time::timeout;

use crate::{LIMIT, PASSWORD, Secured};

/// The keys that the watcher delivers, until `last`.
async fn until(watcher: &mut Watcher, last: &str) -> Vec<String> {
    let mut keys = Vec::new();
    while keys.last().map(String::as_str) != Some(last) {
        let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
        let events = batch.unwrap().unwrap().events;
        let key = |event: &etcd_core::proto::mvccpb::Event| {
            String::from_utf8(event.kv.as_ref().unwrap().key.to_vec()).unwrap()
        };
        keys.extend(events.iter().map(key));
    }
    keys
}

/// Something of every kind; none of it may fail.
async fn use_everything(client: &Client, key: &str) {
    client.put(key, "v").await.unwrap();
    client.get(Get::prefix("app/")).await.unwrap();
    let swap = Txn::new().when(Compare::version(key).greater(0));
    client.txn(swap.then(Put::new(key, "w"))).await.unwrap();
    client.delete(key).await.unwrap();
    let lease = client.grant(Duration::from_secs(60)).await.unwrap();
    client.keep_alive_once(lease.id).await.unwrap();
    client.revoke(lease.id).await.unwrap();
    // A stream, where etcd has one.
    client.scan(Get::prefix("app/")).try_next().await.unwrap();
}

#[tokio::test]
async fn one_login_serves_all_calls_watches_and_leases() {
    let secured = Secured::start(&[]).await;
    let before = secured.logins().await;
    let client = secured.builder().credentials("alice", PASSWORD);
    let client = client.build().unwrap();
    let puts = (0..50).map(|i| client.put(format!("app/{i}"), "v"));
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    let _watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    let _lease = client.lease(Duration::from_secs(10)).await.unwrap();
    use_everything(&client, "app/k").await;
    assert_eq!(secured.logins().await - before, 1);
}

/// §C 10.
#[tokio::test]
async fn after_its_token_is_taken_back_the_next_call_logs_in_once_and_succeeds() {
    let secured = Secured::start(&[]).await;
    let client = secured.alice().await;
    client.put("app/k", "1").await.unwrap();
    for i in 2..5 {
        secured.take_tokens_back().await;
        let before = secured.logins().await;
        client.put("app/k", i.to_string()).await.unwrap();
        assert_eq!(secured.logins().await - before, 1);
        let kv = client.get("app/k").await.unwrap().into_first().unwrap();
        assert_eq!(
            (kv.version, &kv.value[..]),
            (i, i.to_string().as_bytes()),
            "written once"
        );
    }
}

/// Longer than a token lives that nobody shows; a member looks for old ones once a second.
async fn let_the_token_expire() {
    let unused = Instant::now();
    wait::until("the token has expired", LIMIT, async || {
        unused.elapsed() > Duration::from_millis(4_500)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn tokens_that_live_three_seconds_are_replaced_and_nobody_notices() {
    let secured = Secured::start(&["--auth-token-ttl=3"]).await;
    let client = secured.alice().await;
    let mut watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    let before = secured.logins().await;
    for round in 0..3 {
        let_the_token_expire().await;
        let mut later = client.watch(Watch::prefix("app/")).await.unwrap();
        use_everything(&client, &format!("app/{round}")).await;
        until(&mut later, &format!("app/{round}")).await;
    }
    client.put("app/end", "v").await.unwrap();
    let seen = until(&mut watcher, "app/end").await;
    let rounds = (0..9).map(|i| format!("app/{}", i / 3));
    let expected: Vec<_> = rounds.chain(["app/end".to_owned()]).collect();
    assert_eq!(seen, expected, "the first watch has missed nothing");
    assert_eq!(secured.logins().await - before, 3);
}

#[tokio::test]
async fn a_lease_that_is_renewed_more_rarely_than_tokens_live_is_kept() {
    let secured = Secured::start(&["--auth-token-ttl=3"]).await;
    let client = secured.alice().await;
    let before = secured.logins().await;
    let lease = client.lease(Duration::from_secs(15)).await.unwrap();
    client
        .send(Put::new("app/leased", "v").lease(&lease))
        .await
        .unwrap();
    // Renewals every 5 s: each finds the token expired.
    let start = Instant::now();
    wait::until("it has been renewed three times", LIMIT, async || {
        assert!(lease.is_valid(), "{:?}", lease.state());
        start.elapsed() > Duration::from_secs(17)
    })
    .await
    .unwrap();
    assert!(secured.logins().await - before >= 3);
    assert!(
        client
            .get("app/leased")
            .await
            .unwrap()
            .into_first()
            .is_some()
    );
}

#[tokio::test]
async fn a_watch_that_is_begun_with_a_stale_token_disturbs_no_other() {
    let secured = Secured::start(&[]).await;
    let client = secured.alice().await;
    let mut first = client.watch(Watch::prefix("app/")).await.unwrap();
    let streams = async || {
        let labels = [("grpc_method", "Watch"), ("grpc_type", "bidi_stream")];
        let count = |name| secured.cluster.metric(0, name, &labels);
        let started = count("grpc_server_started_total").await.unwrap();
        let ended = count("grpc_server_handled_total").await.unwrap();
        (started - ended, started)
    };
    assert_eq!(streams().await, (1.0, 1.0));
    secured.take_tokens_back().await;
    // No call comes in between: the watch itself finds the token stale.
    let mut second = client
        .watch(Watch::prefix("app/").start_revision(1))
        .await
        .unwrap();
    assert_eq!(streams().await, (2.0, 2.0), "the first one was left alone");
    client.put("app/k", "v").await.unwrap();
    until(&mut first, "app/k").await;
    until(&mut second, "app/k").await;
}

#[tokio::test]
async fn authentication_may_be_enabled_and_disabled_under_a_running_client() {
    let secured = Secured::open(Cluster::builder(), &[]).await;
    let client = secured.alice().await;
    let mut watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    let lease = client.lease(Duration::from_secs(5)).await.unwrap();
    use_everything(&client, "app/off").await;
    let calls = secured.logins().await;
    for i in 0..3 {
        secured.root.auth_enable().await.unwrap();
        use_everything(&client, &format!("app/on{i}")).await;
        let _another = client.watch(Watch::prefix("app/")).await.unwrap();
        secured.root.auth_disable().await.unwrap();
        use_everything(&client, &format!("app/off{i}")).await;
        let _another = client.watch(Watch::prefix("app/")).await.unwrap();
    }
    until(&mut watcher, "app/off2").await;
    assert!(lease.is_valid());
    // For each client: one when it is enabled. While it is disabled, the old token does no harm.
    let logins = secured.logins().await - calls;
    assert!(logins <= 6 + 2, "{logins}");
}

#[tokio::test]
async fn while_authentication_is_off_a_client_with_credentials_goes_without_a_token() {
    let secured = Secured::open(Cluster::builder(), &[]).await;
    let before = secured.logins().await;
    let client = secured.log_in("nobody", "whatever").await.unwrap();
    for i in 0..20 {
        client.put("k", i.to_string()).await.unwrap();
    }
    use_everything(&client, "app/k").await;
    assert_eq!(secured.logins().await - before, 1, "asked once");
}

#[tokio::test]
async fn whether_authentication_is_on_is_answered_to_those_who_cannot_log_in() {
    let secured = Secured::start(&[]).await;
    let before = secured.logins().await;
    let wrong = secured
        .builder()
        .credentials("alice", "wrong")
        .build()
        .unwrap();
    let anonymous = secured.builder().build().unwrap();
    let version = secured.cluster.version(0).await.unwrap();
    if version < (3, 7) {
        for client in [wrong, anonymous] {
            let error = client.auth_status().await.unwrap_err();
            assert_eq!(error.is_unsupported(), version < (3, 5), "{error}");
        }
        return;
    }
    for client in [&wrong, &anonymous] {
        assert!(client.auth_status().await.unwrap().enabled);
        assert!(client.get("app/k").await.is_err());
    }
    assert_eq!(secured.logins().await - before, 1, "for the get");
    secured.take_tokens_back().await;
    let stale = secured.alice().await;
    secured.take_tokens_back().await;
    assert!(stale.auth_status().await.unwrap().enabled);
}

#[tokio::test]
async fn a_user_who_is_deleted_is_refused_and_one_who_loses_a_role_may_do_less() {
    let secured = Secured::start(&[]).await;
    let client = secured.alice().await;
    client.put("app/k", "v").await.unwrap();
    secured.root.user_revoke_role("alice", "app").await.unwrap();
    let denied = client.put("app/k", "v").await.unwrap_err();
    assert!(denied.is_permission_denied(), "{denied}");
    secured.root.user_grant_role("alice", "app").await.unwrap();
    client.put("app/k", "v").await.unwrap();
    secured.root.user_delete("alice").await.unwrap();
    let gone = client.put("app/k", "v").await.unwrap_err();
    assert_eq!(gone.etcd(), Some(EtcdError::AuthFailed), "{gone}");
}

#[tokio::test]
async fn with_authentication_on_the_client_knows_its_members_and_their_leader() {
    let secured = Secured::with(Cluster::builder().members(3), &[]).await;
    let client = if secured.cluster.version(0).await.unwrap() < (3, 5) {
        differs("under authentication, only root may ask for the status of a member");
        secured.root.clone()
    } else {
        secured.alice().await
    };
    wait::until("the members have said who they are", LIMIT, async || {
        client
            .endpoints()
            .rows()
            .iter()
            .all(|row| row.member_id != 0)
    })
    .await
    .unwrap();
}
