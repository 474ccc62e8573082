//! Unary calls to a server that refuses tokens, and how many logins they cost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::{
    AuthStatusRequest, AuthenticateRequest, AuthenticateResponse, PutRequest, RangeRequest,
    StatusRequest, StatusResponse,
};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Error, EtcdError, Outcome};
use etcd_tests::scripted::{Reply, Scripted};
use etcd_tests::wait;
use futures_util::future::join_all;

use crate::scripted::{AUTHENTICATE, INVALID, Member, STALE};
use crate::{LIMIT, PASSWORD};

const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn each_of_the_three_errors_brings_one_login_and_the_call_is_sent_again() {
    for refusal in STALE {
        let member = Member::start(refusal, SHORT).await;
        let client = member.client().await;
        client.put("k", "v").await.unwrap();
        assert_eq!(
            (member.logins(), member.server.seen(PutRequest::PATH)),
            (1, 1)
        );
        member.expire();
        client.put("k", "v").await.unwrap();
        assert_eq!(
            (member.logins(), member.server.seen(PutRequest::PATH)),
            (2, 3)
        );
        member.expire();
        client.get("k").await.unwrap();
        assert_eq!(
            (member.logins(), member.server.seen(RangeRequest::PATH)),
            (3, 2)
        );
    }
}

#[tokio::test]
async fn the_token_is_in_the_header_where_etcd_looks_for_it_and_in_no_other() {
    let member = Member::start(STALE[0], SHORT).await;
    let client = member.client().await;
    client.put("k", "v").await.unwrap();
    let put = &member.server.requests(PutRequest::PATH)[0];
    let shown: Vec<_> = put
        .headers
        .iter()
        .filter(|(_, value)| value.contains("token-1"))
        .collect();
    assert_eq!(shown, [&("token".to_owned(), "token-1".to_owned())]);
    let login = &member.server.requests(AUTHENTICATE)[0];
    assert_eq!(login.metadata("token"), None);
    let request: AuthenticateRequest = login.decode().unwrap();
    assert_eq!(
        (request.name.as_str(), request.password.as_str()),
        ("svc", PASSWORD)
    );
}

#[tokio::test]
async fn a_hundred_calls_with_a_stale_token_share_one_login() {
    let member = Member::start(STALE[0], Duration::from_millis(100)).await;
    let client = member.client().await;
    for round in 2..5 {
        member.expire();
        let puts = (0..100).map(|i| client.put(format!("k{i}"), "v"));
        for put in join_all(puts).await {
            put.unwrap();
        }
        assert_eq!(member.logins(), round);
    }
}

#[tokio::test]
async fn a_login_serves_those_who_come_after_its_first_caller_has_gone() {
    let member = Member::start(STALE[0], Duration::from_millis(500)).await;
    let client = member.builder().credentials("svc", PASSWORD);
    let client = client.build().unwrap();
    let short = client.timeout(Duration::from_millis(200));
    wait::until("a call has begun the login", LIMIT, async || {
        let late = short.put("k", "v").await.unwrap_err();
        assert!(matches!(late, Error::Timeout(_)) && late.outcome() == Outcome::NotApplied);
        member.logins() == 1
    })
    .await
    .unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(member.logins(), 1);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_asked_for_few_and_its_error_told() {
    for refusal in STALE {
        let member = Member::start(refusal, SHORT).await;
        let (code, message) = refusal;
        let client = member.client().await;
        member
            .server
            .script(move |request| match request.path.as_str() {
                StatusRequest::PATH => request.usual(),
                AUTHENTICATE => Reply::message(&AuthenticateResponse {
                    token: format!("useless-{}", request.nth),
                    ..Default::default()
                }),
                _ => Reply::status(code, message),
            });
        let start = Instant::now();
        let calls = (0..20).map(|_| client.put("k", "v"));
        for result in join_all(calls).await {
            let error = result.unwrap_err();
            assert!(
                error.is_auth() && error.outcome() == Outcome::NotApplied,
                "{error}"
            );
        }
        let (logins, seconds) = (member.logins(), start.elapsed().as_secs() as usize);
        assert!(logins <= 10 + seconds, "{logins} in {seconds} s");
    }
}

#[tokio::test]
async fn where_authentication_is_off_no_token_is_shown_and_no_second_login_made() {
    let off = "etcdserver: authentication is not enabled";
    let server = Scripted::start(move |request| match request.path.as_str() {
        AUTHENTICATE => Reply::status(9, off),
        _ => request.usual(),
    });
    let server = server.await.unwrap();
    let client = etcd_tests::tls::builder([server.endpoint()]).credentials("svc", PASSWORD);
    let client = client.connect().await.unwrap();
    for _ in 0..10 {
        client.put("k", "v").await.unwrap();
    }
    let puts = server.requests(PutRequest::PATH);
    assert!(puts.iter().all(|put| put.metadata("token").is_none()));
    assert_eq!(server.seen(AUTHENTICATE), 1);
}

#[tokio::test]
async fn a_client_without_credentials_is_told_what_the_server_says_and_logs_in_nowhere() {
    let member = Member::start(STALE[2], SHORT).await;
    let client = member.builder().connect().await.unwrap();
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.etcd(), Some(EtcdError::UserEmpty));
    assert_eq!(
        (member.logins(), member.server.seen(PutRequest::PATH)),
        (0, 1)
    );
}

#[tokio::test]
async fn a_login_goes_to_another_member_when_one_does_not_answer() {
    let silent = Scripted::start(|request| match request.path.as_str() {
        AUTHENTICATE => Reply::silence(),
        _ => request.usual(),
    });
    let (silent, member) = (silent.await.unwrap(), Member::start(STALE[0], SHORT).await);
    for first in [
        [silent.endpoint(), member.server.endpoint()],
        [member.server.endpoint(), silent.endpoint()],
    ] {
        let client = etcd_tests::tls::builder(first)
            .credentials("svc", PASSWORD)
            .read_attempt_timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        wait::until("both are connected", LIMIT, async || {
            client.endpoints().active() == 2
        })
        .await
        .unwrap();
        client.put("k", "v").await.unwrap();
    }
    assert!(member.logins() >= 1);
}

#[tokio::test]
async fn a_member_that_refuses_every_token_is_left_for_one_that_does_not() {
    let stubborn = Scripted::start(|request| match request.path.as_str() {
        PutRequest::PATH => Reply::status(16, INVALID),
        AUTHENTICATE => Reply::status(14, "etcdserver: server stopped"),
        _ => request.usual(),
    });
    // Slow, so that the other one is preferred.
    let good = Scripted::builder().member(2).start(|request| {
        let token = format!("token-{}", request.nth);
        let reply = match request.path.as_str() {
            AUTHENTICATE => Reply::message(&AuthenticateResponse {
                token,
                ..Default::default()
            }),
            _ => request.usual(),
        };
        Reply::delay(Duration::from_millis(100), reply)
    });
    let (stubborn, good) = (stubborn.await.unwrap(), good.await.unwrap());
    let client = etcd_tests::tls::builder([stubborn.endpoint(), good.endpoint()]);
    let client = client.credentials("svc", PASSWORD).build().unwrap();
    wait::until("both are connected", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    for _ in 0..5 {
        client.put("k", "v").await.unwrap();
    }
    let (refused, logins) = (stubborn.seen(PutRequest::PATH), good.seen(AUTHENTICATE));
    assert!(refused <= 10, "{refused}: twice for a call at most");
    assert!(logins <= 11, "{logins}");
}

#[tokio::test]
async fn whether_authentication_is_on_is_asked_without_a_token_and_with_one_where_that_is_refused()
{
    let accepted = AtomicUsize::new(0);
    let member = Member::start(STALE[2], SHORT).await;
    let client = member.client().await;
    let status = async || {
        // The scripted server does not know this RPC: what matters is how it was asked.
        let answered = client.auth_status().await;
        accepted.fetch_add(1, Ordering::SeqCst);
        answered.unwrap_err()
    };
    status().await;
    let asked = member.server.requests(AuthStatusRequest::PATH);
    let shown: Vec<_> = asked
        .iter()
        .map(|request| request.metadata("token"))
        .collect();
    assert_eq!(shown, [None, Some("token-1")], "as before etcd 3.7");
    assert_eq!(member.logins(), 1);
}

#[tokio::test]
async fn a_member_that_tells_its_version_to_users_alone_is_judged_once_there_is_a_token() {
    let member = Member::start(STALE[2], SHORT).await;
    member.server.script(|request| match request.path.as_str() {
        AUTHENTICATE => Reply::message(&AuthenticateResponse {
            token: "token".to_owned(),
            ..Default::default()
        }),
        StatusRequest::PATH if request.metadata("token").is_none() => Reply::status(16, INVALID),
        StatusRequest::PATH => Reply::message(&StatusResponse {
            header: Some(request.header()),
            version: "3.4.3".to_owned(),
            leader: 1,
            ..Default::default()
        }),
        _ => request.usual(),
    });
    let client = member
        .builder()
        .credentials("svc", PASSWORD)
        .min_server_version("3.5");
    let client = client.build().unwrap();
    let _ = client.timeout(Duration::from_millis(500)).get("k").await;
    wait::until("it is found too old", LIMIT, async || {
        client.endpoints().to_string().contains("3.4.3 is older")
    })
    .await
    .unwrap();
}
