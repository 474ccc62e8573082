//! No member serves: what calls end with, and how fast the client is back.

use std::future::Future;
use std::time::{Duration, Instant};

use etcd_core::{Client, Delete, EndpointState, Error, Get, Outcome, Put, Result, Row, Txn};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;
use futures_util::future::{join_all, select_all};
use tokio::time::sleep;

use super::{LIMIT, connect, followers};

const TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a call with a time limit of [`TIMEOUT`] beside a timer of the same length, so that a busy machine delays both; it may end
/// 100 ms after the timer.
async fn ends_in_time<T: std::fmt::Debug>(call: impl Future<Output = Result<T>>) -> Error {
    let timer = async {
        sleep(TIMEOUT).await;
        Instant::now()
    };
    let call = async { (call.await, Instant::now()) };
    let (due, (result, ended)) = tokio::join!(timer, call);
    let error = result.unwrap_err();
    assert!(
        ended < due + Duration::from_millis(100),
        "{:?} late: {error}",
        ended - due
    );
    error
}

/// One call of each kind, at once; their errors.
async fn every_call_ends_in_time(client: &Client) -> Vec<Error> {
    let client = client.timeout(TIMEOUT);
    let (get, range, put, delete, txn) = tokio::join!(
        ends_in_time(client.get("k")),
        ends_in_time(client.get(Get::prefix("k"))),
        ends_in_time(client.put("lost", "v")),
        ends_in_time(client.delete(Delete::key("lost"))),
        ends_in_time(client.txn(Txn::new().then(Put::new("lost", "v")))),
    );
    vec![get, range, put, delete, txn]
}

fn names_every_endpoint(error: &Error, cluster: &Cluster, cause: &str) {
    let text = error.to_string();
    for endpoint in cluster.endpoints() {
        let found = text.split_once(&format!("{endpoint} "));
        assert!(found.is_some(), "{endpoint} is not in: {text}");
        let after = found.unwrap().1;
        let until_next = after.split("://").next().unwrap();
        assert!(
            until_next.contains(cause),
            "{cause:?} of {endpoint} is not in: {text}"
        );
    }
}

#[tokio::test]
async fn with_all_members_killed_calls_end_in_time_with_every_cause_and_the_client_is_back_within_2_s()
 {
    let cluster = Cluster::start(3).await.unwrap();
    let client = connect(cluster.endpoints()).await;
    client.put("k", "v").await.unwrap();
    for member in 0..3 {
        cluster.kill(member).await.unwrap();
    }
    let none = async || client.endpoints().active() == 0;
    wait::until("all losses are noticed", LIMIT, none)
        .await
        .unwrap();

    for error in every_call_ends_in_time(&client).await {
        names_every_endpoint(&error, &cluster, "Connection refused");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    }
    let called = Instant::now();
    let error = client.wait_ready(false).put("lost", "v").await.unwrap_err();
    assert!(
        called.elapsed() < Duration::from_millis(100),
        "{:?}",
        called.elapsed()
    );
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
    names_every_endpoint(&error, &cluster, "Connection refused");
    println!("{error}");

    let urls = cluster.endpoints();
    let error = etcd_tests::builder(&urls)
        .dial_timeout(TIMEOUT)
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoActiveEndpoint(_)), "{error}");
    names_every_endpoint(&error, &cluster, "Connection refused");

    let waiting = tokio::spawn(async move {
        client.timeout(LIMIT).get("k").await.unwrap();
        (client, Instant::now())
    });
    for member in 0..3 {
        cluster.restart(member).unwrap();
    }
    let serves = |member| Box::pin(cluster.wait_ready(member));
    select_all((0..3).map(serves)).await.0.unwrap();
    let serving = Instant::now();
    let (client, back) = waiting.await.unwrap();
    println!("back {:?} after", back.saturating_duration_since(serving));
    assert!(back < serving + Duration::from_secs(2));
    assert!(
        client.get("lost").await.unwrap().into_first().is_none(),
        "nothing was sent"
    );
}

#[tokio::test]
async fn with_all_members_stopped_calls_end_in_time_and_the_first_to_go_on_is_used_within_2_s() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = connect(cluster.endpoints()).await;
    client.put("k", "v").await.unwrap();
    for member in 0..3 {
        cluster.pause(member).unwrap();
    }
    for error in every_call_ends_in_time(&client).await {
        println!("{error}");
        names_every_endpoint(&error, &cluster, "");
    }
    let none = async || {
        client
            .endpoints()
            .rows()
            .iter()
            .all(|row| row.connections == 0)
    };
    wait::until("all are given up", LIMIT, none).await.unwrap();
    for error in every_call_ends_in_time(&client).await {
        println!("{error}");
        names_every_endpoint(&error, &cluster, "no answer to");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    }

    let waiting = tokio::spawn(async move {
        let read = Get::key("k").serializable();
        client.timeout(LIMIT).get(read).await.unwrap();
        (client, Instant::now())
    });
    let serving = resume(&cluster, 1).await;
    let (client, back) = waiting.await.unwrap();
    println!("back {:?} after", back.saturating_duration_since(serving));
    assert!(back < serving + Duration::from_secs(2));

    for member in [0, 2] {
        cluster.resume(member).unwrap();
    }
    cluster.wait_leader().await.unwrap();
    client.put("k", "w").await.unwrap();
}

/// Lets a stopped member go on; when it answered.
async fn resume(cluster: &Cluster, member: usize) -> Instant {
    cluster.resume(member).unwrap();
    let answers = async || cluster.metrics(member).await.is_ok();
    wait::until("the member answers", LIMIT, answers)
        .await
        .unwrap();
    Instant::now()
}

#[tokio::test]
async fn reads_that_wait_on_stopped_members_move_to_the_first_that_goes_on() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = connect(cluster.endpoints()).await;
    client.put("k", "v").await.unwrap();
    for member in 0..3 {
        cluster.pause(member).unwrap();
    }
    let reads: Vec<_> = (0..30)
        .map(|_| tokio::spawn(client.get(Get::key("k").serializable())))
        .collect();
    let rows = || client.endpoints().rows().to_vec();
    let stuck = async || {
        let suspect = |row: &Row| row.state == EndpointState::Suspect;
        rows().iter().all(suspect) && rows().iter().any(|row| row.in_flight > 0)
    };
    wait::until("reads are stuck", LIMIT, stuck).await.unwrap();
    // The others have the most.
    let least = (0..3).min_by_key(|i| rows()[*i].in_flight).unwrap();

    let serving = resume(&cluster, least).await;
    for read in join_all(reads).await {
        // It may have been stopped before it had the key.
        read.unwrap().unwrap();
    }
    assert!(
        serving.elapsed() < Duration::from_secs(1),
        "{:?}",
        serving.elapsed()
    );
}

#[tokio::test]
async fn a_member_without_leader_still_answers_serializable_reads() {
    let cluster = Cluster::start(3).await.unwrap();
    let alone = followers(&cluster).await[0];
    let client = connect(cluster.endpoints()).await;
    // A member answers when it has it.
    let local = client.endpoint(cluster.endpoint(alone));
    local.put("k", "v").await.unwrap();
    for other in (0..3).filter(|i| *i != alone) {
        cluster.pause(other).unwrap();
    }
    let leaderless = client.require_leader(true);
    let says_so = async || {
        let read = leaderless
            .timeout(Duration::from_millis(200))
            .get("k")
            .await;
        read.is_err_and(|error| error.is_no_leader())
    };
    wait::until("the member says that it has no leader", LIMIT, says_so)
        .await
        .unwrap();

    let short = client.timeout(TIMEOUT);
    let (get, put, refused, local, given_up) = tokio::join!(
        ends_in_time(short.get("k")),
        ends_in_time(short.put("lost", "v")),
        ends_in_time(short.require_leader(true).put("refused", "v")),
        short.get(Get::key("k").serializable()),
        client.put("lost", "v"),
    );
    // etcd gives up before the client does.
    let given_up = given_up.unwrap_err();
    assert!(matches!(given_up, Error::Server(_)), "{given_up}");
    assert_eq!(given_up.outcome(), Outcome::Unknown);
    println!("{get}\n{put}\n{refused}");
    assert!(get.is_timeout(), "{get}");
    assert!(
        put.is_timeout() && put.outcome() == Outcome::Unknown,
        "{put}"
    );
    assert!(
        refused.is_no_leader() && refused.outcome() == Outcome::NotApplied,
        "{refused}"
    );
    assert_eq!(local.unwrap().into_first().unwrap().value, "v");
    for other in (0..3).filter(|i| *i != alone) {
        cluster.resume(other).unwrap();
    }
    cluster.wait_leader().await.unwrap();
    client.put("k", "w").await.unwrap();
    assert_eq!(
        client.get("k").await.unwrap().into_first().unwrap().value,
        "w"
    );
    assert!(client.get("refused").await.unwrap().into_first().is_none());
}
