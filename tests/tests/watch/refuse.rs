//! What cannot be watched: refused before it is sent, or by the server, which ends that watch alone.

use etcd_core::proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
};
use etcd_core::{Client, Error, EtcdError, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::scripted::Reply;

use crate::member::{Stream, member};
use crate::{client, end, next, text};

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

#[tokio::test]
async fn what_no_server_accepts_is_refused_before_it_is_sent() {
    let (server, scripted) = member().await;
    let limited = etcd_tests::builder([server.endpoint()]).max_request_bytes(100);
    let limited = limited.connect().await.unwrap();
    let refused = [
        (&scripted, Watch::key("")),
        (&scripted, Watch::range("b", "a")),
        (&scripted, Watch::range("a", "a")),
        (&scripted, Watch::key("k").start_revision(-1)),
        (&limited, Watch::key("k".repeat(200))),
    ];
    for (client, watch) in refused {
        let error = client.watch(watch.clone()).await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidRequest(_)),
            "{watch:?}: {error}"
        );
    }
    let elsewhere = scripted.endpoint("http://127.0.0.1:1").watch("k").await;
    assert!(matches!(elsewhere.unwrap_err(), Error::Config(_)));
    assert_eq!(server.seen(crate::member::WATCH), 0);
}

#[tokio::test]
async fn all_keys_and_all_keys_from_one_on_can_be_watched() {
    let (client, prefix) = client().await;
    let mut all = client.watch(Watch::prefix("")).await.unwrap();
    let mut from = client
        .watch(Watch::from_key(prefix.key("b")))
        .await
        .unwrap();
    let first = client.put(prefix.key("a"), "1").await.unwrap().revision();
    client.put(prefix.key("b"), "2").await.unwrap();
    // Other tests write too.
    let mut ours = Vec::new();
    for watcher in [&mut all, &mut from] {
        while watcher.next_revision() < first + 2 {
            let mut events = next(watcher).await.events;
            events.retain(|event| {
                event
                    .kv
                    .as_ref()
                    .unwrap()
                    .key
                    .starts_with(prefix.as_bytes())
            });
            ours.extend(text(&prefix, &events));
        }
    }
    assert_eq!(ours, ["put a 1", "put b 2", "put b 2"]);
}

#[tokio::test]
async fn a_create_that_is_refused_ends_no_other_watch() {
    let (server, client) = member().await;
    let before = tokio::spawn(client.watch("before"));
    let mut stream = Stream::next(&server).await;
    let first = stream.confirm().await;
    let mut before = before.await.unwrap().unwrap();

    let watches = ["denied", "after", "empty"];
    let watches = watches.map(|key| tokio::spawn(client.watch(Watch::key(key).start_revision(5))));
    let mut after = 0;
    // All three are asked for before one is answered; refusals have the id -1, whoever they are for.
    for create in [
        stream.create().await,
        stream.create().await,
        stream.create().await,
    ] {
        match &create.key[..] {
            b"denied" => stream.refused(DENIED).await,
            b"empty" => stream.refused("mvcc: watcher range is empty").await,
            _ => {
                after = create.watch_id;
                stream.created(after).await;
            }
        }
    }
    let [denied, watch, empty] = watches;
    let error = denied.await.unwrap().unwrap_err();
    assert!(error.is_permission_denied(), "{error}");
    let error = empty.await.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("watcher range is empty"),
        "{error}"
    );
    assert!(matches!(error, Error::Server(_)), "{error}");

    let mut watch = watch.await.unwrap().unwrap();
    stream.events(first, &[(5, "before")]).await;
    stream.events(after, &[(6, "after")]).await;
    assert_eq!(text("", &next(&mut before).await.events), ["put before 5"]);
    assert_eq!(text("", &next(&mut watch).await.events), ["put after 6"]);
    assert_eq!(server.seen(crate::member::WATCH), 1);
}

#[tokio::test]
async fn a_watch_whose_permission_is_taken_away_ends_alone_and_says_so() {
    let (server, client) = member().await;
    let (a, b) = (
        tokio::spawn(client.watch("a")),
        tokio::spawn(client.watch("b")),
    );
    let mut stream = Stream::next(&server).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let create = stream.create().await;
        stream.created(create.watch_id).await;
        ids.push((create.key, create.watch_id));
    }
    ids.sort();
    let (mut a, mut b) = (a.await.unwrap().unwrap(), b.await.unwrap().unwrap());
    stream.canceled(ids[0].1, DENIED, 0).await;
    let error = end(&mut a).await.unwrap();
    assert!(error.is_permission_denied(), "{error}");
    assert_eq!(a.try_next().await.unwrap(), None);
    stream.events(ids[1].1, &[(5, "b")]).await;
    assert_eq!(text("", &next(&mut b).await.events), ["put b 5"]);
}

#[tokio::test]
async fn a_stream_that_is_refused_to_its_user_ends_its_watches() {
    let (server, client) = member().await;
    let statuses = [
        (7, "etcdserver: permission denied"),
        (16, "etcdserver: invalid auth token"),
    ];
    for (code, message) in statuses {
        let watch = tokio::spawn(client.watch("k"));
        let mut stream = Stream::next(&server).await;
        stream.create().await;
        stream.0.reply(Reply::status(code, message)).await;
        let error = watch.await.unwrap().unwrap_err();
        assert!(error.is_permission_denied() || error.is_auth(), "{error}");
    }
}

#[tokio::test]
async fn a_user_whom_etcd_does_not_know_is_told_so() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let mut before = client.watch("k").await.unwrap();
    client.put("k", "1").await.unwrap();
    enable_auth(&client).await;
    // Without a start revision it is the read of the present one that is refused, with one it is the watch.
    for watch in [Watch::key("k"), Watch::key("k").start_revision(1)] {
        let error = client.watch(watch).await.unwrap_err();
        assert_eq!(error.etcd(), Some(EtcdError::UserEmpty), "{error}");
    }
    assert_eq!(text("", &next(&mut before).await.events), ["put k 1"]);
}

/// From then on etcd wants to know of every call who makes it.
async fn enable_auth(client: &Client) {
    let (name, role) = ("root".to_owned(), "root".to_owned());
    let user = AuthUserAddRequest {
        name: name.clone(),
        password: "secret".to_owned(),
        ..AuthUserAddRequest::default()
    };
    client.send(user).await.unwrap();
    client
        .send(AuthRoleAddRequest { name: role.clone() })
        .await
        .unwrap();
    let grant = AuthUserGrantRoleRequest { user: name, role };
    client.send(grant).await.unwrap();
    client.send(AuthEnableRequest {}).await.unwrap();
}
