use std::collections::HashSet;
use std::mem;

use etcd_core::{Error, Get, Put, SortOrder, SortTarget};
use etcd_tests::cluster::{Cluster, Prefix, Target};
use etcd_tests::wait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::*;

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(",")).await;
    (client.unwrap(), target.prefix())
}

#[tokio::test]
async fn a_scan_gives_what_a_get_gives() {
    let (client, prefix) = client().await;
    fill(&client, &prefix, 1_000, 300).await;
    let (first, last) = (key(&prefix, 10), key(&prefix, 20));
    let revision = client.get(Get::key(&first)).await.unwrap().kvs[0].mod_revision;
    let prefixed = || Get::prefix(&*prefix);
    let gets = [
        prefixed(),
        prefixed().limit(1),
        prefixed().limit(17),
        prefixed().limit(1_000),
        prefixed().limit(5_000),
        prefixed().keys_only(),
        prefixed().serializable(),
        prefixed().revision(revision),
        prefixed().sort(SortOrder::Ascend, SortTarget::Key),
        prefixed().min_mod_revision(revision + 1),
        prefixed().max_create_revision(revision),
        prefixed().max_mod_revision(revision).limit(5),
        Get::key(&first),
        Get::key(prefix.key("absent")),
        Get::range(&first, &last),
        Get::prefix(prefix.key("absent")),
        Get::range(key(&prefix, 999_990), prefix.key("a")),
    ];
    for get in gets {
        let expected = client.get(get.clone()).await.unwrap();
        assert_eq!(
            all(client.scan(get.clone())).await.unwrap(),
            expected.kvs,
            "{get:?}"
        );
    }
    let from = Get::from_key(key(&prefix, 998));
    let expected = client.get(from.clone()).await.unwrap().kvs;
    assert!(expected.len() >= 2);
    assert_eq!(all(client.scan(from)).await.unwrap()[..2], expected[..2]);
}

#[tokio::test]
async fn what_is_written_meanwhile_is_not_in_a_scan() {
    let (client, prefix) = client().await;
    let last = fill(&client, &prefix, 2_000, 2_000).await;
    let mut scan = client.scan(Get::prefix(&*prefix));
    assert_eq!(scan.revision(), None);
    let first = scan.try_next().await.unwrap().unwrap();
    assert_eq!(first.key, key(&prefix, 0));
    assert!(scan.revision().unwrap() >= last);
    client.delete(key(&prefix, 1_999)).await.unwrap();
    client.put(key(&prefix, 1_998), "new").await.unwrap();
    client.put(key(&prefix, 2_000), "new").await.unwrap();
    let rest = all(scan).await.unwrap();
    assert_eq!(rest.len(), 1_999);
    assert!(rest.iter().all(|kv| kv.value.len() == 2_000));
}

#[tokio::test]
async fn a_scan_is_a_stream_and_may_be_dropped_anywhere() {
    let (client, prefix) = client().await;
    fill(&client, &prefix, 500, 100).await;
    for taken in [0, 1, 100] {
        let kvs: Vec<_> = client
            .scan(Get::prefix(&*prefix))
            .take(taken)
            .collect()
            .await;
        assert_eq!(kvs.len(), taken);
    }
    // A future that is dropped at each of its polls loses no key.
    let mut scan = client.scan(Get::prefix(&*prefix));
    let mut count = 0;
    loop {
        match timeout(Duration::ZERO, scan.try_next()).await {
            Ok(Ok(Some(kv))) => {
                assert_eq!(kv.key, key(&prefix, count));
                count += 1;
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
    assert_eq!(count, 500);
}

#[tokio::test]
async fn a_scan_in_a_namespace_sees_its_keys_by_their_names() {
    let (client, prefix) = client().await;
    fill(&client, &prefix.key("in/"), 300, 10).await;
    client.put(prefix.key("in0"), "outside").await.unwrap();
    let inside = client.namespace(prefix.key("in/"));
    let kvs = all(inside.scan(Get::all())).await.unwrap();
    assert_eq!(kvs.len(), 300);
    assert!((0..).zip(&kvs).all(|(n, kv)| kv.key == key("", n)));
    assert_eq!(
        all(inside.scan(Get::from_key("0000298")))
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn what_a_scan_cannot_do_is_refused_at_its_first_key() {
    let (client, prefix) = client().await;
    let range = || Get::prefix(&*prefix);
    for get in [
        range().count_only(),
        range().sort(SortOrder::Descend, SortTarget::Key),
        range().sort(SortOrder::Ascend, SortTarget::Mod),
        Get::key(""),
    ] {
        let error = client.scan(get.clone()).try_next().await.unwrap_err();
        assert!(
            matches!(error, Error::InvalidRequest(_)),
            "{get:?}: {error}"
        );
    }
    let future = client.scan(range().revision(i64::MAX)).try_next().await;
    assert!(future.unwrap_err().is_future_revision());
}

#[tokio::test]
async fn a_get_over_the_receive_limit_says_that_a_scan_reads_it() {
    let target = Target::get().await.unwrap();
    let prefix = target.prefix();
    let client = etcd_tests::builder(target.endpoints()).receive_limit(100_000);
    let client = client.connect().await.unwrap();
    fill(&client, &prefix, 300, 1_000).await;
    let error = client.get(Get::prefix(&*prefix)).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge(_)) && error.to_string().contains("scan"),
        "{error}"
    );
    assert_eq!(
        all(client.scan(Get::prefix(&*prefix))).await.unwrap().len(),
        300
    );
}

#[tokio::test]
async fn scans_that_nobody_reads_hold_up_no_watch_and_no_call() {
    const KEYS: usize = 3_000;
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    fill(&client, "k", KEYS, 4_000).await;
    let mut watcher = client.watch("live").await.unwrap();
    // More than fill the window of a connection.
    let (go, _) = watch::channel(false);
    let readers: Vec<_> = (0..24)
        .map(|_| {
            let (client, mut gone) = (client.clone(), go.subscribe());
            tokio::spawn(async move {
                let mut scan = client.scan(Get::prefix("k"));
                scan.try_next().await.unwrap().unwrap();
                gone.wait_for(|go| *go).await.unwrap();
                1 + all(scan).await.unwrap().len()
            })
        })
        .collect();
    let mut sent = 0.0;
    let stalled = async || {
        let metric = cluster.metric(0, "etcd_network_client_grpc_sent_bytes_total", &[]);
        // Its own time limit is short for a server that is this busy.
        let Ok(now) = metric.await else {
            return false;
        };
        let before = mem::replace(&mut sent, now);
        sent > (64 << 20) as f64 && sent == before
    };
    let waited = wait::until("the server waits for its readers", LIMIT, stalled);
    waited.await.unwrap();
    client.put("live", "v").await.unwrap();
    let batch = timeout(LIMIT, watcher.try_next()).await.unwrap().unwrap();
    assert_eq!(batch.unwrap().events.len(), 1);
    go.send_replace(true);
    for reader in readers {
        assert_eq!(timeout(LIMIT, reader).await.unwrap().unwrap(), KEYS);
    }
}

#[tokio::test]
async fn sixteen_scans_whose_readers_put_once_for_each_key_all_finish() {
    const KEYS: usize = 3_000;
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    // More than the window of a stream: the server is held up by each reader.
    fill(&client, "k", KEYS, 4_000).await;
    let readers = (0..16).map(|reader| {
        let client = client.clone();
        async move {
            let mut scan = client.scan(Get::prefix("k"));
            let mut seen = HashSet::new();
            while let Some(kv) = scan.try_next().await.unwrap() {
                client
                    .send(Put::new(format!("done/{reader}"), &kv.key))
                    .await
                    .unwrap();
                seen.insert(kv.key);
            }
            seen.len()
        }
    });
    let seen = timeout(3 * LIMIT, join_all(readers)).await.unwrap();
    assert_eq!(seen, [KEYS; 16]);
}
