//! Compaction takes history away, on a cluster of the test's own.

use etcd_core::{Client, Code, Compact, Error, EtcdError, Get, Outcome};
use etcd_tests::cluster::Cluster;

/// A cluster with ten values of one key; the revisions at which they were put.
async fn history() -> (Cluster, Client, Vec<i64>) {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    let mut revisions = Vec::new();
    for n in 0..10 {
        revisions.push(client.put("k", n.to_string()).await.unwrap().revision());
    }
    (cluster, client, revisions)
}

fn assert_compacted(error: &Error) {
    assert!(
        error.is_compacted() && !error.is_future_revision(),
        "{error}"
    );
    assert_eq!(
        (error.code(), error.etcd(), error.outcome()),
        (
            Some(Code::OutOfRange),
            Some(EtcdError::Compacted),
            Outcome::NotApplied
        )
    );
}

#[tokio::test]
async fn a_compacted_revision_can_no_longer_be_read() {
    let (_cluster, client, revisions) = history().await;
    let at = |revision| client.get(Get::key("k").revision(revision));
    let compact = Compact::new(revisions[5]).physical();
    client.compact(compact).await.unwrap();

    assert_compacted(&at(revisions[5] - 1).await.unwrap_err());
    let kept = at(revisions[5]).await.unwrap();
    assert_eq!(kept.first().unwrap().value, "5");
    assert_eq!(at(0).await.unwrap().first().unwrap().value, "9");
}

#[tokio::test]
async fn compaction_goes_forwards_and_not_past_the_present() {
    let (_cluster, client, revisions) = history().await;
    client.compact(revisions[5]).await.unwrap();
    for revision in [revisions[5], revisions[2]] {
        assert_compacted(&client.compact(revision).await.unwrap_err());
    }
    let error = client.compact(revisions[9] + 1).await.unwrap_err();
    assert!(error.is_future_revision(), "{error}");
    assert_eq!(error.code(), Some(Code::OutOfRange));
    client.compact(revisions[9]).await.unwrap();
}
