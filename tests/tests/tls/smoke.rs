use etcd_core::Get;
use etcd_tests::cluster::Cluster;
use etcd_tests::tls;

#[tokio::test]
async fn kv_over_tls() {
    let cluster = Cluster::builder().tls(true).start().await.unwrap();
    let client = tls::connect(cluster.endpoints().join(",")).await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(client.get(Get::key("k")).await.unwrap().first().unwrap().value, "v");
    println!("{}", client.endpoints());
}

#[tokio::test]
async fn plaintext_to_tls() {
    let cluster = Cluster::builder().tls(true).start().await.unwrap();
    let t = std::time::Instant::now();
    let e = etcd_core::Client::connect(cluster.endpoint(0).replace("https", "http")).await.unwrap_err();
    println!("{e} {:?}", t.elapsed());
    let cluster = Cluster::builder().start().await.unwrap();
    let e = tls::connect(cluster.endpoint(0).replace("http", "https")).await.unwrap_err();
    println!("{e} {:?}", t.elapsed());
    let cluster = Cluster::builder().client_cert_auth().start().await.unwrap();
    for _ in 0..5 {
    let t = std::time::Instant::now();
    let e = tls::connect(cluster.endpoint(0)).await.unwrap_err();
    println!("{e} {:?}", t.elapsed());
    }
}
