//! Logging in, and staying logged in.
//!
//! | file | about |
//! |---|---|
//! | [`members`] | real members: tokens that expire or are taken back, authentication that is switched on and off |
//! | [`passwords`] | real members: passwords that are wrong or become wrong, and what an operator reads |
//! | [`jwt`] | real members with signed tokens: role changes, expiry, tokens from elsewhere |
//! | [`certificates`] | users whom a certificate names |
//! | [`calls`] | a scripted server that refuses tokens: unary calls, and how many logins they cost |
//! | [`streams`] | the same for watches, leases and streams of replies |
//! | [`options`] | what is refused before a client is made |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod calls;
mod certificates;
mod jwt;
mod members;
mod options;
mod passwords;
mod scripted;
mod streams;

use std::time::Duration;

use etcd_core::{Client, ClientBuilder, KeyRange, Permission, Result};
use etcd_tests::cluster::{Builder, Cluster};
use etcd_tests::tls::Authority;
use rcgen::{CertificateParams, DnType};

/// For conditions that come true at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);
const PASSWORD: &str = "s3cret";

/// A client with a certificate of this common name, where it is asked for one.
fn certified(cluster: &Cluster, name: &str) -> ClientBuilder {
    let builder = etcd_tests::tls::builder(cluster.endpoints());
    if !cluster.endpoint(0).starts_with("https:") {
        return builder;
    }
    let authority = Authority::shared().unwrap();
    let name = |params: &mut CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, name);
    };
    let identity = authority.issue(["localhost"], name).unwrap();
    let tls = authority.trusted();
    builder.tls(tls.identity_pem(identity.cert, identity.key))
}

/// A cluster with authentication on: `root`, and `alice`, who may do everything under `app/`.
struct Secured {
    cluster: Cluster,
    root: Client,
}

impl Secured {
    async fn start(args: &[&str]) -> Self {
        Self::with(Cluster::builder(), args).await
    }

    async fn with(builder: Builder, args: &[&str]) -> Self {
        let mut secured = Self::open(builder, args).await;
        secured.root.auth_enable().await.unwrap();
        let root = certified(&secured.cluster, "nobody").credentials("root", PASSWORD);
        secured.root = root.connect().await.unwrap();
        secured
    }

    /// Before authentication is enabled.
    async fn open(builder: Builder, args: &[&str]) -> Self {
        // A login is expensive by design, and for tests too expensive.
        let args = args.iter().copied().chain(["--bcrypt-cost=4"]);
        let cluster = builder.args(args).start().await.unwrap();
        // Of no user; only asked for where the cluster asks for certificates.
        let root = certified(&cluster, "nobody").credentials("root", PASSWORD);
        let root = root.connect().await.unwrap();
        for (user, role) in [("root", "root"), ("alice", "app")] {
            root.user_add(user, PASSWORD).await.unwrap();
            root.role_add(role).await.unwrap();
            root.user_grant_role(user, role).await.unwrap();
        }
        let all = Permission::read_write(KeyRange::prefix("app/"));
        root.role_grant_permission("app", all).await.unwrap();
        Self { cluster, root }
    }

    fn builder(&self) -> ClientBuilder {
        etcd_tests::tls::builder(self.cluster.endpoints())
    }

    async fn log_in(&self, user: &str, password: &str) -> Result<Client> {
        self.builder().credentials(user, password).connect().await
    }

    async fn alice(&self) -> Client {
        self.log_in("alice", PASSWORD).await.unwrap()
    }

    /// How many logins the members have answered, well or not.
    async fn logins(&self) -> usize {
        let mut sum = 0.0;
        for i in 0..self.cluster.len() {
            let labels = [("grpc_method", "Authenticate")];
            let answered = self.cluster.metric(i, "grpc_server_handled_total", &labels);
            sum += answered.await.unwrap();
        }
        sum as usize
    }

    /// Makes the tokens that `alice` has invalid.
    async fn take_tokens_back(&self) {
        self.root
            .user_change_password("alice", PASSWORD)
            .await
            .unwrap();
    }
}
