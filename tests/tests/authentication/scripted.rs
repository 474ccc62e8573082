//! A member that accepts one token at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse, StatusRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, ClientBuilder};
use etcd_tests::scripted::{Reply, Request, Scripted};

use crate::PASSWORD;

pub(crate) const AUTHENTICATE: &str = AuthenticateRequest::PATH;
pub(crate) const INVALID: &str = "etcdserver: invalid auth token";
/// The codes and messages with which etcd asks for another token.
pub(crate) const STALE: [(u32, &str); 3] = [
    (16, INVALID),
    (3, "etcdserver: revision of auth store is old"),
    (3, "etcdserver: user name is empty"),
];

/// The server, and the number of the token that it accepts: `token-1` is the first one that it gives.
pub(crate) struct Member {
    pub(crate) server: Scripted,
    pub(crate) accepted: Arc<AtomicUsize>,
}

impl Member {
    /// Refuses what has no valid token with this status. A login takes as long as `login`.
    pub(crate) async fn start(refusal: (u32, &'static str), login: Duration) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let server = Scripted::start(script(accepted.clone(), refusal, login));
        let server = server.await.unwrap();
        Self { server, accepted }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        etcd_tests::tls::builder([self.server.endpoint()])
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder()
            .credentials("svc", PASSWORD)
            .connect()
            .await
            .unwrap()
    }

    /// From now on a token is wanted that nobody has yet.
    pub(crate) fn expire(&self) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn logins(&self) -> usize {
        self.server.seen(AUTHENTICATE)
    }
}

fn script(
    accepted: Arc<AtomicUsize>,
    (code, message): (u32, &'static str),
    login: Duration,
) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| match request.path.as_str() {
        AUTHENTICATE => {
            // Whoever logs in gets a token that is good until the next one expires it.
            accepted.store(request.nth, Ordering::SeqCst);
            let token = format!("token-{}", request.nth);
            let header = Some(request.header());
            Reply::delay(
                login,
                Reply::message(&AuthenticateResponse { header, token }),
            )
        }
        StatusRequest::PATH => request.usual(),
        _ if is_good(request, &accepted) => request.usual(),
        _ => Reply::status(code, message),
    }
}

fn is_good(request: &Request, accepted: &AtomicUsize) -> bool {
    let good = format!("token-{}", accepted.load(Ordering::SeqCst));
    request.metadata("token") == Some(good.as_str())
}
