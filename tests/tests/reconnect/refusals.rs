//! A server that answers every request with a failure is asked again, and not hammered.

use std::time::Duration;

use etcd_tests::scripted::{Reply, Scripted};
use h2::Reason;
use tokio::time::{Instant, sleep_until};

const RANGE: &str = "/etcdserverpb.KV/Range";
const TIMEOUT: Duration = Duration::from_secs(1);

/// Reads from a server that answers with `failure` until time is up; requests and connections that the server saw.
async fn read(failure: Reply) -> (usize, usize) {
    let script = move |request: &etcd_tests::scripted::Request| {
        if request.path == RANGE {
            failure.clone()
        } else {
            request.usual()
        }
    };
    let server = Scripted::start(script).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    let due = Instant::now() + TIMEOUT;
    let (error, ()) = tokio::join!(client.timeout(TIMEOUT).get("k"), sleep_until(due));
    let error = error.unwrap_err();
    assert!(Instant::now() < due + Duration::from_millis(100), "{error}");
    assert!(error.to_string().contains(&server.endpoint()), "{error}");
    (server.seen(RANGE), server.connections())
}

#[tokio::test]
async fn a_read_that_always_fails_is_repeated_with_growing_delays() {
    let failures = [
        Reply::rst(Reason::CANCEL),
        Reply::rst(Reason::REFUSED_STREAM),
        Reply::rst(Reason::ENHANCE_YOUR_CALM),
        Reply::rst_after_headers(Reason::INTERNAL_ERROR),
        Reply::http_status(502),
        Reply::status(14, "etcdserver: leader changed"),
        Reply::status(14, "etcdserver: no leader"),
        Reply::status(14, "etcdserver: request timed out"),
        Reply::status(14, "who knows"),
        Reply::status(8, "etcdserver: too many requests"),
        Reply::goaway(0, Reason::NO_ERROR, "").then(Reply::close()),
        Reply::close(),
        Reply::abort(),
    ];
    let reads = failures.into_iter().map(async |failure| {
        let text = format!("{failure:?}");
        (text, read(failure).await)
    });
    for (failure, (requests, connections)) in futures_util::future::join_all(reads).await {
        println!("{requests} requests, {connections} connections: {failure}");
        assert!(
            (2..12).contains(&requests),
            "{requests} requests: {failure}"
        );
        assert!(connections < 8, "{connections} connections: {failure}");
    }
}
