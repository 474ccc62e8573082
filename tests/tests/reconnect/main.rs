//! Connections are lost in every way a network can lose them: what callers see, and how the client connects again.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod attempts;
mod black_holes;
mod hygiene;
mod losses;
mod refusals;
mod slow_start;

use std::time::Duration;

use etcd_core::Client;
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::Proxy;

/// For what must happen, but may take its time on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// One member, reached through a proxy.
struct Proxied {
    cluster: Cluster,
    proxy: Proxy,
    client: Client,
}

impl Proxied {
    async fn start() -> Proxied {
        let cluster = Cluster::start(1).await.unwrap();
        let proxy = Proxy::start(cluster.address(0)).await.unwrap();
        let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
        Proxied {
            cluster,
            proxy,
            client,
        }
    }

    /// A client that does not go through the proxy.
    async fn direct(&self) -> Client {
        etcd_tests::connect(self.cluster.endpoint(0)).await.unwrap()
    }
}

/// Two followers of three members, the first behind a proxy: half of the calls go through it, and the other can take over.
struct Pair {
    _cluster: Cluster,
    proxy: Proxy,
    direct: String,
    client: Client,
}

impl Pair {
    async fn start() -> Pair {
        let cluster = Cluster::start(3).await.unwrap();
        let leader = cluster.wait_leader().await.unwrap();
        let followers: Vec<_> = (0..3).filter(|i| *i != leader).collect();
        let proxy = Proxy::start(cluster.address(followers[0])).await.unwrap();
        let direct = cluster.endpoint(followers[1]);
        let client = etcd_tests::builder([proxy.endpoint(), direct.clone()])
            .connect()
            .await
            .unwrap();
        etcd_tests::endpoints::active(&client, &proxy.endpoint(), LIMIT)
            .await
            .unwrap();
        etcd_tests::endpoints::active(&client, &direct, LIMIT)
            .await
            .unwrap();
        Pair {
            _cluster: cluster,
            proxy,
            direct,
            client,
        }
    }
}
