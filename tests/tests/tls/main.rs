//! TLS: what a client makes of every kind of certificate and server, and that nothing leaves it before both are right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod client_certificates;
mod config;
mod etcd;
mod negotiation;
mod pool;
mod roots;
mod rotation;
mod server_certificates;
mod unix;

use std::time::{Duration, Instant};

use etcd_core::{Client, Error, Tls, TlsError};
use etcd_tests::scripted::{Request, Scripted};
use etcd_tests::tls::Authority;
use rustls::ServerConfig;

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);
/// A client that cannot succeed gives up long before the time limit of its dial.
const DIAL: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::from_secs(10);

fn authority() -> &'static Authority {
    Authority::shared().unwrap()
}

async fn serve(config: ServerConfig) -> Scripted {
    Scripted::builder()
        .tls(config)
        .start(Request::usual)
        .await
        .unwrap()
}

async fn serve_plaintext() -> Scripted {
    let builder = Scripted::builder().plaintext();
    builder.start(Request::usual).await.unwrap()
}

/// The server under another name: `localhost` resolves to its address.
fn named(server: &Scripted, host: &str) -> String {
    server.endpoint().replace("127.0.0.1", host)
}

async fn dial(endpoint: &str, tls: Tls) -> Result<Client, Error> {
    let builder = Client::builder().endpoints([endpoint]).tls(tls);
    builder.dial_timeout(DIAL).connect().await
}

/// What the client says is wrong. It says so at once, names the endpoint, and has sent nothing of HTTP/2 to the server.
async fn refused(server: &Scripted, endpoint: &str, tls: Tls) -> TlsError {
    let start = Instant::now();
    let error = dial(endpoint, tls).await.unwrap_err();
    assert!(start.elapsed() < AT_ONCE, "{:?}: {error}", start.elapsed());
    let wrong = explained(&error, endpoint);
    assert_eq!(server.received(), 0, "{wrong}");
    wrong
}

/// The cause of `error`, which must be about TLS with `endpoint`, in type and in words.
fn explained(error: &Error, endpoint: &str) -> TlsError {
    let Error::NoActiveEndpoint(unreachable) = error else {
        panic!("not about endpoints: {error}");
    };
    let [report] = &unreachable.endpoints[..] else {
        panic!("one endpoint was given: {error}");
    };
    assert_eq!(&*report.endpoint, endpoint);
    let wrong = report.tls.clone().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(error.tls(), Some(&wrong));
    let text = error.to_string();
    assert!(
        text.contains(endpoint) && text.contains(&wrong.to_string()),
        "{text}"
    );
    wrong
}
