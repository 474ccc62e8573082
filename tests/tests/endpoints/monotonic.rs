//! Reads that do not go back in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Balance, Client, Error, Get, Outcome, Put, Txn, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::scripted::{Reply, Request, Scripted};

use crate::{LIMIT, all_active};

const RANGE: &str = RangeRequest::PATH;

/// A member that has come as far as that.
async fn at(member: u64, revision: Arc<AtomicI64>) -> Scripted {
    let script = move |request: &Request| {
        let header = Some(ResponseHeader {
            revision: revision.load(Ordering::SeqCst),
            ..request.header()
        });
        match request.path.as_str() {
            RANGE => Reply::message(&RangeResponse {
                header,
                ..RangeResponse::default()
            }),
            PutRequest::PATH => Reply::message(&PutResponse {
                header,
                ..PutResponse::default()
            }),
            TxnRequest::PATH => Reply::message(&TxnResponse {
                header,
                ..TxnResponse::default()
            }),
            _ => request.usual(),
        }
    };
    Scripted::builder()
        .member(member)
        .start(script)
        .await
        .unwrap()
}

fn serializable() -> Get {
    Get::key("k").serializable()
}

async fn connect(servers: &[&Scripted], monotonic: bool) -> Client {
    let urls = servers.iter().map(|server| server.endpoint());
    let client = etcd_tests::builder(urls).balance(Balance::RoundRobin);
    let client = client.monotonic_reads(monotonic).connect().await.unwrap();
    all_active(&client).await;
    client
}

#[tokio::test]
async fn a_member_that_is_behind_is_passed_over_and_its_answer_is_not_returned() {
    let behind = Arc::new(AtomicI64::new(3));
    let a = at(1, Arc::new(AtomicI64::new(10))).await;
    let b = at(2, behind.clone()).await;
    for monotonic in [false, true] {
        let client = connect(&[&a, &b], monotonic).await;
        client.endpoint(a.endpoint()).put("k", "v").await.unwrap();
        let (mut revisions, asked) = (Vec::new(), b.seen(RANGE));
        for _ in 0..10 {
            revisions.push(client.get(serializable()).await.unwrap().revision());
        }
        assert!(b.seen(RANGE) > asked, "it is asked");
        assert_eq!(revisions.contains(&3), !monotonic, "{revisions:?}");
    }
    // When it is the only one, it is asked until it has caught up, or the time is over.
    let client = connect(&[&b], true).await;
    behind.store(12, Ordering::SeqCst);
    client.put("k", "v").await.unwrap();
    behind.store(11, Ordering::SeqCst);
    let short = client.timeout(Duration::from_millis(300));
    let error = short.get(serializable()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert!(error.to_string().contains("caught up"), "{error}");
    let only = Txn::new().then(serializable());
    let error = short.txn(only).await.unwrap_err();
    assert!(error.to_string().contains("caught up"), "{error}");
    let read = tokio::spawn(client.get(serializable()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    behind.store(12, Ordering::SeqCst);
    assert_eq!(read.await.unwrap().unwrap().revision(), 12);
}

#[tokio::test]
async fn reads_of_a_member_that_is_cut_off_do_not_go_below_what_a_watch_delivered() {
    let cluster = Cluster::builder().members(3).partitionable();
    let cluster = cluster.start().await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let (stale, fresh) = ((leader + 1) % 3, (leader + 2) % 3);
    let client = etcd_tests::builder(cluster.endpoints()).monotonic_reads(true);
    let client = client.connect().await.unwrap();
    all_active(&client).await;
    client.put("k", "old").await.unwrap();
    cluster.isolate(stale).await.unwrap();
    let other = etcd_tests::connect(cluster.endpoint(leader)).await.unwrap();
    let watching = client.endpoint(cluster.endpoint(fresh));
    let mut watcher = watching.watch(Watch::key("k")).await.unwrap();
    other.send(Put::new("k", "new")).await.unwrap();
    let batch = tokio::time::timeout(LIMIT, watcher.try_next()).await;
    let batch = batch.unwrap().unwrap().unwrap();
    // Nothing but the watch has told of it so far.
    let cut_off = client.endpoint(cluster.endpoint(stale));
    let cut_off = cut_off.timeout(Duration::from_millis(500));
    let error = cut_off.get(serializable()).await.unwrap_err();
    assert!(error.to_string().contains("caught up"), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    for _ in 0..30 {
        let read = client.get(serializable()).await.unwrap();
        assert!(read.revision() >= batch.revision);
        assert_eq!(read.into_first().unwrap().value, "new");
    }
    cluster.heal();
    let cut_off = cut_off.timeout(LIMIT);
    let read = cut_off.get(serializable()).await.unwrap();
    assert_eq!(read.into_first().unwrap().value, "new");
}
