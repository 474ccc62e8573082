//! Deleting keys and ranges.

use etcd_core::{Delete, Get};
use etcd_tests::cluster::Cluster;

use crate::client;

#[tokio::test]
async fn deleting_what_is_not_there_deletes_nothing() {
    let (client, prefix) = client().await;
    let before = client.put(prefix.key("other"), "v").await.unwrap();
    let delete = Delete::key(prefix.key("missing")).prev_kv();
    let reply = client.delete(delete).await.unwrap();
    assert_eq!((reply.deleted, reply.prev_kvs.len()), (0, 0));
    assert!(reply.revision() >= before.revision());
}

#[tokio::test]
async fn a_deleted_key_is_gone_but_not_from_the_past() {
    let (client, prefix) = client().await;
    let key = prefix.key("k");
    let put = client.put(&key, "v").await.unwrap();
    let reply = client.delete(&key).await.unwrap();
    assert_eq!((reply.deleted, reply.prev_kvs.len()), (1, 0));
    assert_eq!(client.get(&key).await.unwrap().count, 0);
    let then = client
        .get(Get::key(&key).revision(put.revision()))
        .await
        .unwrap();
    assert_eq!(then.first().unwrap().value, "v");

    client.put(&key, "again").await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!(kv.version, 1, "a key that comes back starts anew");
}

#[tokio::test]
async fn a_deleted_range_returns_its_old_values() {
    let (client, prefix) = client().await;
    for name in ["a", "b", "c"] {
        client
            .put(prefix.key(name), format!("value of {name}"))
            .await
            .unwrap();
    }
    let delete = Delete::range(prefix.key("a"), prefix.key("c")).prev_kv();
    let reply = client.delete(delete).await.unwrap();
    assert_eq!(reply.deleted, 2);
    let old: Vec<_> = reply
        .prev_kvs
        .iter()
        .map(|kv| kv.value_str().unwrap())
        .collect();
    assert_eq!(old, ["value of a", "value of b"]);
    let left = client.get(Get::prefix(&*prefix)).await.unwrap();
    assert_eq!(left.first().unwrap().key, prefix.key("c"));
    assert_eq!(left.count, 1);
}

#[tokio::test]
async fn a_deleted_prefix_spares_its_neighbours() {
    let (client, prefix) = client().await;
    for name in ["a", "b", "b/1", "b/\u{ff}", "b0", "c"] {
        client.put(prefix.key(name), "v").await.unwrap();
    }
    let reply = client
        .delete(Delete::prefix(prefix.key("b/")))
        .await
        .unwrap();
    assert_eq!(reply.deleted, 2);
    assert_eq!(client.get(Get::prefix(&*prefix)).await.unwrap().count, 4);
}

#[tokio::test]
async fn everything_can_be_deleted_when_it_is_asked_for_by_name() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    for key in ["\0", "a", "b", "c", "\u{10ffff}"] {
        client.put(key, "v").await.unwrap();
    }
    let from = client.delete(Delete::from_key("c")).await.unwrap();
    assert_eq!(from.deleted, 2);
    let all = client.delete(Delete::all()).await.unwrap();
    assert_eq!(all.deleted, 3);
    assert_eq!(client.get(Get::all()).await.unwrap().count, 0);
}
