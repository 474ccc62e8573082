//! Smoke.

use etcd_core::Client;
use etcd_tests::cluster::Cluster;

#[tokio::test]
async fn a_value_that_was_put_is_read() {
    let cluster = Cluster::start(1).await.unwrap();
    let client = Client::connect(cluster.endpoints().join(","))
        .await
        .unwrap();
    client.put("k", "v").await.unwrap();
    let kv = client.get("k").await.unwrap().into_first().unwrap();
    assert_eq!(kv.value, "v");
    println!("{}", client.endpoints());
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        client.get("k").await.unwrap();
    }
    println!("{:?}", start.elapsed());
}
