//! Users, roles and permissions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use etcd_core::proto::authpb::permission::Type;
use etcd_core::proto::etcdserverpb::auth_client::AuthClient;
use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_core::proto::etcdserverpb::{
    AuthDisableRequest, AuthenticateRequest, PutRequest, RangeRequest,
};
use etcd_core::{Client, Error, EtcdError, KeyRange, Permission};
use etcd_tests::cluster::Cluster;
use etcd_tests::scripted::Scripted;
use etcd_tests::versions::{differs, since};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

const CANARY: &str = "s3cret-canary";

async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    (cluster, client)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: etcd_core::Result<T>, expected: EtcdError) {
    let error = result.unwrap_err();
    assert_eq!(error.etcd(), Some(expected), "{error}");
}

async fn token(client: &Client, name: &str, password: &str) -> etcd_core::Result<String> {
    let request = AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    Ok(client.send(request).await?.token)
}

/// A user `root` who may do everything, with which authentication can be enabled.
async fn add_root(client: &Client) {
    client.user_add("root", CANARY).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
}

#[tokio::test]
async fn users_are_added_listed_and_deleted() {
    let (_cluster, client) = cluster().await;
    assert!(client.user_list().await.unwrap().users.is_empty());
    client.user_add("alice", CANARY).await.unwrap();
    client.user_add_no_password("build").await.unwrap();
    assert_eq!(client.user_list().await.unwrap().users, ["alice", "build"]);
    refused(
        client.user_add("alice", CANARY).await,
        EtcdError::UserAlreadyExists,
    );

    client.user_delete("build").await.unwrap();
    assert_eq!(client.user_list().await.unwrap().users, ["alice"]);
    refused(client.user_delete("build").await, EtcdError::UserNotFound);
    refused(client.user_get("build").await, EtcdError::UserNotFound);
    refused(
        client.user_change_password("build", CANARY).await,
        EtcdError::UserNotFound,
    );
}

#[tokio::test]
async fn roles_are_granted_to_users_and_taken_from_them() {
    let (_cluster, client) = cluster().await;
    client.user_add("alice", CANARY).await.unwrap();
    for role in ["reader", "writer"] {
        client.role_add(role).await.unwrap();
        client.user_grant_role("alice", role).await.unwrap();
    }
    assert_eq!(
        client.role_list().await.unwrap().roles,
        ["reader", "writer"]
    );
    let roles = async || client.user_get("alice").await.unwrap().roles;
    assert_eq!(roles().await, ["reader", "writer"]);
    client.user_revoke_role("alice", "reader").await.unwrap();
    assert_eq!(roles().await, ["writer"]);
    refused(
        client.user_revoke_role("alice", "reader").await,
        EtcdError::RoleNotGranted,
    );
    // A role that is deleted is taken from everybody.
    client.role_delete("writer").await.unwrap();
    assert!(roles().await.is_empty());
    refused(
        client.user_grant_role("alice", "writer").await,
        EtcdError::RoleNotFound,
    );
    refused(
        client.role_add("reader").await,
        EtcdError::RoleAlreadyExists,
    );
    refused(client.role_get("writer").await, EtcdError::RoleNotFound);
}

#[tokio::test]
async fn permissions_are_granted_over_keys_and_ranges_and_taken_back() {
    let (_cluster, client) = cluster().await;
    client.role_add("app").await.unwrap();
    for permission in [
        Permission::read("flags"),
        Permission::write(KeyRange::prefix("log/")),
        Permission::read_write(KeyRange::range("a", "c")),
        Permission::read(KeyRange::all()),
    ] {
        let granted = client.role_grant_permission("app", permission).await;
        granted.unwrap();
    }
    let granted = async || {
        let permissions = client.role_get("app").await.unwrap().perm;
        let row = |p: &etcd_core::proto::authpb::Permission| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(&p.key), text(&p.range_end), p.perm_type())
        };
        let mut rows: Vec<_> = permissions.iter().map(row).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    };
    let row = |key: &str, end: &str, access| (key.to_owned(), end.to_owned(), access);
    let expected = [
        row("\0", "\0", Type::Read),
        row("a", "c", Type::Readwrite),
        row("flags", "", Type::Read),
        row("log/", "log0", Type::Write),
    ];
    assert_eq!(granted().await, expected);

    for keys in [
        KeyRange::all(),
        KeyRange::range("a", "c"),
        KeyRange::prefix("log/"),
    ] {
        client.role_revoke_permission("app", keys).await.unwrap();
    }
    assert_eq!(granted().await, [row("flags", "", Type::Read)]);
    refused(
        client
            .role_revoke_permission("app", KeyRange::prefix("flags"))
            .await,
        EtcdError::PermissionNotGranted,
    );
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one_and_without_one_nobody_comes_in() {
    let (cluster, client) = cluster().await;
    client.user_add("alice", "old").await.unwrap();
    client.user_add_no_password("build").await.unwrap();
    add_root(&client).await;
    client.auth_enable().await.unwrap();
    token(&client, "alice", "old").await.unwrap();
    let build = token(&client, "build", "any").await.unwrap_err();
    assert!(build.to_string().contains("no password user"), "{build}");
    for (name, password) in [("alice", "wrong"), ("nobody", "any")] {
        refused(token(&client, name, password).await, EtcdError::AuthFailed);
    }
    disable(&cluster, &client).await;

    client.user_change_password("alice", "new").await.unwrap();
    client.auth_enable().await.unwrap();
    token(&client, "alice", "new").await.unwrap();
    refused(token(&client, "alice", "old").await, EtcdError::AuthFailed);
}

/// As root, through a stub that sends a token.
async fn disable(cluster: &Cluster, client: &Client) {
    let root = token(client, "root", CANARY).await.unwrap();
    let mut auth = AuthClient::new(channel(cluster).await);
    let request = with_token(AuthDisableRequest {}, &root);
    auth.auth_disable(request).await.unwrap();
}

async fn channel(cluster: &Cluster) -> Channel {
    etcd_tests::tls::channel(cluster.endpoint(0)).await.unwrap()
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = token.parse().unwrap();
    request.metadata_mut().insert("token", value);
    request
}

#[tokio::test]
async fn authentication_is_enabled_and_disabled_and_its_status_needs_no_token() {
    let (cluster, client) = cluster().await;
    refused(client.auth_enable().await, EtcdError::RootUserNotExist);
    client.user_add("root", CANARY).await.unwrap();
    refused(client.auth_enable().await, EtcdError::RootRoleNotExist);
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    let version = cluster.version(0).await.unwrap();
    let status = async || since((3, 5), version, "AuthStatus", client.auth_status().await);
    let before = status().await;
    assert!(before.is_none_or(|before| !before.enabled));

    client.auth_enable().await.unwrap();
    if ((3, 5)..(3, 7)).contains(&version) {
        refused(client.auth_status().await, EtcdError::UserEmpty);
        differs("AuthStatus wants a token");
    } else if let (Some(on), Some(before)) = (status().await, before) {
        assert!(on.enabled && on.auth_revision >= before.auth_revision);
    }
    refused(client.get("k").await, EtcdError::UserEmpty);
    refused(client.user_list().await, EtcdError::UserEmpty);

    disable(&cluster, &client).await;
    assert!(status().await.is_none_or(|off| !off.enabled));
    client.get("k").await.unwrap();
    client.auth_disable().await.unwrap();
    assert_eq!(client.user_list().await.unwrap().users, ["root"]);
}

#[tokio::test]
async fn a_user_may_do_what_its_roles_permit_and_nothing_else() {
    let (cluster, client) = cluster().await;
    add_root(&client).await;
    client.user_add("alice", CANARY).await.unwrap();
    client.role_add("app").await.unwrap();
    let permission = Permission::read_write(KeyRange::prefix("app/"));
    let granted = client.role_grant_permission("app", permission).await;
    granted.unwrap();
    client.user_grant_role("alice", "app").await.unwrap();
    client.auth_enable().await.unwrap();

    let token = token(&client, "alice", CANARY).await.unwrap();
    let mut kv = KvClient::new(channel(&cluster).await);
    for (key, permitted) in [("app/k", true), ("app0", false), ("ap", false)] {
        let put = PutRequest {
            key: key.into(),
            ..Default::default()
        };
        let range = RangeRequest {
            key: key.into(),
            ..Default::default()
        };
        let put = kv.put(with_token(put, &token)).await;
        assert_eq!(put.is_ok(), permitted, "{key}: {put:?}");
        let range = kv.range(with_token(range, &token)).await;
        assert_eq!(range.is_ok(), permitted, "{key}: {range:?}");
    }
}

#[tokio::test]
async fn what_is_empty_is_refused_by_its_name_and_unsent() {
    let server = Scripted::start(|request| request.usual()).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let nothing = Permission::read(KeyRange::range("a", ""));
    for (result, what) in [
        (client.user_add("", "p").await.map(drop), "user's name"),
        (client.user_add("u", "").await.map(drop), "password"),
        (
            client.user_add_no_password("").await.map(drop),
            "user's name",
        ),
        (client.user_get("").await.map(drop), "user's name"),
        (client.user_delete("").await.map(drop), "user's name"),
        (
            client.user_change_password("u", "").await.map(drop),
            "password",
        ),
        (
            client.user_grant_role("u", "").await.map(drop),
            "role's name",
        ),
        (
            client.user_revoke_role("", "r").await.map(drop),
            "user's name",
        ),
        (client.role_add("").await.map(drop), "role's name"),
        (client.role_get("").await.map(drop), "role's name"),
        (client.role_delete("").await.map(drop), "role's name"),
        (
            client.role_grant_permission("r", nothing).await.map(drop),
            "a key",
        ),
        (
            client.role_revoke_permission("r", "").await.map(drop),
            "a key",
        ),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidRequest(text) if text.contains(what)),
            "{error}"
        );
    }
    let sent = server.requests("/etcdserverpb.Auth/UserAdd").len();
    assert_eq!(sent, 0);
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    let (_cluster, client) = cluster().await;
    client.user_add("alice", CANARY).await.unwrap();
    let taken = client.user_add("alice", CANARY).await.unwrap_err();
    let unknown = client.user_change_password("bob", CANARY).await;
    let off = token(&client, "alice", CANARY).await;
    for error in [taken, unknown.unwrap_err(), off.unwrap_err()] {
        assert!(error.etcd().is_some());
        for printed in [error.to_string(), format!("{error:?}")] {
            assert!(!printed.contains(CANARY), "{printed}");
        }
    }
}
