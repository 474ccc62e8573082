//! Users whom a certificate names: they need no token.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_core::{EtcdError, Watch};
use etcd_tests::cluster::Cluster;

use crate::{PASSWORD, Secured, certified};

async fn start() -> Secured {
    Secured::with(Cluster::builder().client_cert_auth(), &[]).await
}

#[tokio::test]
async fn a_certificate_names_its_user_while_roles_are_changed() {
    let secured = start().await;
    let client = certified(&secured.cluster, "alice")
        .connect()
        .await
        .unwrap();
    let before = secured.logins().await;
    client.put("app/k", "v").await.unwrap();
    let denied = client.put("other", "v").await.unwrap_err();
    assert!(denied.is_permission_denied(), "{denied}");
    let _watcher = client.watch(Watch::prefix("app/")).await.unwrap();

    let done = AtomicBool::new(false);
    let changes = async {
        for i in 0..40 {
            secured.root.role_add(format!("r{i}")).await.unwrap();
        }
        done.store(true, Ordering::SeqCst);
    };
    let calls = async {
        while !done.load(Ordering::SeqCst) {
            client.put("app/k", "v").await.unwrap();
        }
    };
    tokio::join!(changes, calls);
    assert_eq!(secured.logins().await, before);
}

#[tokio::test]
async fn a_user_with_a_password_whose_certificate_names_another_logs_in_when_authentication_is_enabled()
 {
    let secured = Secured::open(Cluster::builder().client_cert_auth(), &[]).await;
    let client = |secured: &Secured| {
        let client = certified(&secured.cluster, "stranger");
        client.credentials("alice", PASSWORD)
    };
    let calls = client(&secured).connect().await.unwrap();
    let watches = client(&secured).connect().await.unwrap();
    // While authentication is off, neither has a token. When it is on, etcd asks for none but takes them for the stranger.
    secured.root.auth_enable().await.unwrap();
    calls.put("app/k", "v").await.unwrap();
    let watch = Watch::prefix("app/").start_revision(1);
    drop(watches.watch(watch).await.unwrap());
    let denied = calls.put("other", "v").await.unwrap_err();
    assert!(denied.is_permission_denied(), "{denied}");
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_not_enough_and_a_password_goes_before_it() {
    let secured = start().await;
    let stranger = certified(&secured.cluster, "stranger")
        .connect()
        .await
        .unwrap();
    let denied = stranger.put("app/k", "v").await.unwrap_err();
    assert_eq!(denied.etcd(), Some(EtcdError::PermissionDenied), "{denied}");
    let alice = certified(&secured.cluster, "stranger").credentials("alice", PASSWORD);
    alice
        .connect()
        .await
        .unwrap()
        .put("app/k", "v")
        .await
        .unwrap();
}
