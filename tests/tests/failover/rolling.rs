//! All members are restarted one after the other.

use std::time::Duration;

use etcd_tests::cluster::Cluster;
use etcd_tests::endpoints;
use etcd_tests::load::Load;

use super::{LIMIT, check, connect, only_unknown_writes_failed};

#[tokio::test]
async fn a_rolling_restart_fails_no_read() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = connect(cluster.endpoints()).await;
    let load = Load::start(&client, "load/", 8, 8).await.unwrap();
    for member in 0..3 {
        load.more(100, 100, LIMIT).await.unwrap();
        cluster.terminate(member).await.unwrap();
        cluster.restart(member).unwrap();
        cluster.wait_ready(member).await.unwrap();
        endpoints::active(&client, &cluster.endpoint(member), LIMIT)
            .await
            .unwrap();
    }
    load.more(100, 100, LIMIT).await.unwrap();
    let report = load.stop().await;
    only_unknown_writes_failed(&report);
    assert!(report.reads.longest_gap() < Duration::from_secs(4));
    check(&report, &client).await;
}
