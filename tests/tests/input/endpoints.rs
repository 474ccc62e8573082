//! Endpoints and options that no client is made from.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use etcd_core::{Client, ClientBuilder, Error, Outcome};
use etcd_tests::scripted::{Request, Scripted};
use tokio::runtime::Handle;

/// The option that the error is about, and the whole error as text.
fn refusal(error: &Error) -> (&'static str, String) {
    let Error::Config(wrong) = error else {
        panic!("not a wrong option: {error}");
    };
    assert_eq!(error.outcome(), Outcome::NotApplied);
    (wrong.option, error.to_string())
}

async fn refused(builder: ClientBuilder) -> (&'static str, String) {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let built = refusal(&builder.clone().build().unwrap_err());
    let connected = refusal(&builder.connect().await.unwrap_err());
    assert_eq!(built, connected);
    assert_eq!(tasks(), before, "nothing goes on in the background");
    built
}

#[tokio::test]
async fn endpoints_that_cannot_be_used_are_named_and_refused() {
    let none: [&str; 0] = [];
    let (option, text) = refused(Client::builder().endpoints(none)).await;
    assert_eq!(option, "endpoints");
    assert!(text.contains("the list is empty"), "{text}");

    let rows = [
        ("", "blank"),
        ("127.0.0.1:2379,", "blank"),
        ("gopher://127.0.0.1:2379", "unknown scheme"),
        ("http://127.0.0.1:70000", "the port is not a number"),
        ("http://127.0.0.1:0", "the port is not a number"),
        ("http://:2379", "the host is missing"),
        ("http://127.0.0.1:2379/v3", "path"),
        ("unix:///run/", "the path of the socket is missing"),
    ];
    for (endpoint, wrong) in rows {
        let (option, text) = refused(Client::builder().endpoints([endpoint])).await;
        assert_eq!(option, "endpoints");
        assert!(text.contains(wrong), "{endpoint}: {text}");
        let last = endpoint.rsplit(',').next().unwrap();
        assert!(text.contains(&format!("`{last}`")), "{text}");
        assert!(Client::connect(endpoint).await.is_err());
    }
}

#[tokio::test]
async fn one_bad_endpoint_spoils_the_list_and_no_other_is_dialled() {
    let good = TcpListener::bind("127.0.0.1:0").unwrap();
    good.set_nonblocking(true).unwrap();
    let good_url = format!("http://{}", good.local_addr().unwrap());
    let endpoints = [good_url.as_str(), "http://127.0.0.1:70000"];
    refused(Client::builder().endpoints(endpoints)).await;
    assert_eq!(good.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Without options of TLS: never plaintext where TLS was asked for.
#[tokio::test]
async fn not_a_byte_goes_to_an_https_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for scheme in ["https", "HTTPS", "unixs"] {
        let (_, text) =
            refused(Client::builder().endpoints([format!("{scheme}://{address}")])).await;
        assert!(text.contains("plaintext never takes its place"), "{text}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_view_of_an_endpoint_that_is_not_the_clients_is_refused() {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = Client::connect(server.endpoint()).await.unwrap();
    let secure = server.endpoint().replace("http", "https");
    for (endpoint, wrong) in [
        (secure.as_str(), "plaintext never takes its place"),
        ("http://127.0.0.1:1", "is not one of the client's endpoints"),
        ("http://127.0.0.1:70000", "the port is not a number"),
        ("", "blank"),
    ] {
        let error = client.endpoint(endpoint).get("k").await.unwrap_err();
        let (option, text) = refusal(&error);
        assert_eq!(option, "endpoint");
        assert!(text.contains(wrong), "{text}");
    }
    assert_eq!(server.seen("/etcdserverpb.KV/Range"), 0);
    // Another spelling of its own is fine.
    let spelled = server.endpoint().replace("http", "HTTP") + "/";
    client.endpoint(spelled).get("k").await.unwrap();
}

#[tokio::test]
async fn no_time_limit_and_no_size_limit_of_a_reply_is_zero() {
    let builder = || Client::builder().endpoints(["127.0.0.1:2379"]);
    let zero = Duration::ZERO;
    for (option, builder) in [
        ("dial_timeout", builder().dial_timeout(zero)),
        ("dns_timeout", builder().dns_timeout(zero)),
        ("connect_timeout", builder().connect_timeout(zero)),
        ("request_timeout", builder().request_timeout(zero)),
        ("read_attempt_timeout", builder().read_attempt_timeout(zero)),
        ("keep_alive_interval", builder().keep_alive_interval(zero)),
        ("keep_alive_timeout", builder().keep_alive_timeout(zero)),
        ("suspect_after", builder().suspect_after(zero)),
        ("dead_after", builder().dead_after(zero)),
        ("receive_limit", builder().receive_limit(0)),
        ("watch_queue_revisions", builder().watch_queue(0, 1)),
        ("watch_queue_bytes", builder().watch_queue(1, 0)),
        ("max_revision_bytes", builder().max_revision_bytes(0)),
    ] {
        assert_eq!(refused(builder).await.0, option);
    }
}

#[test]
fn a_client_outside_a_runtime_is_refused() {
    let error = Client::builder().endpoints(["127.0.0.1:2379"]).build();
    let (option, text) = refusal(&error.unwrap_err());
    assert_eq!(option, "build");
    assert!(text.contains("tokio runtime"), "{text}");
}
