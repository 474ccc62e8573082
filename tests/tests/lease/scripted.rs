//! A server that refuses, falls silent, or ends its streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Error, Lease, LeaseState, LostReason, Outcome};
use etcd_tests::scripted::{Incoming, Reply, Request, Scripted};
use etcd_tests::wait;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{KEEP_ALIVE, LATE, LIMIT, lost, secs, valid_for};

const GRANT: &str = LeaseGrantRequest::PATH;

/// A member that answers grants as `script` says.
async fn granting(id: u64, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Scripted {
    let script = move |request: &Request| match request.path.as_str() {
        GRANT => script(request),
        _ => request.usual(),
    };
    Scripted::builder().member(id).start(script).await.unwrap()
}

/// Grants what is asked for.
fn granted(request: &Request) -> Reply {
    let LeaseGrantRequest { id, ttl } = request.decode().unwrap();
    let header = Some(request.header());
    let error = String::new();
    Reply::message(&LeaseGrantResponse {
        header,
        id,
        ttl,
        error,
    })
}

/// A server that grants everything, and a client of it.
async fn one() -> (Scripted, Client) {
    let server = granting(1, granted).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    (server, client)
}

/// Two of them, a client of both, and a lease whose renewals go to the first of the two that are returned.
async fn two(ttl: Duration) -> ([Scripted; 2], Lease, Incoming) {
    let servers = [granting(1, granted).await, granting(2, granted).await];
    let endpoints = servers.each_ref().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    wait::until("both are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    let lease = client.lease(ttl).await.unwrap();
    let [first, second] = servers;
    tokio::select! {
        stream = next_stream(&first) => ([first, second], lease, stream),
        stream = next_stream(&second) => ([second, first], lease, stream),
    }
}

async fn next_stream(server: &Scripted) -> Incoming {
    timeout(LIMIT, server.next_stream()).await.unwrap()
}

/// The next lease to be renewed on a stream; `None` when the client has ended it.
async fn asked(stream: &mut Incoming) -> Option<i64> {
    let asked = timeout(LIMIT, stream.decode::<LeaseKeepAliveRequest>());
    Some(asked.await.unwrap().ok()?.id)
}

async fn renew(stream: &mut Incoming, id: i64, ttl: i64) {
    let header = Some(stream.request().header());
    let answer = LeaseKeepAliveResponse { header, id, ttl };
    stream.send(&answer).await;
}

/// Renews every lease that is asked for, until the client ends the stream.
async fn serve(mut stream: Incoming, ttl: i64) {
    while let Some(id) = asked(&mut stream).await {
        renew(&mut stream, id, ttl).await;
    }
}

#[tokio::test]
async fn a_grant_whose_answer_is_lost_is_sent_again_under_its_id() {
    let server = granting(1, |request| match request.nth {
        1 => Reply::abort(),
        _ => granted(request),
    });
    let server = server.await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let lease = client.lease(secs(60)).await.unwrap();
    let ids: Vec<_> = server.requests(GRANT);
    let ids = ids.iter().map(|grant| grant.decode::<LeaseGrantRequest>());
    let ids: Vec<_> = ids.map(|grant| grant.unwrap().id).collect();
    assert_eq!(ids, [lease.id().0; 2]);
}

#[tokio::test]
async fn an_id_that_exists_is_ours_only_after_an_attempt_that_may_have_been_applied() {
    const EXISTS: &str = "etcdserver: lease already exists";
    let server = granting(1, |_| Reply::status(9, EXISTS)).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let error = client.lease(secs(60)).await.unwrap_err();
    assert!(error.is_lease_already_exists(), "{error}");
    assert_eq!(
        (error.outcome(), server.seen(GRANT)),
        (Outcome::NotApplied, 1)
    );

    let server = granting(1, |request| match request.nth {
        1 => Reply::abort(),
        _ => Reply::status(9, EXISTS),
    });
    let server = server.await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let granting = client.lease(secs(1));
    let serving = async { serve(next_stream(&server).await, 7).await };
    let lease = tokio::select! {
        lease = granting => lease.unwrap(),
        () = serving => panic!("the stream ended"),
    };
    assert_eq!(
        lease.ttl(),
        secs(7),
        "the answer with the TTL was lost, so it is asked for"
    );
    assert_eq!(server.seen(GRANT), 2);
}

#[tokio::test]
async fn a_time_to_live_of_zero_is_refused_before_anything_is_sent() {
    let (server, client) = one().await;
    let error = client.lease(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    assert_eq!(server.seen(GRANT), 0);
}

/// A member whose PINGs are answered and whose renewals are not is left for another one.
async fn silent(ttl: u64, patience: Duration) {
    let ([_silent, other], lease, mut stream) = two(secs(ttl)).await;
    assert_eq!(asked(&mut stream).await, Some(lease.id().0));
    let start = Instant::now();
    let mut next = next_stream(&other).await;
    assert_eq!(asked(&mut next).await, Some(lease.id().0));
    let took = start.elapsed();
    assert!(took < patience + LATE, "TTL {ttl} s: {took:?}");
    assert!(took > patience / 2, "TTL {ttl} s: {took:?} is hasty");
    renew(&mut next, lease.id().0, ttl as i64).await;
    // Given up, after what was under way on it.
    while asked(&mut stream).await.is_some() {}
    tokio::select! {
        () = serve(next, ttl as i64) => panic!("the stream ended"),
        () = valid_for(secs(2), std::slice::from_ref(&lease)) => {}
    }
    assert_eq!(lease.state(), LeaseState::Healthy);
}

#[tokio::test]
async fn renewals_unanswered_for_a_third_of_the_time_to_live_or_two_seconds_go_elsewhere() {
    tokio::join!(silent(3, secs(1)), silent(12, secs(2)));
}

#[tokio::test]
async fn a_member_that_has_no_leader_is_left_for_another_one() {
    let ([_alone, other], lease, mut stream) = two(secs(6)).await;
    stream
        .reply(Reply::status(14, "etcdserver: no leader"))
        .await;
    let start = Instant::now();
    let mut next = next_stream(&other).await;
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    assert_eq!(asked(&mut next).await, Some(lease.id().0));
    renew(&mut next, lease.id().0, 6).await;
}

#[tokio::test]
async fn renewing_once_asks_another_member_when_one_is_silent() {
    let ([_silent, other], lease, _stream) = two(secs(60)).await;
    let client = etcd_tests::builder([_silent.endpoint(), other.endpoint()]);
    let client = client.connect().await.unwrap();
    let renewing = client.timeout(secs(2)).keep_alive_once(lease.id());
    let serving = async { serve(next_stream(&other).await, 60).await };
    tokio::select! {
        renewed = renewing => assert_eq!(renewed.unwrap(), secs(60)),
        () = serving => panic!("the stream ended"),
    }
}

#[tokio::test]
async fn renewing_once_ends_at_its_time_limit_when_nobody_answers() {
    let (server, client) = one().await;
    let limit = Duration::from_millis(600);
    let start = Instant::now();
    let error = client.timeout(limit).keep_alive_once(7.into()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    assert!(start.elapsed() < limit + LATE);
    assert!(error.to_string().contains(&server.endpoint()), "{error}");
}

#[tokio::test]
async fn streams_that_the_server_ends_are_opened_again_without_haste() {
    let (server, client) = one().await;
    let lease = client.lease(secs(10)).await.unwrap();
    let ends = [
        Reply::status(14, "etcdserver: server stopped"),
        Reply::rst(h2::Reason::INTERNAL_ERROR),
        Reply::headers().then(Reply::end()),
    ];
    let ending = async {
        for end in ends.iter().cycle() {
            next_stream(&server).await.reply(end.clone()).await;
        }
    };
    let span = secs(2);
    assert!(timeout(span, ending).await.is_err());
    // From 50 ms, doubling: 6 in 2 s.
    let opened = server.seen(KEEP_ALIVE);
    assert!((3..=8).contains(&opened), "{opened} streams in {span:?}");
    tokio::select! {
        () = async { serve(next_stream(&server).await, 10).await } => panic!("the stream ended"),
        () = valid_for(secs(4), std::slice::from_ref(&lease)) => {}
    }
    assert_eq!(lease.state(), LeaseState::Healthy);
    assert!(server.seen(KEEP_ALIVE) <= opened + 1);
}

#[tokio::test]
async fn a_lease_that_the_server_refuses_to_renew_does_not_disturb_the_others() {
    const DENIED: &str = "etcdserver: permission denied";
    let (server, client) = one().await;
    let mut leases = Vec::new();
    for _ in 0..10 {
        leases.push(client.lease(secs(3)).await.unwrap());
    }
    let refused = leases.swap_remove(4);
    let id = refused.id().0;
    let one_stream = async |mut stream: Incoming| {
        let mut end = Reply::status(7, DENIED);
        while let Some(asked) = asked(&mut stream).await {
            if asked == id {
                return stream.reply(end).await;
            }
            renew(&mut stream, asked, 3).await;
            end = Reply::trailers(7, DENIED);
        }
    };
    let serving = async {
        let mut streams = futures_util::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = server.next_stream() => streams.push(one_stream(stream)),
                Some(()) = futures_util::StreamExt::next(&mut streams) => {}
            }
        }
    };
    let watching = async {
        let (reason, _) = lost(&refused).await;
        assert_eq!(reason, LostReason::Deadline);
        let opened = server.seen(KEEP_ALIVE);
        valid_for(secs(5), &leases).await;
        assert_eq!(
            server.seen(KEEP_ALIVE),
            opened,
            "the others stay on one stream"
        );
        opened
    };
    let healthy = async {
        loop {
            let at_risk = leases
                .iter()
                .find(|lease| lease.state() != LeaseState::Healthy);
            assert!(at_risk.is_none(), "{at_risk:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        opened = watching => assert!(opened < 15, "{opened} streams"),
        () = async { tokio::join!(serving, healthy); } => {}
    }
}

#[tokio::test]
async fn renewals_of_a_thousand_leases_are_spread_over_time() {
    let (server, client) = one().await;
    let ttl = secs(8);
    let renewals = Arc::new(Mutex::new(HashMap::<i64, Vec<Instant>>::new()));
    let mut serving = JoinSet::new();
    let mut granted = HashMap::new();
    let mut leases = Vec::new();
    for _ in 0..50 {
        for lease in join_all((0..20).map(|_| client.lease(ttl))).await {
            let lease = lease.unwrap();
            granted.insert(lease.id().0, Instant::now());
            leases.push(lease);
        }
        if serving.is_empty() {
            let (mut stream, renewals) = (next_stream(&server).await, renewals.clone());
            serving.spawn(async move {
                while let Some(id) = asked(&mut stream).await {
                    renewals
                        .lock()
                        .unwrap()
                        .entry(id)
                        .or_default()
                        .push(Instant::now());
                    renew(&mut stream, id, 8).await;
                }
            });
        }
    }
    let twice = || {
        let renewals = renewals.lock().unwrap();
        renewals.len() == 1_000 && renewals.values().all(|times| times.len() >= 2)
    };
    wait::until("each was renewed twice", LIMIT, async || {
        assert!(leases.iter().all(Lease::is_valid));
        twice()
    })
    .await
    .unwrap();
    assert_eq!(server.seen(KEEP_ALIVE), 1);

    let renewals = renewals.lock().unwrap();
    let share = |from: Instant, to: Instant| (to - from).as_secs_f64() / ttl.as_secs_f64();
    let mut first: Vec<_> = renewals
        .iter()
        .map(|(id, at)| share(granted[id], at[0]))
        .collect();
    let mut second: Vec<_> = renewals.values().map(|at| share(at[0], at[1])).collect();
    for shares in [&mut first, &mut second] {
        shares.sort_by(f64::total_cmp);
        let (tenth, ninetieth) = (shares[100], shares[900]);
        assert!(
            tenth > 0.25 && ninetieth < 0.5,
            "{tenth} to {ninetieth} of the TTL"
        );
        assert!(
            ninetieth - tenth > 0.08,
            "{tenth} to {ninetieth} of the TTL"
        );
    }
}

#[tokio::test]
async fn nothing_is_left_on_the_server_or_here_when_all_is_dropped() {
    let server = granting(1, granted).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let leases = [
        client.lease(secs(3)).await.unwrap(),
        client.lease(secs(60)).await.unwrap(),
    ];
    let mut stream = next_stream(&server).await;
    let id = asked(&mut stream).await.unwrap();
    renew(&mut stream, id, 3).await;
    drop(leases);
    assert_eq!(asked(&mut stream).await, None, "the stream is ended");
    assert_eq!(server.open(), 2, "and the connections are kept");

    let lease = client.lease(secs(3)).await.unwrap();
    let mut stream = next_stream(&server).await;
    drop(client);
    let id = asked(&mut stream).await.unwrap();
    renew(&mut stream, id, 3).await;
    drop(lease);
    wait::until("nothing is left", LIMIT, async || {
        server.open() == 0 && tasks() == before
    })
    .await
    .unwrap();
}
