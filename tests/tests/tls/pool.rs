//! Endpoints that TLS keeps out of the pool.

use std::time::Duration;

use etcd_core::{EndpointState, Error, TlsError};
use etcd_tests::tls::{self, Authority};
use etcd_tests::{endpoints, wait};

use crate::{AT_ONCE, DIAL, LIMIT, authority, dial, serve};

#[tokio::test]
async fn one_good_endpoint_is_enough_and_the_table_says_what_is_wrong_with_the_other() {
    let good = serve(authority().identity().unwrap().server().unwrap()).await;
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    let bad = serve(stranger.server().unwrap()).await;
    let client = tls::builder([bad.endpoint(), good.endpoint()]);
    let client = client.connect().await.unwrap();
    client.put("k", "v").await.unwrap();
    endpoints::frozen(&client, &bad.endpoint(), LIMIT)
        .await
        .unwrap();
    let row = endpoints::row(&client, &bad.endpoint()).unwrap();
    let EndpointState::Frozen { cause, .. } = row.state else {
        panic!("{row:?}");
    };
    assert_eq!(
        cause.as_deref(),
        Some(&*TlsError::UnknownIssuer.to_string())
    );
    // It is asked again and again, but less and less often: after 0.2 s, 0.4 s, 0.8 s, …
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        (3..=6).contains(&bad.handshakes().len()),
        "{:?}",
        bad.handshakes()
    );

    bad.set_tls(authority().identity().unwrap().server().unwrap());
    endpoints::active(&client, &bad.endpoint(), LIMIT)
        .await
        .unwrap();
    assert_eq!(
        bad.handshakes().iter().filter(|done| done.is_ok()).count(),
        1
    );
}

#[tokio::test]
async fn connecting_fails_at_once_when_no_certificate_is_right_and_names_what_is_wrong_with_each() {
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    let stranger = serve(stranger.server().unwrap()).await;
    let elsewhere = authority().issue(["etcd.example.com"], |_| {}).unwrap();
    let elsewhere = serve(elsewhere.server().unwrap()).await;
    let builder = tls::builder([stranger.endpoint(), elsewhere.endpoint()]);
    let connecting = builder.dial_timeout(DIAL).connect();
    let error = tokio::time::timeout(AT_ONCE, connecting)
        .await
        .unwrap()
        .unwrap_err();
    let Error::NoActiveEndpoint(unreachable) = &error else {
        panic!("{error}");
    };
    let wrong: Vec<_> = unreachable
        .endpoints
        .iter()
        .map(|e| e.tls.as_ref().unwrap())
        .collect();
    assert!(
        matches!(
            wrong[..],
            [TlsError::UnknownIssuer, TlsError::WrongName { .. }]
        ),
        "{error}"
    );
}

#[tokio::test]
async fn connecting_waits_for_an_endpoint_that_may_still_come() {
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    let bad = serve(stranger.server().unwrap()).await;
    let good = serve(authority().identity().unwrap().server().unwrap()).await;
    let absent = etcd_tests::proxy::Proxy::start(good.endpoint())
        .await
        .unwrap();
    absent.refuse();
    let builder = tls::builder([bad.endpoint(), absent.endpoint()]);
    let connecting = tokio::spawn(builder.dial_timeout(DIAL).connect());
    wait::until("the bad one was asked twice", LIMIT, async || {
        bad.handshakes().len() > 1
    })
    .await
    .unwrap();
    assert!(!connecting.is_finished());
    absent.accept().unwrap();
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_whose_certificate_goes_bad_is_told_from_one_that_is_gone() {
    let server = serve(authority().identity().unwrap().server().unwrap()).await;
    let client = dial(&server.endpoint(), authority().trusted())
        .await
        .unwrap();
    let stranger = Authority::new("stranger").unwrap().identity().unwrap();
    server.set_tls(stranger.server().unwrap());
    server.push(0, etcd_tests::scripted::Reply::close()).await;
    wait::until("the client has found out", LIMIT, async || {
        server.handshakes().len() > 1
    })
    .await
    .unwrap();
    let error = client
        .timeout(Duration::from_millis(300))
        .put("k", "v")
        .await
        .unwrap_err();
    assert_eq!(error.tls(), Some(&TlsError::UnknownIssuer), "{error}");
    assert_eq!(error.outcome(), etcd_core::Outcome::NotApplied);
}
