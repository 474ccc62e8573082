//! Real members: passwords that are wrong or become wrong, and what an operator reads.

use std::time::{Duration, Instant};

use etcd_core::{Client, Error, EtcdError, Outcome, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{LIMIT, PASSWORD, Secured};

/// The error of a login that etcd refused.
fn refused(error: &Error) {
    assert!(matches!(error, Error::Login(_)), "{error:?}");
    assert_eq!(error.etcd(), Some(EtcdError::AuthFailed), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    let text = error.to_string();
    assert!(
        text.contains("`alice`") && text.contains("wrong password"),
        "{text}"
    );
}

/// §C 11.
#[tokio::test]
async fn a_wrong_password_is_an_authentication_error_at_connect_and_no_timeout() {
    let secured = Secured::start(&[]).await;
    let start = Instant::now();
    let error = secured.log_in("alice", "wrong").await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    refused(&error);
}

/// Makes 20 calls at a time for a while. All fail for the password; how many logins that cost.
async fn storm(secured: &Secured, client: &Client) -> usize {
    let before = secured.logins().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let calls = (0..20).map(|_| client.put("app/k", "v"));
        for result in join_all(calls).await {
            refused(&result.unwrap_err());
        }
        tokio::task::yield_now().await;
    }
    // After 0.5, 1 and 2 s, each a fifth less at most; a loaded machine may take longer over it all.
    let seconds = start.elapsed().as_secs() as usize;
    let logins = secured.logins().await - before;
    assert!(logins <= 4 + seconds, "{logins} logins in {seconds} s");
    logins
}

#[tokio::test]
async fn a_wrong_password_is_one_error_for_all_calls_and_no_storm_of_logins() {
    let secured = Secured::start(&[]).await;
    let client = secured.builder().credentials("alice", "wrong");
    let client = client.build().unwrap();
    assert!(storm(&secured, &client).await >= 1);
}

#[tokio::test]
async fn a_password_that_is_changed_is_one_error_for_all_and_the_old_one_works_again_when_it_is_back()
 {
    let secured = Secured::start(&[]).await;
    let client = secured.alice().await;
    let mut watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    client.put("app/k", "v").await.unwrap();
    assert!(watcher.try_next().await.unwrap().is_some());
    secured
        .root
        .user_change_password("alice", "another")
        .await
        .unwrap();
    storm(&secured, &client).await;
    refused(&client.watch("app/k").await.unwrap_err());
    // What was there is served as before: etcd asks nobody again who watches already.
    secured.root.put("app/k", "by root").await.unwrap();
    let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
    assert_eq!(batch.unwrap().unwrap().events.len(), 1);

    secured.take_tokens_back().await;
    wait::until("the password is tried again", LIMIT, async || {
        client.put("app/k", "v").await.is_ok()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_watch_that_cannot_go_on_for_its_password_says_so() {
    let secured = Secured::start(&[]).await;
    let client = secured.alice().await;
    let mut watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    secured
        .root
        .user_change_password("alice", "another")
        .await
        .unwrap();
    secured.cluster.terminate(0).await.unwrap();
    secured.cluster.restart(0).unwrap();
    let ended = timeout(LIMIT, watcher.try_next()).await.unwrap();
    refused(&ended.unwrap_err());
}

#[tokio::test]
async fn what_an_operator_reads_says_who_was_refused_what_and_why() {
    let secured = Secured::start(&[]).await;
    secured.root.user_add_no_password("build").await.unwrap();
    let endpoint = secured.cluster.endpoint(0);
    let wrong = secured.log_in("alice", "wrong").await.unwrap_err();
    let unknown = secured.log_in("nobody", "any").await.unwrap_err();
    let build = secured.log_in("build", "any").await.unwrap_err();
    let anonymous = secured.builder().connect().await.unwrap();
    let none = anonymous.put("app/k", "v").await.unwrap_err();
    let denied = secured.alice().await.put("other", "v").await.unwrap_err();
    let same = "etcdserver: authentication failed, invalid user ID or password (InvalidArgument); \
        no such user, or a wrong password: etcd does not say which; nothing was applied";
    for (error, line) in [
        (
            wrong,
            format!("cannot log in as `alice`: {endpoint}: {same}"),
        ),
        (
            unknown,
            format!("cannot log in as `nobody`: {endpoint}: {same}"),
        ),
        (
            build,
            format!(
                "cannot log in as `build`: {endpoint}: auth: authentication failed, password was given for no password \
                 user (Unknown); nothing was applied"
            ),
        ),
        (
            none,
            format!(
                "{endpoint}: etcdserver: user name is empty (InvalidArgument); the cluster wants credentials; nothing was \
                 applied"
            ),
        ),
        (
            denied,
            format!(
                "{endpoint}: etcdserver: permission denied (PermissionDenied); no role of the user permits it; nothing was \
                 applied"
            ),
        ),
    ] {
        assert_eq!(error.to_string(), line);
        assert_eq!(error.endpoint(), Some(endpoint.as_str()));
    }
}

#[tokio::test]
async fn a_login_waits_for_a_member_as_long_as_the_call_that_needs_it() {
    let secured = Secured::start(&[]).await;
    let client = secured.builder().credentials("alice", PASSWORD);
    let client = client.dial_timeout(Duration::from_secs(1));
    secured.cluster.kill(0).await.unwrap();
    let lazy = client.clone().build().unwrap();
    let limit = Duration::from_millis(500);
    let late = lazy.timeout(limit).put("app/k", "v").await.unwrap_err();
    assert!(matches!(late, Error::Timeout(_)), "{late}");
    let none = lazy.wait_ready(false).put("app/k", "v").await.unwrap_err();
    assert!(matches!(none, Error::NoActiveEndpoint(_)), "{none}");
    let pending = tokio::spawn(lazy.timeout(LIMIT).put("app/k", "v"));
    let down = Instant::now();
    wait::until("it has been down for a while", LIMIT, async || {
        assert!(!pending.is_finished());
        down.elapsed() > Duration::from_secs(2)
    })
    .await
    .unwrap();
    secured.cluster.restart(0).unwrap();
    pending.await.unwrap().unwrap();
}

/// Authentication that is off is what etcd says to those who log in by hand.
#[tokio::test]
async fn a_login_by_hand_is_answered_as_etcd_answers_it() {
    use etcd_core::proto::etcdserverpb::AuthenticateRequest;
    let secured = Secured::open(Cluster::builder(), &[]).await;
    let client = secured.alice().await;
    let request = |password: &str| AuthenticateRequest {
        name: "alice".to_owned(),
        password: password.to_owned(),
    };
    let off = client.send(request(PASSWORD)).await.unwrap_err();
    assert_eq!(off.etcd(), Some(EtcdError::AuthNotEnabled));
    secured.root.auth_enable().await.unwrap();
    assert!(
        !client
            .send(request(PASSWORD))
            .await
            .unwrap()
            .token
            .is_empty()
    );
    let wrong = client.send(request("wrong")).await.unwrap_err();
    assert!(matches!(wrong, Error::Server(_)), "{wrong:?}");
}
