//! Snapshots in files: whole, or not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use etcd_core::proto::etcdserverpb::SnapshotResponse;
use etcd_core::{Client, Error};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::scripted::{Reply, Scripted};
use etcd_tests::versions::differs;
use etcd_tests::wait;
use sha2::{Digest, Sha256};

use crate::{LIMIT, client};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

/// Some 2 MiB of keys.
async fn fill(client: &Client) {
    for i in 0..20 {
        let value = vec![b'v'; 100 << 10];
        client.put(format!("k{i}"), value).await.unwrap();
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_saved_snapshot_is_whole_and_for_its_owner_alone() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    fill(&client).await;
    client.put("k", "unmistakable value").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");

    let snapshot = client.snapshot().await.unwrap();
    let told = snapshot.version();
    if cluster.version(0).await.unwrap() >= (3, 6) {
        assert!(!told.is_empty());
    } else {
        assert_eq!(told, "");
        differs("a snapshot does not tell its version");
    }
    let announced = snapshot.progress().remaining;
    let mut seen = Vec::new();
    let saved = snapshot.save(&path, |progress| seen.push(progress)).await;
    let saved = saved.unwrap();

    let file = fs::read(&path).unwrap();
    assert_eq!((file.len() as u64, announced), (saved, saved));
    assert_eq!(file.len() % 512, 32);
    let (database, checksum) = file.split_at(file.len() - 32);
    assert_eq!(Sha256::digest(database)[..], *checksum);
    let unmistakable = b"unmistakable value";
    assert!(database.windows(18).any(|window| window == unmistakable));
    assert_eq!(files(dir.path()), ["backup.db"]);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    assert!(seen.len() > 2 && seen.is_sorted_by(|a, b| a.received < b.received));
    assert!(seen.iter().all(|now| now.received + now.remaining == saved));
    assert_eq!(seen.last().unwrap().remaining, 0);
}

#[tokio::test]
async fn a_snapshot_that_is_cut_in_the_middle_leaves_no_file_and_the_old_one_as_it_is() {
    let cluster = Cluster::start(1).await.unwrap();
    let direct = client(&cluster).await;
    fill(&direct).await;
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old.db"), "the old one").unwrap();
    for (name, close) in [("new.db", Close::Reset), ("old.db", Close::Fin)] {
        let path = dir.path().join(name);
        proxy.cut_after(Direction::ToClient, 1 << 20, close);
        let mut received = 0;
        let snapshot = client.snapshot().await.unwrap();
        let saved = snapshot.save(&path, |now| received = now.received).await;
        let error = saved.unwrap_err();
        assert!(matches!(error, Error::Connection(_)), "{error}");
        assert!((1..1 << 20).contains(&received), "{received}");
    }
    assert_eq!(files(dir.path()), ["old.db"]);
    let old = dir.path().join("old.db");
    assert_eq!(fs::read_to_string(&old).unwrap(), "the old one");

    // The connections come back by themselves, and a whole snapshot takes the place of the old file.
    let snapshot = client.snapshot().await.unwrap();
    let saved = snapshot.save(&old, |_| {}).await.unwrap();
    assert_eq!(fs::metadata(&old).unwrap().len(), saved);
    assert_eq!(files(dir.path()), ["old.db"]);
}

#[tokio::test]
async fn a_snapshot_that_is_dropped_half_way_leaves_no_file() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    fill(&client).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let snapshot = client.snapshot().await.unwrap();
    let (started, is_started) = tokio::sync::oneshot::channel::<()>();
    let mut started = Some(started);
    let save = snapshot.save(path, |_| drop(started.take()));
    tokio::select! {
        biased;
        _ = is_started => {}
        _ = save => panic!("saved before it was dropped"),
    }
    assert_eq!(files(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_says_which_file() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing").join("backup.db");
    let directory = dir.path().join("directory");
    fs::create_dir(&directory).unwrap();
    for (path, doing) in [(&missing, "create"), (&directory, "rename")] {
        let snapshot = client.snapshot().await.unwrap();
        let error = snapshot.save(path, |_| {}).await.unwrap_err();
        let Error::File(failed) = &error else {
            panic!("{error}")
        };
        assert_eq!(failed.doing, doing, "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(files(dir.path()), ["directory"]);
}

/// A server whose snapshots are these bytes, in two replies, followed by `end`.
async fn server(bytes: Vec<u8>, end: Reply) -> Scripted {
    let script = move |request: &etcd_tests::scripted::Request| {
        if request.path != SNAPSHOT {
            return request.usual();
        }
        let mut reply = Reply::headers();
        for blob in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            reply = reply.then(Reply::part(&SnapshotResponse {
                blob: blob.to_vec().into(),
                ..Default::default()
            }));
        }
        reply.then(end.clone())
    };
    Scripted::start(script).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_that_the_server_ends_well_but_is_not_whole_is_refused() {
    let database = vec![7; 4096];
    let whole = |database: &[u8]| [database, &Sha256::digest(database)[..]].concat();
    let mut damaged = whole(&database);
    damaged[100] ^= 1;
    let ok = || Reply::trailers(0, "");
    let rows = [
        (damaged, "SHA-256"),
        (whole(&database)[..4096].to_vec(), "4096 bytes"),
        (whole(&database[..4000]), "4032 bytes"),
        (Vec::new(), "0 bytes"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (bytes, wrong) in rows {
        let server = server(bytes, ok()).await;
        let client = etcd_tests::connect(server.endpoint()).await.unwrap();
        let snapshot = client.snapshot().await.unwrap();
        let saved = snapshot.save(dir.path().join("backup.db"), |_| {}).await;
        let error = saved.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert!(error.to_string().contains(wrong), "{error}");
        assert_eq!(files(dir.path()), [""; 0]);
    }

    let refused = Reply::trailers(14, "etcdserver: server stopped");
    for (end, fails) in [(ok(), false), (refused, true), (Reply::abort(), true)] {
        let server = server(whole(&database), end).await;
        let client = etcd_tests::connect(server.endpoint()).await.unwrap();
        let snapshot = client.snapshot().await.unwrap();
        let saved = snapshot.save(dir.path().join("backup.db"), |_| {}).await;
        assert_eq!(saved.is_err(), fails, "{saved:?}");
        assert_eq!(files(dir.path()).is_empty(), fails);
        let _ = fs::remove_file(dir.path().join("backup.db"));
    }
}

#[tokio::test]
async fn two_snapshots_to_one_name_do_not_mix() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = client(&cluster).await;
    fill(&client).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let save = async || {
        let snapshot = client.snapshot().await.unwrap();
        snapshot.save(&path, |_| {}).await.unwrap()
    };
    tokio::join!(save(), save());
    let file = fs::read(&path).unwrap();
    let (database, checksum) = file.split_at(file.len() - 32);
    assert_eq!(Sha256::digest(database)[..], *checksum);
    wait::until("no other file is left", LIMIT, async || {
        files(dir.path()) == ["backup.db"]
    })
    .await
    .unwrap();
}
