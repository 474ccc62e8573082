//! Options that come as text.

use std::process::Command;
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::RangeRequest;
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, ClientBuilder, Error};
use etcd_tests::scripted::{Reply, Request, Scripted};

#[tokio::test]
async fn a_client_is_made_from_a_connection_string() {
    let silent = |request: &Request| match request.path.as_str() {
        RangeRequest::PATH => Reply::silence(),
        _ => request.usual(),
    };
    let server = Scripted::start(silent).await.unwrap();
    let text = format!("{}?name=billing&request_timeout=300ms", server.endpoint());
    let client = Client::connect(text).await.unwrap();
    assert_eq!(client.name(), "billing");
    let start = Instant::now();
    let error = client.get("k").await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(300) && elapsed < Duration::from_secs(5),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn a_connection_string_with_a_mistake_makes_no_client() {
    for (text, option) in [
        ("127.0.0.1:2379?request_timeout=soon", "request_timeout"),
        ("127.0.0.1:2379?request_timeout=0", "request_timeout"),
        ("127.0.0.1:2379?timeout=5s", "options"),
        ("127.0.0.1:0?name=x", "endpoints"),
        ("?name=x", "endpoints"),
        (
            "127.0.0.1:2379?min_server_version=new",
            "min_server_version",
        ),
        ("127.0.0.1:2379?header=te:v", "header"),
    ] {
        match Client::connect(text).await {
            Err(Error::Config(wrong)) => assert_eq!(wrong.option, option, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

const CHILD: &str = "ETCD_TESTS_READ_ENVIRONMENT";

/// The environment of a process cannot be changed safely while it has threads: the test runs itself again with another one.
#[test]
fn the_environment_is_read_when_it_is_asked_for() {
    if std::env::var_os(CHILD).is_some() {
        match ClientBuilder::from_env() {
            Ok(builder) => println!("read: {builder:?}"),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    let run = |variable: &str, value: &str| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "text::the_environment_is_read_when_it_is_asked_for",
            "--nocapture",
        ]);
        let output = child.env(CHILD, "1").env(variable, value).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let read = run("ETCDCTL_ENDPOINTS", "http://10.0.0.1:2379,10.0.0.2");
    assert!(
        read.contains("read: ClientBuilder") && read.contains("http://10.0.0.1:2379,10.0.0.2"),
        "{read}"
    );
    let refused = run("ETCDCTL_PASSWORD", "hunter2");
    assert!(
        refused.contains("refused: option ETCDCTL_PASSWORD"),
        "{refused}"
    );
    assert!(!refused.contains("hunter2"), "{refused}");
}
