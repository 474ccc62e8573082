//! Connecting, and the phases of it.

use std::time::Duration;

use etcd_core::proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Tls};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::net::TcpListener;

use crate::LIMIT;
use crate::capture::{Capture, Told};

const PHASE: (&str, &str) = ("etcd_core::connect", "connect phase");

fn phases(capture: &Capture) -> Vec<(String, String)> {
    let of = |told: &Told| {
        (
            told.field("phase").to_owned(),
            told.field("result").to_owned(),
        )
    };
    capture.events(PHASE.0, PHASE.1).iter().map(of).collect()
}

fn pair(phase: &str, result: &str) -> (String, String) {
    (phase.to_owned(), result.to_owned())
}

#[tokio::test]
async fn each_phase_of_a_connection_tells_how_long_it_took() {
    let capture = Capture::start();
    let authority = etcd_tests::tls::Authority::shared().unwrap();
    let identity = authority.identity().unwrap();
    for tls in [false, true] {
        let builder = if tls {
            Scripted::builder().tls(identity.server().unwrap())
        } else {
            Scripted::builder().plaintext()
        };
        let server = builder.start(Request::usual).await.unwrap();
        let client = Client::builder().endpoints([server.endpoint()]);
        let client = if tls {
            client.tls(authority.trusted())
        } else {
            client
        };
        let before = phases(&capture).len();
        client.connect().await.unwrap();
        let all = ["dns", "tcp", "tls", "http2", "first_reply"];
        let expected = all.iter().filter(|phase| tls || **phase != "tls");
        let expected: Vec<_> = expected.map(|phase| pair(phase, "ok")).collect();
        assert_eq!(phases(&capture)[before..], expected);
    }
    for told in capture.events(PHASE.0, PHASE.1) {
        let elapsed: u64 = told.field("elapsed_ms").parse().unwrap();
        assert!(
            elapsed < 20_000 && told.field("endpoint").contains("://"),
            "{told:?}"
        );
    }
    let took = capture.samples("etcd_client_connect_phase_seconds{phase=tls,result=ok}");
    assert!(matches!(took[..], [seconds] if seconds > 0.0), "{took:?}");
}

#[tokio::test]
async fn a_phase_that_takes_too_long_is_named() {
    // Accepts connections, and says nothing.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hole.local_addr().unwrap();
    for (scheme, phase) in [("http", "http2"), ("https", "tls")] {
        let capture = Capture::start();
        let short = Duration::from_millis(100);
        let client = Client::builder()
            .endpoints([format!("{scheme}://{address}")])
            .connect_timeout(short)
            .tls_handshake_timeout(short);
        let client = if scheme == "https" {
            client.tls(Tls::new().ca_pem(etcd_tests::tls::Authority::shared().unwrap().pem()))
        } else {
            client
        };
        let _client = client.build().unwrap();
        wait::until("the phase is given up", LIMIT, async || {
            phases(&capture).contains(&pair(phase, "given up"))
        })
        .await
        .unwrap();
        let mut others = phases(&capture);
        others.retain(|(of, _)| of != phase);
        assert!(
            others.iter().all(|(_, result)| result == "ok"),
            "{others:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_fails_in_the_phase_of_tcp() {
    let capture = Capture::start();
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let _client = Client::builder()
        .endpoints([format!("http://{port}")])
        .build()
        .unwrap();
    wait::until("the phase has failed", LIMIT, async || {
        phases(&capture).contains(&pair("tcp", "failed"))
    })
    .await
    .unwrap();
    let told = capture.events(PHASE.0, PHASE.1);
    assert!(
        told.iter()
            .any(|told| told.field("error").contains("refused")),
        "{told:?}"
    );
}

#[tokio::test]
async fn logins_are_told_and_counted() {
    let capture = Capture::start();
    let server = Scripted::start(|request| match request.path.as_str() {
        AuthenticateRequest::PATH if request.nth == 1 => Reply::message(&AuthenticateResponse {
            token: "token".to_owned(),
            ..Default::default()
        }),
        AuthenticateRequest::PATH => Reply::status(
            3,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        _ => request.usual(),
    })
    .await
    .unwrap();
    let connect = async || {
        let client = etcd_tests::builder([server.endpoint()]).credentials("svc", "password");
        client.connect().await
    };
    let client = connect().await.unwrap();
    let good = capture.events("etcd_core::token", "logged in");
    assert!(
        matches!(&good[..], [told] if told.field("phase") == "auth"),
        "{good:?}"
    );
    assert!(!good[0].field("elapsed_ms").is_empty());
    connect().await.unwrap_err();
    assert_eq!(capture.events("etcd_core::token", "no token").len(), 1);
    assert_eq!(capture.number("etcd_client_logins_total{result=ok}"), 1.0);
    assert_eq!(
        capture.number("etcd_client_logins_total{result=failed}"),
        1.0
    );
    drop(client);
}
