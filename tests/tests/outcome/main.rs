//! What became of a write whose call failed: each row of the outcome table (`Error::outcome`, `net/outcome.rs`), by a
//! server that does it on cue and counts how often it saw the request.
//!
//! | row | tests |
//! |---|---|
//! | still queued, or never connected | [`unsent`] |
//! | GOAWAY, lost connections | [`lost`] |
//! | RST_STREAM and replies that are none | [`replies`] |
//! | etcd's own answers | [`answers`] |
//! | time limits | [`unsent`], [`lost`] |
//! | the same against real etcd, cut at every byte | [`cut`] |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod answers;
mod cut;
mod lost;
mod replies;
mod unsent;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::{PutRequest, RangeRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, Error, Outcome};
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;

const PUT: &str = PutRequest::PATH;
const RANGE: &str = RangeRequest::PATH;
/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A server that answers each put and each read as `script` says, and everything else as usual.
async fn server(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Scripted {
    let script = move |request: &Request| match request.path.as_str() {
        PUT | RANGE => script(request),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

/// A server that answers the first put, and the first read, with `first`, and every other one as usual.
async fn first(first: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Scripted {
    server(move |request| match request.nth {
        1 => first(request),
        _ => request.usual(),
    })
    .await
}

async fn client(server: &Scripted) -> Client {
    etcd_tests::connect(server.endpoint()).await.unwrap()
}

/// Two members, of which the one that is asked for a key first, whichever that is, answers with `first`; both otherwise
/// answer as usual. The client knows both.
async fn pair(
    first: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static,
) -> (Vec<Scripted>, Client) {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut servers = Vec::new();
    for member in [1, 2] {
        let (asked, first) = (asked.clone(), first.clone());
        let script = move |request: &Request| match request.path.as_str() {
            PUT | RANGE if asked.fetch_add(1, Ordering::SeqCst) == 0 => first(request),
            _ => request.usual(),
        };
        let builder = Scripted::builder().member(member);
        servers.push(builder.start(script).await.unwrap());
    }
    let endpoints = servers.iter().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    both_active(&client).await;
    (servers, client)
}

async fn both_active(client: &Client) {
    wait::until("both endpoints are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
}

/// How often each of them saw the RPC.
fn seen(servers: &[Scripted], path: &str) -> Vec<usize> {
    servers.iter().map(|server| server.seen(path)).collect()
}

/// The write failed, may have been applied, and was sent once. The client still works.
async fn unknown_and_sent_once(server: &Scripted, client: &Client) -> Error {
    let error = client.put("k", "v").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(server.seen(PUT), 1);
    client.get("k").await.unwrap();
    assert_eq!(server.seen(PUT), 1);
    error
}

/// The write succeeds although its first attempt did not; the server saw that and a second one.
async fn sent_again(server: &Scripted, client: &Client) {
    client.put("k", "v").await.unwrap();
    assert_eq!(server.seen(PUT), 2);
}
