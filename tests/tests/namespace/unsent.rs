//! What is refused before it is sent, in the words of the caller.

use etcd_core::proto::authpb::Permission;
use etcd_core::proto::etcdserverpb::{
    AuthRoleGetRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest,
    PutRequest, RangeRequest,
};
use etcd_core::proto::rpc::{SNAPSHOT_PATH, Unary};
use etcd_core::proto::v3lockpb::UnlockRequest;
use etcd_core::{Client, Delete, Error, Get, Outcome, Put, Request as Sendable, Txn, Watch};
use etcd_tests::scripted::{Request, Scripted};

async fn counted() -> (Scripted, Client) {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    (server, client)
}

async fn refused<R: Sendable>(client: &Client, request: R) -> String {
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    error.to_string()
}

#[tokio::test]
async fn what_is_about_the_whole_keyspace_is_not_sent() {
    let (server, client) = counted().await;
    let inside = client.namespace("app/");
    let permission = AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm: Some(Permission::default()),
    };
    for (path, text) in [
        (
            AuthRoleGetRequest::PATH,
            refused(&inside, AuthRoleGetRequest::default()).await,
        ),
        (
            AuthRoleGrantPermissionRequest::PATH,
            refused(&inside, permission).await,
        ),
        (
            AuthRoleRevokePermissionRequest::PATH,
            refused(&inside, AuthRoleRevokePermissionRequest::default()).await,
        ),
    ] {
        for part in [path, "\"app/\"", "use the client without a namespace"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(server.seen(path), 0);
    }
}

#[tokio::test]
async fn a_snapshot_which_has_every_key_is_not_taken() {
    let (server, client) = counted().await;
    let error = client.namespace("app/").snapshot().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::InvalidRequest(_)), "{text}");
    assert!(text.contains("a snapshot has every key"), "{text}");
    assert_eq!(server.seen(SNAPSHOT_PATH), 0);
}

/// With the prefix, an empty key would be the key that equals the prefix.
#[tokio::test]
async fn an_empty_key_stays_an_empty_key() {
    let (server, client) = counted().await;
    let inside = client.namespace("app/");
    for text in [
        refused(&inside, Get::key("")).await,
        refused(&inside, Put::new("", "v")).await,
        refused(&inside, Delete::key("")).await,
        refused(&inside, Delete::prefix("")).await,
        refused(&inside, Txn::new().then(Delete::prefix(""))).await,
        refused(&inside, UnlockRequest::default()).await,
        inside.watch(Watch::key("")).await.unwrap_err().to_string(),
        inside.range_stream("").await.unwrap_err().to_string(),
    ] {
        assert!(text.contains("empty"), "{text}");
    }
    let paths = [RangeRequest::PATH, PutRequest::PATH, UnlockRequest::PATH];
    assert_eq!(paths.map(|path| server.seen(path)), [0; 3]);
}

#[tokio::test]
async fn errors_name_keys_as_the_caller_does() {
    let (_server, client) = counted().await;
    let inside = client.namespace("secret-prefix/");
    let twice = Txn::new().then([Put::new("k", "1"), Put::new("k", "2")]);
    let text = refused(&inside, twice).await;
    assert!(text.contains("\"k\"") && !text.contains("secret"), "{text}");
    let error = inside.watch(Watch::range("b", "a")).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(r#"b"b"..b"a""#) && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn the_prefix_counts_where_the_length_of_a_request_is_limited() {
    let (server, _) = counted().await;
    let strict = etcd_tests::builder([server.endpoint()]);
    let strict = strict.max_request_bytes(100).connect().await.unwrap();
    let put = || Put::new("k", vec![0; 95]);
    strict.send(put()).await.unwrap();
    let text = refused(&strict.namespace("p"), put()).await;
    assert!(text.contains("101 bytes"), "{text}");
    let watch = || Watch::key(vec![b'k'; 70]).start_revision(1);
    let error = strict.namespace(vec![b'p'; 30]).watch(watch()).await;
    assert!(matches!(error, Err(Error::InvalidRequest(_))), "{error:?}");
    assert_eq!(server.seen(PutRequest::PATH), 1);
}
