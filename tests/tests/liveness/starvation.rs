//! A process that gets no time to run must not blame the server.

use std::time::Duration;

use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use tokio::time::sleep;

use super::while_active;

/// The proxy runs in the starved process too: when that wakes up, the answers are still under way.
#[tokio::test]
async fn a_starved_process_gives_no_verdict() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    proxy.delay(Direction::ToClient, Duration::from_millis(20));
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    // Starved before the PING about a silent call, for longer than suspicion takes, and after it, for longer than a verdict takes.
    for (silence, starved) in [(20, 1_000), (200, 4_000)]
        .map(|(a, b)| (Duration::from_millis(a), Duration::from_millis(b)))
    {
        proxy.block(Direction::ToClient);
        let call = tokio::spawn(client.get("k"));
        let calls = async {
            sleep(silence).await;
            std::thread::sleep(starved);
            proxy.unblock(Direction::ToClient);
            call.await.unwrap().unwrap();
        };
        while_active(&client, &[proxy.endpoint()], calls).await;
    }
    assert_eq!(proxy.accepted(), 1);
}
