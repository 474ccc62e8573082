//! The oldest etcd to talk to.

use etcd_core::proto::etcdserverpb::{RangeRequest, StatusRequest, StatusResponse};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, ClientBuilder, EndpointState, Error};
use etcd_tests::cluster::Target;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use std::time::Duration;

use crate::LIMIT;

/// A member that says to be of this version.
async fn member(id: u64, version: &'static str) -> Scripted {
    Scripted::builder()
        .member(id)
        .start(says(version))
        .await
        .unwrap()
}

fn says(version: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| match request.path.as_str() {
        StatusRequest::PATH => Reply::message(&StatusResponse {
            header: Some(request.header()),
            version: version.into(),
            leader: 1,
            raft_term: 2,
            ..Default::default()
        }),
        _ => request.usual(),
    }
}

fn builder(servers: &[&Scripted]) -> ClientBuilder {
    let endpoints = servers.iter().map(|server| server.endpoint());
    Client::builder()
        .endpoints(endpoints)
        .min_server_version("3.5")
}

/// Why an endpoint is not used; `None` if it is.
fn cause(client: &Client, at: usize) -> Option<String> {
    match &client.endpoints().rows()[at].state {
        EndpointState::Connecting { cause } | EndpointState::Frozen { cause, .. } => {
            Some(cause.as_deref().unwrap_or_default().to_owned())
        }
        _ => None,
    }
}

#[tokio::test]
async fn an_endpoint_older_than_asked_for_is_not_used_and_says_why() {
    let (old, new) = (member(1, "3.4.34").await, member(2, "3.5.0").await);
    let client = builder(&[&old, &new]).connect().await.unwrap();
    let refused = "etcd 3.4.34 is older than min_server_version, 3.5.0";
    wait::until("the old one is refused", LIMIT, async || {
        cause(&client, 0).is_some_and(|cause| cause.contains(refused))
    })
    .await
    .unwrap();
    for _ in 0..50 {
        client.get("k").await.unwrap();
    }
    assert_eq!(cause(&client, 1), None);
    assert_eq!(
        (old.seen(RangeRequest::PATH), new.seen(RangeRequest::PATH)),
        (0, 50)
    );
}

#[tokio::test]
async fn a_cluster_older_than_asked_for_cannot_be_connected_to() {
    let old = member(1, "3.4.34").await;
    let builder = builder(&[&old]).dial_timeout(Duration::from_millis(800));
    let error = builder.connect().await.unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("3.4.34") && text.contains("min_server_version"),
        "{text}"
    );
}

#[tokio::test]
async fn an_endpoint_is_used_once_it_was_upgraded() {
    let server = member(1, "3.4.34").await;
    let client = builder(&[&server]).build().unwrap();
    wait::until("it is refused", LIMIT, async || {
        cause(&client, 0).is_some_and(|cause| cause.contains("older"))
    })
    .await
    .unwrap();
    server.script(says("3.6.0-rc.0"));
    client.timeout(LIMIT).get("k").await.unwrap();
    assert_eq!(cause(&client, 0), None);
}

/// As a proxy, or a member that does not tell it to this user.
#[tokio::test]
async fn an_endpoint_that_tells_no_version_is_used() {
    let silent = |request: &Request| match request.path.as_str() {
        StatusRequest::PATH => Reply::status(7, "etcdserver: permission denied"),
        _ => request.usual(),
    };
    let denied = Scripted::start(silent).await.unwrap();
    for server in [denied, member(1, "").await, member(1, "unknown").await] {
        let client = builder(&[&server]).connect().await.unwrap();
        client.get("k").await.unwrap();
    }
}

#[tokio::test]
async fn a_version_that_is_none_is_refused() {
    for text in ["", "3.x", "latest", "3.5.1.2"] {
        let builder = Client::builder().endpoints(["127.0.0.1:2379"]);
        let error = builder.min_server_version(text).build().unwrap_err();
        let Error::Config(wrong) = &error else {
            panic!("{error}");
        };
        assert_eq!(wrong.option, "min_server_version");
        assert!(wrong.reason.contains(&format!("`{text}`")), "{error}");
    }
}

#[tokio::test]
async fn a_real_etcd_is_as_old_as_it_says() {
    let target = Target::get().await.unwrap();
    let builder = || Client::builder().endpoints(target.endpoints());
    let client = builder().min_server_version("3.4").connect().await.unwrap();
    let version = client.status().await.unwrap().version;
    builder()
        .min_server_version(&version)
        .connect()
        .await
        .unwrap();
    let newer = builder()
        .min_server_version("99")
        .dial_timeout(Duration::from_millis(800));
    let error = newer.connect().await.unwrap_err().to_string();
    assert!(
        error.contains(&version) && error.contains("99.0.0"),
        "{error}"
    );
}
