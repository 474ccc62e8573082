//! Real members start, die, stop and come back as told, and nothing of them is left.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etcd_proto::etcdserverpb::kv_client::KvClient;
use etcd_proto::etcdserverpb::{PutRequest, RangeRequest};
use etcd_tests::cluster::{Cluster, Target};
use etcd_tests::wait;
use tokio::time::timeout;
use tonic::transport::Channel;

fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

async fn client(endpoint: &str) -> KvClient<Channel> {
    KvClient::new(etcd_tests::tls::channel(endpoint).await.unwrap())
}

async fn put(endpoint: &str, key: &str) {
    let mut kv = client(endpoint).await;
    let request = PutRequest {
        key: key.to_owned().into(),
        value: "v".into(),
        ..Default::default()
    };
    kv.put(request).await.unwrap();
}

/// Which keys there are from `key` up to `end`.
async fn keys(endpoint: &str, key: &str, end: &str) -> Vec<String> {
    let mut kv = client(endpoint).await;
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    let request = RangeRequest {
        key,
        range_end,
        ..Default::default()
    };
    let found = kv.range(request).await.unwrap().into_inner();
    found
        .kvs
        .iter()
        .map(|kv| kv.key_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_killed_leader_is_replaced_and_comes_back_on_its_port() {
    let start = Instant::now();
    let cluster = Cluster::start(3).await.unwrap();
    println!("three members were ready after {:?}", start.elapsed());
    let leader = cluster.wait_leader().await.unwrap();
    assert_eq!(cluster.leader().await.unwrap(), leader);

    cluster.kill(leader).await.unwrap();
    assert!(!listens(&cluster.address(leader)));
    assert!(cluster.kill(leader).await.is_err(), "it is not running");
    let next = cluster.wait_leader().await.unwrap();
    assert_ne!(next, leader);

    cluster.restart(leader).unwrap();
    cluster.wait_ready(leader).await.unwrap();
    assert!(listens(&cluster.address(leader)));
}

#[tokio::test]
async fn a_paused_leader_keeps_its_sockets_and_is_voted_out() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    cluster.pause(leader).unwrap();
    assert!(
        listens(&cluster.address(leader)),
        "the kernel still accepts for it"
    );
    assert!(cluster.metrics(leader).await.is_err(), "it answers nothing");
    assert_ne!(cluster.wait_leader().await.unwrap(), leader);

    cluster.resume(leader).unwrap();
    cluster.wait_ready(leader).await.unwrap();
    cluster.metrics(leader).await.unwrap();
}

#[tokio::test]
async fn a_leader_without_a_majority_does_not_count() {
    let cluster = Cluster::start(3).await.unwrap();
    let leader = cluster.wait_leader().await.unwrap();
    let followers: Vec<_> = (0..3).filter(|i| *i != leader).collect();
    for follower in &followers {
        cluster.kill(*follower).await.unwrap();
    }
    // For a second or so it still calls itself the leader.
    let found = timeout(Duration::from_millis(300), cluster.wait_leader()).await;
    assert!(found.is_err(), "{found:?}");
    cluster.restart(followers[0]).unwrap();
    assert_ne!(cluster.wait_leader().await.unwrap(), followers[1]);
}

#[tokio::test]
async fn data_survives_a_restart_and_metrics_are_readable() {
    let cluster = Cluster::start(1).await.unwrap();
    let puts = [("grpc_method", "Put")];
    let before = cluster
        .metric(0, "grpc_server_started_total", &puts)
        .await
        .unwrap();
    put(&cluster.endpoint(0), "a").await;
    assert_eq!(
        cluster
            .metric(0, "grpc_server_started_total", &puts)
            .await
            .unwrap(),
        before + 1.0
    );
    assert_eq!(
        cluster
            .metric(0, "etcd_debugging_mvcc_watcher_total", &[])
            .await
            .unwrap(),
        0.0
    );
    assert!(cluster.metric(0, "no_such_metric", &[]).await.is_err());

    cluster.terminate(0).await.unwrap();
    cluster.restart(0).unwrap();
    cluster.wait_ready(0).await.unwrap();
    assert_eq!(keys(&cluster.endpoint(0), "a", "b").await, ["a"]);
}

#[tokio::test]
async fn a_member_that_cannot_start_is_an_error_with_its_log() {
    let error = Cluster::builder()
        .args(["--no-such-flag"])
        .start()
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("no-such-flag"), "{error:#}");
    let error = Cluster::builder()
        .binary("/no/such/etcd")
        .start()
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/etcd"), "{error:#}");
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing_even_when_paused_or_panicking() {
    let cluster = Cluster::start(1).await.unwrap();
    cluster.pause(0).unwrap();
    let (address, dir) = (cluster.address(0), cluster.dir().to_owned());
    let panicked = tokio::spawn(async move {
        let _cluster = cluster;
        panic!("a test fails");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!listens(&address));
    assert!(!dir.exists());
}

/// Runs itself once more as a process of its own, whose cluster (one member running, one stopped) is left behind by SIGKILL.
#[tokio::test]
async fn a_killed_test_process_leaves_no_etcd_and_no_files() {
    const CHILD: &str = "ETCD_TESTS_LEAVE_A_CLUSTER";
    if std::env::var_os(CHILD).is_some() {
        let cluster = Cluster::start(3).await.unwrap();
        cluster.pause(2).unwrap();
        println!(
            "\nleft {} {}",
            cluster.dir().display(),
            (0..3)
                .map(|i| cluster.address(i))
                .collect::<Vec<_>>()
                .join(" ")
        );
        std::future::pending::<()>().await;
    }
    let name = "cluster::a_killed_test_process_leaves_no_etcd_and_no_files";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let left = lines
        .find_map(|line| line.unwrap().strip_prefix("left ").map(str::to_owned))
        .unwrap();
    let mut words = left.split(' ');
    let dir = PathBuf::from(words.next().unwrap());
    let addresses: Vec<_> = words.collect();
    // The kernel listens for a process that is stopped, too, as long as it lives.
    assert!(addresses.iter().all(|address| listens(address)));

    child.kill().unwrap();
    child.wait().unwrap();
    let gone = async || !addresses.iter().any(|address| listens(address)) && !dir.exists();
    // Not for long: an etcd whose files are gone ends by itself after half a minute.
    wait::until("nothing is left", Duration::from_secs(10), gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn tests_of_one_binary_share_a_target_and_leave_no_keys_in_it() {
    let (target, again) = (Target::get().await.unwrap(), Target::get().await.unwrap());
    assert_eq!(target.endpoints(), again.endpoints());
    let (first, second) = (target.prefix(), target.prefix());
    assert_ne!(*first, *second);

    let endpoint = &target.endpoints()[0];
    let keys_put = [first.key("a"), second.key("b")];
    for key in &keys_put {
        put(endpoint, key).await;
    }
    let left = async || {
        let all = keys(endpoint, "etcd-tests/", "etcd-tests0").await;
        keys_put.clone().map(|key| all.contains(&key))
    };
    assert_eq!(left().await, [true, true]);
    drop(first);
    assert_eq!(left().await, [false, true]);
    drop(second);
    assert_eq!(left().await, [false, false]);
}
