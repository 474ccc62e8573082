//! Calls and streams.

use std::time::Duration;

use etcd_core::{Get, Watch};
use etcd_tests::cluster::Target;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use tracing::Level;

use crate::capture::{Capture, Span, Told};
use crate::{LIMIT, PUT, RANGE, two};

const SUMMARY: (&str, &str) = ("etcd_core::call", "call failed");

fn is(span: &Span, field: &str, value: &str) {
    assert_eq!(
        span.fields.get(field).map(String::as_str),
        Some(value),
        "{field} of {span:?}"
    );
}

fn summary(capture: &Capture) -> Told {
    let mut told = capture.events(SUMMARY.0, SUMMARY.1);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

#[tokio::test]
async fn a_call_is_one_span_with_the_names_of_opentelemetry() {
    let capture = Capture::start();
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    client.get("k").await.unwrap();
    let spans = capture.spans("etcd.call", &RANGE[1..]);
    assert_eq!(spans.len(), 1, "{spans:?}");
    let address = server.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    for (field, value) in [
        ("otel.kind", "client"),
        ("otel.name", &RANGE[1..]),
        ("rpc.system.name", "grpc"),
        ("rpc.response.status_code", "OK"),
        ("server.address", host),
        ("server.port", port),
    ] {
        is(&spans[0], field, value);
    }
    assert!(
        spans[0].closed && !spans[0].fields.contains_key("error.type"),
        "{spans:?}"
    );
    assert!(capture.events(SUMMARY.0, SUMMARY.1).is_empty());
    assert_eq!(capture.number("etcd_client_calls_in_flight{}"), 0.0);
    let labels = "{method=etcdserverpb.KV/Range,result=ok}";
    assert_eq!(
        capture.number(&format!("etcd_client_calls_total{labels}")),
        1.0
    );
    let took = capture.samples(&format!("etcd_client_call_duration_seconds{labels}"));
    assert!(
        matches!(took[..], [seconds] if seconds > 0.0 && seconds < 20.0),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_call_that_fails_is_told_once_with_all_that_was_tried() {
    let capture = Capture::start();
    let (servers, client) = two(RANGE, || Reply::rst(h2::Reason::REFUSED_STREAM)).await;
    let client = client.timeout(Duration::from_millis(500));
    let error = client.get("k").await.unwrap_err();
    let told = summary(&capture);
    assert_eq!(
        (told.level, told.field("rpc.method")),
        (Level::WARN, &RANGE[1..])
    );
    assert_eq!(told.field("error.type"), "Timeout", "{told:?}");
    assert_eq!(told.field("error"), error.to_string());
    assert_eq!(told.field("outcome"), "NotApplied");
    let seen: usize = servers.iter().map(|server| server.seen(RANGE)).sum();
    let attempts: usize = told.field("attempts").parse().unwrap();
    assert!(attempts >= 2 && attempts == seen, "{told:?}, {seen} seen");
    for server in &servers {
        assert!(
            told.field("endpoints").contains(&server.endpoint()),
            "{told:?}"
        );
    }
    let elapsed: u64 = told.field("elapsed_ms").parse().unwrap();
    assert!((450..20_000).contains(&elapsed), "{told:?}");
    let retries = capture.number("etcd_client_call_retries_total{method=etcdserverpb.KV/Range}");
    assert_eq!(retries, attempts as f64 - 1.0);
    let span = capture.spans("etcd.call", &RANGE[1..]).remove(0);
    is(&span, "rpc.response.status_code", "DEADLINE_EXCEEDED");
    is(&span, "error.type", "Timeout");
    is(&span, "otel.status_code", "ERROR");
}

#[tokio::test]
async fn what_etcd_refuses_is_told_once_and_quietly() {
    let capture = Capture::start();
    let (_servers, client) = two(PUT, || Reply::status(3, "etcdserver: key is not provided")).await;
    client.put("k", "v").await.unwrap_err();
    let told = summary(&capture);
    assert_eq!(
        (told.level, told.field("attempts")),
        (Level::DEBUG, "1"),
        "{told:?}"
    );
    assert_eq!(told.field("error.type"), "Server");
    let span = capture.spans("etcd.call", &PUT[1..]).remove(0);
    is(&span, "rpc.response.status_code", "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_call_that_is_dropped_is_counted_and_no_longer_in_flight() {
    let capture = Capture::start();
    let (servers, client) = two(PUT, Reply::silence).await;
    let put = tokio::spawn(client.put("k", "v"));
    let seen = async || servers.iter().any(|server| server.seen(PUT) == 1);
    wait::until("it was seen", LIMIT, seen).await.unwrap();
    assert_eq!(capture.number("etcd_client_calls_in_flight{}"), 1.0);
    put.abort();
    put.await.unwrap_err();
    assert_eq!(capture.number("etcd_client_calls_in_flight{}"), 0.0);
    let dropped = "etcd_client_calls_total{method=etcdserverpb.KV/Put,result=dropped}";
    assert_eq!(capture.number(dropped), 1.0);
    assert!(capture.events(SUMMARY.0, SUMMARY.1).is_empty());
}

#[tokio::test]
async fn reads_of_many_replies_are_calls_with_streams() {
    let capture = Capture::start();
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    let prefix = target.prefix();
    client.put(prefix.key("a"), "v").await.unwrap();
    let mut scan = client.scan(Get::prefix(prefix.key("")));
    while scan.try_next().await.unwrap().is_some() {}
    let method = "etcdserverpb.KV/RangeStream";
    let calls = capture.spans("etcd.call", method);
    assert_eq!(calls.len(), 1, "{calls:?}");
    is(&calls[0], "rpc.response.status_code", "OK");
    let mut refused = client.scan(Get::prefix(prefix.key("")).revision(i64::MAX));
    refused.try_next().await.unwrap_err();
    assert_eq!(summary(&capture).field("rpc.method"), method);
    let result = |result| format!("etcd_client_calls_total{{method={method},result={result}}}");
    assert_eq!(capture.number(&result("ok")), 1.0);
    assert_eq!(capture.number(&result("Server")), 1.0);
}

#[tokio::test]
async fn a_stream_is_a_span_as_long_as_it_lasts() {
    let capture = Capture::start();
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    let method = "etcdserverpb.Watch/Watch";
    let gauge = format!("etcd_client_streams{{method={method}}}");
    let watcher = client
        .watch(Watch::key(target.prefix().key("k")))
        .await
        .unwrap();
    let open = capture.spans("etcd.stream", method);
    assert!(matches!(&open[..], [span] if !span.closed), "{open:?}");
    assert!(open[0].fields.contains_key("server.address"), "{open:?}");
    assert_eq!(capture.number(&gauge), 1.0);
    watcher.cancel().await.unwrap();
    wait::until("the span is closed", LIMIT, async || {
        capture.spans("etcd.stream", method)[0].closed && capture.number(&gauge) == 0.0
    })
    .await
    .unwrap();
}
