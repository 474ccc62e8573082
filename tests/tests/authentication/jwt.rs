//! Signed tokens: role changes, expiry, and tokens that come from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_core::proto::etcdserverpb::AuthenticateRequest;
use etcd_core::{Client, Error, Result, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::wait;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{LIMIT, PASSWORD, Secured};

/// A cluster whose tokens are signed and live `ttl`. The keys are in the directory.
async fn signing(ttl: &str) -> (Secured, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyPair::generate().unwrap();
    let (public, private) = (dir.path().join("jwt.pub"), dir.path().join("jwt.key"));
    std::fs::write(&public, keys.public_key_pem()).unwrap();
    std::fs::write(&private, keys.serialize_pem()).unwrap();
    let (public, private) = (public.display(), private.display());
    let flag =
        format!("--auth-token=jwt,pub-key={public},priv-key={private},sign-method=ES256,ttl={ttl}");
    (Secured::start(&[&flag]).await, dir)
}

/// What signs tokens for `alice`, here etcd itself, and counts how many it was asked for.
#[derive(Clone)]
struct Issuer {
    client: Client,
    issued: Arc<AtomicUsize>,
}

impl Issuer {
    fn of(secured: &Secured) -> Self {
        let client = secured.builder().build().unwrap();
        let issued = Arc::default();
        Self { client, issued }
    }

    async fn issue(self) -> Result<String> {
        self.issued.fetch_add(1, Ordering::SeqCst);
        let request = AuthenticateRequest {
            name: "alice".to_owned(),
            password: PASSWORD.to_owned(),
        };
        Ok(self.client.send(request).await?.token)
    }

    fn issued(&self) -> usize {
        self.issued.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn calls_and_watches_go_on_while_roles_are_changed() {
    let (secured, _keys) = signing("5m").await;
    let client = secured.alice().await;
    let mut watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let changes = async {
        for i in 0..40 {
            secured.root.role_add(format!("r{i}")).await.unwrap();
            secured
                .root
                .user_grant_role("alice", format!("r{i}"))
                .await
                .unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    };
    let worker = async |worker: usize| {
        let mut puts = 0;
        while !stop.load(Ordering::SeqCst) {
            client.put(format!("app/{worker}"), "v").await.unwrap();
            client.get(format!("app/{worker}")).await.unwrap();
            drop(client.watch(format!("app/{worker}")).await.unwrap());
            puts += 1;
        }
        puts
    };
    let (a, b, c, ()) = tokio::join!(worker(0), worker(1), worker(2), changes);
    let mut seen = 0;
    while seen < a + b + c {
        let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
        seen += batch.unwrap().unwrap().events.len();
    }
    assert_eq!(seen, a + b + c, "each was written once");
}

#[tokio::test]
async fn a_provider_is_asked_once_and_again_when_its_token_is_refused() {
    let (secured, _keys) = signing("5m").await;
    let issuer = Issuer::of(&secured);
    let provider = issuer.clone();
    let client = secured
        .builder()
        .token_provider(move || provider.clone().issue());
    let client = client.connect().await.unwrap();
    for i in 0..50 {
        client.put("app/k", i.to_string()).await.unwrap();
    }
    assert_eq!(issuer.issued(), 1);
    secured.root.role_add("another").await.unwrap();
    client.put("app/k", "v").await.unwrap();
    assert_eq!(issuer.issued(), 2);
    let denied = client.put("other", "v").await.unwrap_err();
    assert!(denied.is_permission_denied(), "{denied}");
    assert_eq!(issuer.issued(), 2);
}

#[tokio::test]
async fn signed_tokens_that_expire_are_replaced() {
    let (secured, _keys) = signing("2s").await;
    let issuer = Issuer::of(&secured);
    let provider = issuer.clone();
    let given = secured
        .builder()
        .token_provider(move || provider.clone().issue());
    let given = given.connect().await.unwrap();
    let own = secured.alice().await;
    let start = Instant::now();
    wait::until("tokens have expired", LIMIT, async || {
        for client in [&given, &own] {
            client.put("app/k", "v").await.unwrap();
            drop(client.watch("app/k").await.unwrap());
        }
        start.elapsed() > Duration::from_secs(8)
    })
    .await
    .unwrap();
    let (issued, seconds) = (issuer.issued(), start.elapsed().as_secs() as usize);
    assert!(
        (3..=2 + seconds).contains(&issued),
        "{issued} in {seconds} s"
    );
}

#[tokio::test]
async fn a_provider_that_fails_or_gives_what_etcd_refuses_is_an_error_that_says_so() {
    let (secured, _keys) = signing("5m").await;
    let failing = secured
        .builder()
        .token_provider(|| async { Err::<String, _>(std::io::Error::other("no such secret")) });
    let error = failing.clone().connect().await.unwrap_err();
    assert!(matches!(error, Error::Login(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the token provider gave no token: no such secret"
    );
    let error = failing.build().unwrap().watch("app/k").await.unwrap_err();
    assert!(matches!(error, Error::Login(_)), "{error:?}");

    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let wrong = secured.builder().token_provider(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Error>("canary.of.somebody") }
    });
    let wrong = wrong.connect().await.unwrap();
    let start = Instant::now();
    for _ in 0..100 {
        let error = wrong.put("app/k", "v").await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("invalid auth token") && !text.contains("canary"),
            "{text}"
        );
    }
    let (asked, seconds) = (
        asked.load(Ordering::SeqCst),
        start.elapsed().as_secs() as usize,
    );
    assert!(asked <= 4 + seconds, "{asked} times in {seconds} s");
}

#[tokio::test]
async fn a_provider_that_does_better_later_is_asked_again() {
    let (secured, _keys) = signing("5m").await;
    let (issuer, works) = (Issuer::of(&secured), Arc::new(AtomicBool::new(false)));
    let (provider, switch) = (issuer.clone(), works.clone());
    let client = secured.builder().token_provider(move || {
        let (provider, works) = (provider.clone(), switch.load(Ordering::SeqCst));
        async move {
            match works {
                true => provider.issue().await.map_err(Into::into),
                false => Err(Box::<dyn std::error::Error + Send + Sync>::from("not yet")),
            }
        }
    });
    let client = client.build().unwrap();
    assert!(client.get("app/k").await.is_err());
    works.store(true, Ordering::SeqCst);
    wait::until("it is asked again", LIMIT, async || {
        client.get("app/k").await.is_ok()
    })
    .await
    .unwrap();
    assert_eq!(issuer.issued(), 1);
}

#[tokio::test]
async fn a_token_goes_without_a_password_and_none_is_asked_for() {
    let (secured, _keys) = signing("5m").await;
    let token = Issuer::of(&secured).issue().await.unwrap();
    let before = secured.logins().await;
    let client = secured.builder().token_provider(move || {
        let token = format!("{token}\n");
        async move { Ok::<_, Error>(token) }
    });
    let client = client.connect().await.unwrap();
    client.put("app/k", "v").await.unwrap();
    assert_eq!(secured.logins().await, before);
    let off = Cluster::builder().start().await.unwrap();
    let client = etcd_tests::tls::builder(off.endpoints());
    let client = client.token_provider(|| async { Ok::<_, Error>("any") });
    client.connect().await.unwrap().put("k", "v").await.unwrap();
}
