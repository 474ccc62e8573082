//! Members of several releases of etcd, as during a rolling upgrade: what one lacks another one may have.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::{
    AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse,
    DowngradeRequest, DowngradeResponse, MemberListRequest, MemberListResponse, RangeResponse,
    RangeStreamResponse, StatusRequest, StatusResponse,
};
use etcd_core::proto::rpc::{RANGE_STREAM_PATH, Unary};
use etcd_core::{Client, Code, Error, Get, Outcome, Unsupported};
use etcd_tests::cluster::{Cluster, next_binary};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::versions::since;
use etcd_tests::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// A member of a release that answers as that does.
async fn member(id: u64, version: &'static str) -> Scripted {
    let builder = Scripted::builder().member(id).leader(1);
    builder.start(answers(version)).await.unwrap()
}

fn answers(version: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| {
        let header = Some(request.header());
        let knows = |since| version.is_empty() || version >= since;
        match &*request.path {
            StatusRequest::PATH => Reply::message(&StatusResponse {
                header,
                version: version.into(),
                leader: 1,
                raft_term: 2,
                ..Default::default()
            }),
            RANGE_STREAM_PATH if knows("3.7") => {
                let range_response = Some(RangeResponse {
                    header,
                    count: 7,
                    ..Default::default()
                });
                let piece = RangeStreamResponse { range_response };
                Reply::message(&piece)
            }
            AuthStatusRequest::PATH if knows("3.5") => Reply::message(&AuthStatusResponse {
                header,
                ..Default::default()
            }),
            // It knows these RPCs, whatever it makes of what they ask for.
            MemberListRequest::PATH => Reply::message(&MemberListResponse::default()),
            AuthUserAddRequest::PATH => Reply::message(&AuthUserAddResponse::default()),
            DowngradeRequest::PATH => Reply::message(&DowngradeResponse::default()),
            _ => request.usual(),
        }
    }
}

/// A client that is connected to every one of them.
async fn client<const N: usize>(endpoints: [String; N]) -> Client {
    let client = etcd_tests::builder(&endpoints).connect();
    let client = client.await.unwrap();
    for endpoint in endpoints {
        let pinned = client.endpoint(endpoint);
        pinned.timeout(LIMIT).get("connected").await.unwrap();
    }
    client
}

fn lacks(error: Error) -> Unsupported {
    match error {
        Error::Unsupported(lacking) => Unsupported::clone(&lacking),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_one_member_lacks_another_one_answers_and_who_asks_the_one_is_told() {
    let (old, new) = (member(1, "3.6.15").await, member(2, "3.7.2").await);
    // The farther one is asked after the nearer one.
    let far = Proxy::start(new.endpoint()).await.unwrap();
    far.delay(Direction::Both, Duration::from_millis(40));
    let client = client([old.endpoint(), far.endpoint()]).await;
    for _ in 0..10 {
        let mut pieces = client.range_stream("k").await.unwrap();
        assert_eq!(pieces.try_next().await.unwrap().unwrap().count, 7);
    }
    assert!(old.seen(RANGE_STREAM_PATH) > 0);
    let at_old = client.endpoint(old.endpoint());
    let error = at_old.range_stream("k").await.unwrap_err();
    assert!(error.is_unsupported());
    assert_eq!(error.code(), Some(Code::Unimplemented));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(error.endpoint(), Some(&*old.endpoint()));
    let text = error.to_string();
    for part in [&old.endpoint(), "etcd 3.6.15", "RangeStream"] {
        assert!(text.contains(part), "{text}");
    }
    let lacking = lacks(error);
    assert_eq!(lacking.rpc, RANGE_STREAM_PATH);
    assert_eq!(lacking.version.as_deref(), Some("3.6.15"));
    let at_new = client.endpoint(far.endpoint());
    drop(at_new.range_stream("k").await.unwrap());
}

#[tokio::test]
async fn what_no_member_has_is_said_at_once_when_each_was_asked_once() {
    let (a, b, c) = (
        member(1, "3.4.45").await,
        member(2, "3.4.45").await,
        member(3, "3.4.45").await,
    );
    let servers = [&a, &b, &c];
    let client = client(servers.map(Scripted::endpoint)).await;
    let started = Instant::now();
    let error = client.range_stream("k").await.unwrap_err();
    assert_eq!(lacks(error).rpc, RANGE_STREAM_PATH);
    let error = client.auth_status().await.unwrap_err();
    assert_eq!(lacks(error).rpc, AuthStatusRequest::PATH);
    // A call that goes on until it has no time left takes 8 s.
    assert!(started.elapsed() < Duration::from_secs(6));
    for server in servers {
        let seen = [RANGE_STREAM_PATH, AuthStatusRequest::PATH].map(|path| server.seen(path));
        assert_eq!(seen, [1, 1]);
    }
}

#[tokio::test]
async fn a_member_that_lacked_it_is_asked_again_after_its_upgrade() {
    let server = member(1, "3.6.15").await;
    let client = client([server.endpoint()]).await;
    lacks(client.range_stream("k").await.unwrap_err());
    server.script(answers("3.7.2"));
    drop(client.range_stream("k").await.unwrap());
}

#[tokio::test]
async fn what_a_member_would_pass_over_is_not_sent_to_it() {
    let (old, new) = (member(1, "3.4.45").await, member(2, "3.5.34").await);
    let client = client([old.endpoint(), new.endpoint()]).await;
    let user = || AuthUserAddRequest {
        name: "u".into(),
        hashed_password: "$2a$10$".into(),
        ..Default::default()
    };
    for _ in 0..20 {
        client.member_list().await.unwrap();
        client.send(user()).await.unwrap();
    }
    let at_old = client.endpoint(old.endpoint());
    let lacking = lacks(at_old.member_list().await.unwrap_err());
    assert!(lacking.reason.contains("`linearizable`"), "{lacking}");
    assert_eq!(lacking.version.as_deref(), Some("3.4.45"));
    let lacking = lacks(at_old.send(user()).await.unwrap_err());
    assert!(lacking.reason.contains("`hashedPassword`"), "{lacking}");
    assert_eq!(old.seen(MemberListRequest::PATH), 0);
    assert_eq!(old.seen(AuthUserAddRequest::PATH), 0);
    // What it understands is sent.
    let own = MemberListRequest::default();
    at_old.send(own).await.unwrap();
    at_old.user_add("u", "p").await.unwrap();

    // 3.5 has the RPC, and half of what it does.
    lacks(client.downgrade_enable("3.4").await.unwrap_err());
    assert_eq!(new.seen(DowngradeRequest::PATH), 0);
    client.downgrade_validate("3.4").await.unwrap();
}

#[tokio::test]
async fn the_version_is_that_of_the_connection() {
    let server = member(1, "3.4.45").await;
    let client = client([server.endpoint()]).await;
    lacks(client.member_list().await.unwrap_err());
    server.script(answers("3.5.34"));
    for connection in 0..server.connections() {
        server.push(connection, Reply::abort()).await;
    }
    wait::until("it is connected to the new version", LIMIT, async || {
        client.member_list().await.is_ok()
    })
    .await
    .unwrap();
}

/// As etcd does with authentication on, to whoever has no token.
#[tokio::test]
async fn a_member_that_told_no_version_at_first_is_asked_for_it_before_it_passes_something_over() {
    let server = Scripted::start(|request| match &*request.path {
        StatusRequest::PATH if request.nth == 1 => {
            Reply::status(3, "etcdserver: user name is empty")
        }
        _ => answers("3.4.45")(request),
    });
    let server = server.await.unwrap();
    let client = client([server.endpoint()]).await;
    let lacking = lacks(client.member_list().await.unwrap_err());
    assert_eq!(lacking.version.as_deref(), Some("3.4.45"));
    assert_eq!(server.seen(MemberListRequest::PATH), 0);
    // It is remembered.
    let asked = server.seen(StatusRequest::PATH);
    lacks(client.member_list().await.unwrap_err());
    assert_eq!(server.seen(StatusRequest::PATH), asked);
}

/// As a proxy, or a member that tells it to certain users only.
#[tokio::test]
async fn a_member_that_tells_no_version_is_asked() {
    let server = Scripted::start(|request| match &*request.path {
        StatusRequest::PATH => Reply::status(7, "etcdserver: permission denied"),
        RANGE_STREAM_PATH => request.usual(),
        _ => answers("")(request),
    });
    let server = server.await.unwrap();
    let client = client([server.endpoint()]).await;
    client.member_list().await.unwrap();
    let error = client.range_stream("k").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("etcd of unknown version"), "{text}");
    assert_eq!(lacks(error).version, None);
}

#[tokio::test]
async fn a_hashed_password_goes_only_to_an_etcd_that_takes_it_for_one() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client([cluster.endpoint(0)]).await;
    let user = AuthUserAddRequest {
        name: "u".into(),
        hashed_password: "$2a$10$".into(),
        ..Default::default()
    };
    let version = cluster.version(0).await.unwrap();
    let added = client.send(user).await;
    let added = since((3, 5), version, "UserAdd hashedPassword", added);
    let users = client.user_list().await.unwrap().users;
    assert_eq!(users.len(), usize::from(added.is_some()));
}

/// From the release under test to the next minor version, or where there is none to itself.
#[tokio::test]
async fn each_member_has_what_its_version_has_while_they_are_upgraded_one_by_one() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let endpoints = cluster.endpoints();
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    client.put("k", "v").await.unwrap();
    check(&cluster, &client).await;
    for i in 0..3 {
        cluster.terminate(i).await.unwrap();
        cluster.replace_binary(i, next_binary().unwrap());
        cluster.restart(i).unwrap();
        cluster.wait_ready(i).await.unwrap();
        let upgraded = client.endpoint(cluster.endpoint(i)).timeout(LIMIT);
        upgraded.put(format!("k{i}"), "v").await.unwrap();
        check(&cluster, &client).await;
    }
    let keys = client.get(Get::prefix("k").count_only()).await.unwrap();
    assert_eq!(keys.count, 4);
}

async fn check(cluster: &Cluster, client: &Client) {
    let mut newest = (0, 0);
    for i in 0..cluster.len() {
        let version = cluster.version(i).await.unwrap();
        newest = newest.max(version);
        let at = client.endpoint(cluster.endpoint(i)).timeout(LIMIT);
        at.get("k").await.unwrap();
        // Where there is no stream, a scan asks for what there is.
        let mut scan = at.scan("k");
        assert_eq!(scan.try_next().await.unwrap().unwrap().value, "v");
        let pieces = at.range_stream("k").await;
        since((3, 7), version, "RangeStream", pieces);
        since((3, 5), version, "AuthStatus", at.auth_status().await);
        let members = at.member_list().await;
        since((3, 5), version, "MemberList linearizable", members);
    }
    for _ in 0..10 {
        if newest >= (3, 7) {
            drop(client.range_stream("k").await.unwrap());
        }
        if newest >= (3, 5) {
            client.auth_status().await.unwrap();
            client.member_list().await.unwrap();
        }
    }
}
