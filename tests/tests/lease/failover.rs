//! Three members, of which the one that renews the leases dies or hangs.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::MoveLeaderRequest;
use etcd_core::{Client, Lease, LeaseState};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;

use crate::{LATE, LIMIT, attach, exists, has_key, secs, valid_for};

/// A cluster, a client of some of its members, and two leases that it keeps.
struct Bench {
    cluster: Cluster,
    client: Client,
    leases: Vec<Lease>,
}

/// Which members a client is told of.
enum Known {
    All,
    Followers,
}

impl Bench {
    async fn start(known: Known, ttls: [u64; 2]) -> Self {
        let cluster = Cluster::start(3).await.unwrap();
        let leader = cluster.wait_leader().await.unwrap();
        let told = |&i: &usize| matches!(known, Known::All) || i != leader;
        let endpoints: Vec<_> = (0..3).filter(told).map(|i| cluster.endpoint(i)).collect();
        let client = etcd_tests::builder(&endpoints).connect();
        let client = client.await.unwrap();
        wait::until("all are active", LIMIT, async || {
            client.endpoints().active() == endpoints.len()
        })
        .await
        .unwrap();
        let mut leases = Vec::new();
        for ttl in ttls {
            let lease = client.lease(secs(ttl)).await.unwrap();
            attach(&client, &lease.id().to_string(), &lease).await;
            leases.push(lease);
        }
        Self {
            cluster,
            client,
            leases,
        }
    }

    /// The member by way of which both leases are renewed.
    async fn carrier(&self) -> usize {
        wait::until("a stream carries both", LIMIT, async || {
            self.carries().is_some()
        })
        .await
        .unwrap();
        self.carries().unwrap()
    }

    /// Makes a member the leader, if it is not: which one carries the leases depends on which one answered first.
    async fn lead(&self, member: usize) {
        let leader = self.cluster.wait_leader().await.unwrap();
        if leader != member {
            let rows = self.client.endpoints();
            let url = self.cluster.endpoint(member);
            let row = rows.rows().iter().find(|row| *row.endpoint == url).unwrap();
            let request = MoveLeaderRequest {
                target_id: row.member_id,
            };
            let asked = self.client.endpoint(self.cluster.endpoint(leader));
            asked.send(request).await.unwrap();
        }
        wait::until("the carrier leads", LIMIT, async || {
            self.cluster.leader().await.is_ok_and(|now| now == member)
        })
        .await
        .unwrap();
    }

    fn carries(&self) -> Option<usize> {
        let rows = self.client.endpoints();
        let row = rows.rows().iter().find(|row| row.leases == 2)?;
        (0..3).find(|&i| self.cluster.endpoint(i) == *row.endpoint)
    }

    /// Waits until another member carries the leases, which stay valid all the time, and returns how long that took.
    async fn moved_from(&self, carrier: usize) -> Duration {
        let start = Instant::now();
        wait::until("another member carries both", LIMIT, async || {
            assert!(self.leases.iter().all(Lease::is_valid), "{:?}", self.leases);
            self.carries().is_some_and(|now| now != carrier)
        })
        .await
        .unwrap();
        start.elapsed()
    }

    /// The leases stay valid for `span`, and then etcd has them and their keys.
    async fn kept_for(&self, span: Duration) {
        valid_for(span, &self.leases).await;
        for lease in &self.leases {
            assert_eq!(lease.state(), LeaseState::Healthy);
            assert!(exists(&self.client, lease.id()).await);
            assert!(has_key(&self.client, &lease.id().to_string()).await);
        }
    }
}

#[tokio::test]
async fn killing_the_follower_that_renews_the_leases_moves_them_at_once() {
    let bench = Bench::start(Known::Followers, [4, 5]).await;
    let carrier = bench.carrier().await;
    bench.cluster.kill(carrier).await.unwrap();
    let took = bench.moved_from(carrier).await;
    assert!(took < LATE, "{took:?}");
    bench.kept_for(secs(6)).await;
}

#[tokio::test]
async fn stopping_the_follower_that_renews_the_leases_moves_them_within_a_third_of_the_shortest() {
    let bench = Bench::start(Known::Followers, [4, 5]).await;
    let carrier = bench.carrier().await;
    bench.cluster.pause(carrier).unwrap();
    let took = bench.moved_from(carrier).await;
    // The next renewal of the shorter one is at most 0.4 of its TTL away, and may be unanswered for a third of it.
    assert!(took < secs(4) * 11 / 15 + LATE, "{took:?}");
    bench.kept_for(secs(6)).await;
    bench.cluster.resume(carrier).unwrap();
    bench.kept_for(secs(2)).await;
}

#[tokio::test]
async fn killing_the_leader_loses_no_lease() {
    let bench = Bench::start(Known::All, [8, 10]).await;
    let leader = bench.carrier().await;
    bench.lead(leader).await;
    bench.cluster.kill(leader).await.unwrap();
    bench.moved_from(leader).await;
    bench.kept_for(secs(10)).await;
}
