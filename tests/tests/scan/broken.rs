use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_core::proto::etcdserverpb::{
    RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader,
};
use etcd_core::{Compact, Get};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

use super::*;

const RANGE: &str = "/etcdserverpb.KV/Range";
const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";

/// Reads on, and checks that every key comes once, in order, from the first one on.
async fn whole(mut scan: Scan, count: usize, mut each: impl AsyncFnMut(usize)) {
    for n in 0..count {
        each(n).await;
        let kv = scan.try_next().await.unwrap().unwrap();
        assert_eq!(kv.key, key("k", n));
        assert_eq!(kv.value, value(n, kv.value.len()));
    }
    assert!(scan.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_scan_goes_on_after_its_last_key_when_connections_break() {
    const KEYS: usize = 4_000;
    let cluster = Cluster::start(1).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    fill(&direct, "k", KEYS, 4_000).await;
    let proxy = Proxy::start(cluster.endpoint(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let filtered = Get::prefix("k").min_mod_revision(1);
    for (get, count) in [
        (Get::prefix("k"), KEYS),
        (Get::prefix("k").limit(3_000), 3_000),
        // Not as a stream: etcd has none with filters.
        (filtered, KEYS),
    ] {
        let scan = client.scan(get);
        whole(scan, count, async |n| match n {
            500 => proxy.drop_all(),
            1_500 => proxy.reset_all(),
            2_500 => proxy.cut_after(Direction::ToClient, 100_001, Close::Fin),
            _ => {}
        })
        .await;
    }
}

#[tokio::test]
async fn a_scan_survives_the_member_that_serves_it() {
    const KEYS: usize = 4_000;
    let cluster = Cluster::start(3).await.unwrap();
    let client = etcd_tests::builder(cluster.endpoints())
        .connect()
        .await
        .unwrap();
    fill(&client, "k", KEYS, 4_000).await;
    let mut victims = 0..2;
    whole(client.scan(Get::prefix("k")), KEYS, async |n| {
        if n % 1_500 == 500
            && let Some(victim) = victims.next()
        {
            cluster.kill(victim).await.unwrap();
            cluster.restart(victim).unwrap();
            cluster.wait_ready(victim).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_scan_whose_revision_was_compacted_when_it_must_go_on_says_so() {
    let cluster = Cluster::start(1).await.unwrap();
    let direct = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    fill(&direct, "k", 4_000, 4_000).await;
    let proxy = Proxy::start(cluster.endpoint(0)).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let mut scan = client.scan(Get::prefix("k"));
    scan.try_next().await.unwrap().unwrap();
    let last = direct.put("other", "v").await.unwrap().revision();
    direct.send(Compact::new(last).physical()).await.unwrap();
    proxy.drop_all();
    let error = loop {
        match scan.try_next().await {
            Ok(kv) => assert!(kv.is_some(), "it ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(error.is_compacted(), "{error}");
    assert!(scan.try_next().await.unwrap().is_none());
}

/// A reply of three keys, of which some are missing.
fn reply(from: usize, to: usize, count: i64, last: bool) -> RangeStreamResponse {
    let kvs = (from..to).map(|n| KeyValue {
        key: key("k", n).into(),
        value: value(n, 10).into(),
        mod_revision: 5,
        ..KeyValue::default()
    });
    let header = ResponseHeader {
        revision: 7,
        ..ResponseHeader::default()
    };
    let response = RangeResponse {
        header: last.then_some(header),
        kvs: kvs.collect(),
        more: false,
        count,
    };
    RangeStreamResponse {
        range_response: Some(response),
    }
}

/// Answers the `n`th RangeStream with `streams[n]`, and then with the last of them.
async fn scripted(streams: Vec<Vec<RangeStreamResponse>>) -> Scripted {
    let asked = Arc::new(AtomicUsize::new(0));
    let script = move |request: &Request| {
        if request.path != RANGE_STREAM {
            return request.usual();
        }
        let n = asked.fetch_add(1, Ordering::Relaxed).min(streams.len() - 1);
        let parts = streams[n].iter().map(Reply::part);
        let reply = parts.fold(Reply::headers(), Reply::then);
        reply.then(Reply::trailers(0, ""))
    };
    Scripted::builder().start(script).await.unwrap()
}

#[tokio::test]
async fn a_stream_that_ends_well_before_its_end_is_taken_up_again() {
    let server = scripted(vec![
        // Without its last message; with fewer keys than it says; the rest.
        vec![reply(0, 2, 0, false)],
        vec![reply(2, 3, 0, false), reply(3, 3, 4, true)],
        vec![reply(3, 5, 0, false), reply(5, 6, 3, true)],
    ])
    .await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    whole(client.scan(Get::prefix("k")), 6, async |_| {}).await;
    let asked: Vec<RangeRequest> = server
        .requests(RANGE_STREAM)
        .iter()
        .map(|request| request.decode().unwrap())
        .collect();
    let from: Vec<_> = asked.iter().map(|request| request.key.clone()).collect();
    let after = |n| format!("{}\0", key("k", n)).into_bytes();
    assert_eq!(from, [b"k".to_vec(), after(1), after(2)]);
    // All of one revision.
    assert!(
        asked
            .iter()
            .all(|request| request.revision == asked[0].revision && request.revision > 0)
    );
}

#[tokio::test]
async fn a_server_that_never_comes_to_the_end_is_given_up() {
    let server = scripted(vec![vec![reply(0, 1, 0, false)], vec![]]).await;
    let builder = etcd_tests::builder([server.endpoint()]);
    let client = builder.request_timeout(Duration::from_millis(500));
    let client = client.connect().await.unwrap();
    let error = all(client.scan(Get::prefix("k"))).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}

#[tokio::test]
async fn a_limit_of_time_is_one_for_the_whole_scan() {
    let script = |request: &Request| match request.path.as_str() {
        RANGE_STREAM => Reply::headers().then(Reply::part(&reply(0, 1, 0, false))),
        _ => request.usual(),
    };
    let server = Scripted::builder().start(script).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let limit = Duration::from_millis(300);
    let error = all(client.timeout(limit).scan(Get::prefix("k")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    wait::until("the call has ended on the server", LIMIT, async || {
        !server.resets().is_empty()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_server_that_has_no_stream_is_asked_for_a_range_that_arrives_bit_by_bit() {
    let script = |request: &Request| match request.path.as_str() {
        RANGE_STREAM => Reply::status(12, "unknown method RangeStream"),
        RANGE if request.decode::<RangeRequest>().unwrap().count_only => request.usual(),
        RANGE => Reply::message(&reply(0, 100, 100, true).range_response.unwrap()),
        _ => request.usual(),
    };
    let server = Scripted::builder().start(script).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    whole(client.scan(Get::prefix("k")), 100, async |_| {}).await;
    assert_eq!(server.seen(RANGE_STREAM), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_long_after_its_last_key_is_taken_up_again_all_the_same() {
    let limit = Duration::from_millis(500);
    let script = move |request: &Request| match request.path.as_str() {
        RANGE_STREAM if request.nth == 1 => Reply::headers()
            .then(Reply::part(&reply(0, 1, 0, false)))
            .then(Reply::delay(3 * limit, Reply::abort())),
        RANGE_STREAM => Reply::headers()
            .then(Reply::part(&reply(1, 3, 2, true)))
            .then(Reply::trailers(0, "")),
        _ => request.usual(),
    };
    let server = Scripted::builder().start(script).await.unwrap();
    let builder = etcd_tests::builder([server.endpoint()]).request_timeout(limit);
    let client = builder.connect().await.unwrap();
    whole(client.scan(Get::prefix("k")), 3, async |_| {}).await;
}

#[tokio::test]
async fn nothing_comes_after_a_key_from_outside_the_namespace() {
    let server = scripted(vec![vec![reply(0, 3, 3, true)]]).await;
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let mut scan = client.namespace("elsewhere/").scan(Get::all());
    let error = scan.try_next().await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert_eq!(scan.try_next().await.unwrap(), None);
}
