//! Members that die, hang or restart: their watches go on elsewhere, in time, and nothing is lost or doubled.

use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::MoveLeaderRequest;
use etcd_core::{Client, Get, KeyRange};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;

use crate::LIMIT;
use crate::history::Recorder;
use crate::traffic::Writer;

/// Three members, and a client that knows all of them.
pub(crate) struct Trio {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
}

/// A member that feeds a watch.
pub(crate) struct Served {
    pub(crate) member: usize,
    pub(crate) watch: Recorder,
    /// Knows the other two only.
    pub(crate) others: Client,
}

impl Trio {
    async fn start() -> Self {
        Self::of(Cluster::start(3).await.unwrap()).await
    }

    pub(crate) async fn of(cluster: Cluster) -> Self {
        let client = etcd_tests::builder(cluster.endpoints());
        let client = client.connect().await.unwrap();
        let trio = Self { cluster, client };
        trio.active(3).await;
        trio
    }

    pub(crate) async fn active(&self, count: usize) {
        wait::until("the endpoints are active", LIMIT, async || {
            self.client.endpoints().active() == count
        })
        .await
        .unwrap();
    }

    /// Watches `k/`; the member that serves it is made the leader, or a follower.
    pub(crate) async fn serve(&self, leader: bool) -> Served {
        let watch = self.client.watch(KeyRange::prefix("k/")).await.unwrap();
        let rows = self.client.endpoints().rows().to_vec();
        let member = rows.iter().position(|row| row.watchers > 0).unwrap();
        let leads = self.cluster.wait_leader().await.unwrap();
        if (leads == member) != leader {
            let next = if leader { member } else { (member + 1) % 3 };
            let target_id = rows[next].member_id;
            let from = self.client.endpoint(&*rows[leads].endpoint);
            from.send(MoveLeaderRequest { target_id }).await.unwrap();
            assert_eq!(self.cluster.wait_leader().await.unwrap(), next);
        }
        let others = (0..3).filter(|i| *i != member);
        let others = others.map(|i| self.cluster.endpoint(i));
        let others = etcd_tests::builder(others).connect();
        Served {
            member,
            watch: Recorder::new(watch),
            others: others.await.unwrap(),
        }
    }
}

impl Served {
    /// Writes a key that the watch is to deliver: when that was confirmed, and when it was delivered.
    pub(crate) async fn write(&self) -> (Instant, Instant) {
        // A write that a dead leader was to confirm hangs for seconds: others succeed before it fails.
        let attempt = self.others.timeout(Duration::from_millis(200));
        let begun = Instant::now();
        loop {
            match attempt.put("k/after", "").await {
                Ok(put) => {
                    let written = Instant::now();
                    return (written, self.watch.came(put.revision()).await);
                }
                Err(error) => assert!(begun.elapsed() < LIMIT, "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_within_a_second_when_its_member_is_killed() {
    for leader in [false, true] {
        let trio = Trio::start().await;
        let served = trio.serve(leader).await;
        let writer = Writer::start(served.others.clone(), "k/");
        served.write().await;
        trio.cluster.kill(served.member).await.unwrap();
        let killed = Instant::now();
        let (written, delivered) = served.write().await;
        let late = delivered.saturating_duration_since(written);
        println!(
            "leader {leader}: written after {:?}, delivered {late:?} later",
            written - killed
        );
        assert!(late < Duration::from_secs(1), "{late:?}");

        let end = writer.stop().await;
        let survivor = trio.cluster.endpoint((served.member + 1) % 3);
        served.watch.check(&survivor, end).await;
    }
}

#[tokio::test]
async fn a_watch_leaves_a_hanging_member_within_two_seconds_when_calls_wait_for_it() {
    let trio = Trio::start().await;
    let served = trio.serve(false).await;
    let writer = Writer::start(served.others.clone(), "k/");
    served.write().await;
    let hanging = trio.cluster.endpoint(served.member);
    trio.cluster.pause(served.member).unwrap();
    let paused = Instant::now();
    let call = trio
        .client
        .endpoint(&hanging)
        .get(Get::key("k").serializable());
    let call = tokio::spawn(call);
    let (_, delivered) = served.write().await;
    let took = delivered - paused;
    println!("delivered after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // What the member has still to say when it wakes up is no news.
    trio.cluster.resume(served.member).unwrap();
    let _ = call.await.unwrap();
    trio.active(3).await;
    let end = writer.stop().await;
    served.watch.check(&hanging, end).await;
}

#[tokio::test]
async fn a_watch_of_an_idle_client_leaves_a_hanging_member_within_ten_seconds() {
    let trio = Trio::start().await;
    let served = trio.serve(false).await;
    served.write().await;
    trio.cluster.pause(served.member).unwrap();
    let paused = Instant::now();
    let (_, delivered) = served.write().await;
    let took = delivered - paused;
    println!("delivered after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_rolling_restart_of_all_members_loses_and_doubles_nothing() {
    let trio = Trio::start().await;
    let mut watches = Vec::new();
    for _ in 0..8 {
        let watch = trio.client.watch(KeyRange::prefix("k/")).await.unwrap();
        watches.push(Recorder::new(watch));
    }
    let writer = Writer::start(trio.client.clone(), "k/");
    for member in 0..3 {
        // As an operator does it, and once less gently.
        if member == 1 {
            trio.cluster.kill(member).await.unwrap();
        } else {
            trio.cluster.terminate(member).await.unwrap();
        }
        trio.cluster.restart(member).unwrap();
        trio.cluster.wait_ready(member).await.unwrap();
        trio.active(3).await;
    }
    let end = writer.stop().await;
    for watch in &watches {
        watch.check(&trio.cluster.endpoint(0), end).await;
    }
}

#[tokio::test]
async fn a_watch_outlives_the_death_of_all_members() {
    let trio = Trio::start().await;
    let watch = trio.client.watch(KeyRange::prefix("k/")).await.unwrap();
    let watch = Recorder::new(watch);
    let writer = Writer::start(trio.client.clone(), "k/");
    watch.came(watch.start + 20).await;
    for member in 0..3 {
        trio.cluster.kill(member).await.unwrap();
    }
    trio.active(0).await;
    for member in 0..3 {
        trio.cluster.restart(member).unwrap();
    }
    let end = writer.stop().await;
    watch.check(&trio.cluster.endpoint(0), end).await;
}
