//! What is refused before a client is made, and what is sent by those that are.

use etcd_core::{Client, ClientBuilder, Error};
use etcd_tests::scripted::{Request, Scripted};

use crate::PASSWORD;
use crate::scripted::{AUTHENTICATE, Member, STALE};

/// The option that keeps the client from being made.
fn refused(builder: ClientBuilder) -> &'static str {
    match builder.build() {
        Err(Error::Config(wrong)) => {
            assert!(!wrong.to_string().contains(PASSWORD), "{wrong}");
            wrong.option
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_password_or_token_for_others_to_read_is_refused_unless_allowed_by_name() {
    const EXPOSED: &str = "http://192.0.2.1:2379";
    let password = || Client::builder().credentials("svc", PASSWORD);
    let token = || Client::builder().token_provider(|| async { Ok::<_, Error>(PASSWORD) });
    let option = "allow_plaintext_credentials";
    for builder in [password, || Client::builder().credentials("svc", PASSWORD)] {
        assert_eq!(refused(builder().endpoints([EXPOSED])), option);
        assert_eq!(
            refused(builder().endpoints(["http://localhost", EXPOSED])),
            option
        );
        let allowed = builder().endpoints([EXPOSED]).allow_plaintext_credentials();
        allowed.build().unwrap();
        let here = [
            "http://localhost",
            "http://127.0.0.1",
            "http://[::1]",
            "unix:/run/etcd.sock",
        ];
        builder().endpoints(here).build().unwrap();
    }
    assert_eq!(refused(token().endpoints([EXPOSED])), option);
    Client::builder().endpoints([EXPOSED]).build().unwrap();
    let text = format!("http://svc:{PASSWORD}@192.0.2.1");
    assert_eq!(refused(text.parse().unwrap()), option);
    let allowed = format!("{text}?{option}=true");
    allowed.parse::<ClientBuilder>().unwrap().build().unwrap();
    let refused_at_connect = Client::connect(&text).await.unwrap_err();
    assert!(matches!(refused_at_connect, Error::Config(_)));
}

#[tokio::test]
async fn user_and_password_are_both_given_and_given_once() {
    let half = |options: &str| {
        format!("localhost?{options}")
            .parse::<ClientBuilder>()
            .unwrap()
    };
    assert_eq!(refused(half("user=svc")), "password");
    assert_eq!(refused(half(&format!("password={PASSWORD}"))), "user");
    let builder = || Client::builder().endpoints(["localhost"]);
    assert_eq!(refused(builder().credentials("", PASSWORD)), "user");
    assert_eq!(refused(builder().credentials("svc", "")), "password");
    let both = builder().credentials("svc", PASSWORD);
    let both = both.token_provider(|| async { Ok::<_, Error>("token") });
    assert_eq!(refused(both), "token_provider");
}

#[tokio::test]
async fn a_connection_string_logs_in() {
    let member = Member::start(STALE[0], std::time::Duration::ZERO).await;
    let endpoint = member.server.endpoint();
    let text = endpoint.replace("://", &format!("://svc:{PASSWORD}@"));
    if endpoint.starts_with("http:") {
        Client::connect(text)
            .await
            .unwrap()
            .put("k", "v")
            .await
            .unwrap();
        assert_eq!(member.logins(), 1);
    }
}

#[tokio::test]
async fn a_password_is_not_sent_while_nobody_needs_a_token() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::tls::builder([server.endpoint()]);
    let client = client.credentials("svc", PASSWORD).build().unwrap();
    etcd_tests::wait::until("it is connected", crate::LIMIT, async || {
        client.endpoints().active() == 1
    })
    .await
    .unwrap();
    assert_eq!(server.seen(AUTHENTICATE), 0);
}
