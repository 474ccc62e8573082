//! A secret that is given to a client is written nowhere: not by `Debug`, `Display` or an error, and not by this client, HTTP/2
//! or TLS into the log, however much of it is wanted.
//!
//! A binary of its own: it collects everything that is logged in this process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::fmt::{Debug, Display};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use etcd_core::proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse, StatusRequest};
use etcd_core::proto::rpc::Unary;
use etcd_core::{Client, ClientBuilder, Error, Get, KeyRange, Permission, Put, Result, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::scripted::{Reply, Scripted};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

const LIMIT: Duration = Duration::from_secs(30);
const CANARY: &str = "canary7Qx";
const AUTHENTICATE: &str = AuthenticateRequest::PATH;

/// All that was logged and printed in this process.
#[derive(Clone)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Collects from the first call on.
    fn collect() -> &'static Self {
        static OUTPUT: OnceLock<Output> = OnceLock::new();
        OUTPUT.get_or_init(|| {
            let output = Output(Arc::default());
            let writer = output.clone();
            tracing_subscriber::fmt()
                .with_max_level(LevelFilter::TRACE)
                .with_span_events(FmtSpan::FULL)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            let panics = output.clone();
            std::panic::set_hook(Box::new(move |panic| {
                panics.display(panic);
                eprintln!("{panic}");
            }));
            output
        })
    }

    fn debug(&self, value: &dyn Debug) {
        let mut output = self.clone();
        writeln!(output, "{value:?}\n{value:#?}").unwrap();
    }

    fn display(&self, value: &dyn Display) {
        let mut output = self.clone();
        writeln!(output, "{value}").unwrap();
    }

    fn error(&self, error: &Error) {
        self.debug(error);
        self.display(error);
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            self.debug(&error);
            self.display(&error);
            source = error.source();
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The secret is in what was written, in none of the shapes that bytes are printed in.
    #[track_caller]
    fn is_clean(&self) {
        let text = self.text();
        let bytes = CANARY.as_bytes();
        let list = |separator: &str, one: fn(&u8) -> String| {
            bytes.iter().map(one).collect::<Vec<_>>().join(separator)
        };
        for shape in [
            CANARY.to_owned(),
            list(", ", u8::to_string),
            list("", |byte| format!("{byte:02x}")),
            list("", |byte| format!("{byte:02X}")),
            list(" ", |byte| format!("{byte:02x}")),
            list("", |byte| format!("\\x{byte:02x}")),
            // As base64, where nothing or one or two bytes stand before it.
            "Y2FuYXJ5N1F4".to_owned(),
            "NhbmFyeTdRe".to_owned(),
            "jYW5hcnk3UX".to_owned(),
        ] {
            let found = text.lines().find(|line| line.contains(&shape));
            assert!(found.is_none(), "{}", found.unwrap_or_default());
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that a client does and gives to its user, of which all is printed.
async fn use_client(output: &Output, client: &Client) {
    output.debug(client);
    client.put("app/k", "v").await.unwrap();
    output.debug(&client.get("app/k").await.unwrap());
    let watcher = client.watch(Watch::prefix("app/")).await.unwrap();
    let lease = client.lease(Duration::from_secs(10)).await.unwrap();
    client
        .send(Put::new("app/k", "v").lease(&lease))
        .await
        .unwrap();
    let pieces = client.range_stream(Get::prefix("app/")).await;
    assert!(pieces.as_ref().err().is_none_or(Error::is_unsupported));
    output.debug(&watcher);
    output.debug(&lease);
    output.debug(&pieces);
    output.debug(&client.endpoints());
    output.display(&client.endpoints());
    output.error(&client.put("other", "v").await.unwrap_err());
    output.error(&client.watch("other").await.unwrap_err());
    let request = AuthenticateRequest {
        name: "alice".to_owned(),
        password: CANARY.to_owned(),
    };
    output.debug(&request);
    output.debug(&client.send(request).await.unwrap());
}

async fn secured(cluster: &Cluster) -> Client {
    let root = etcd_tests::tls::builder(cluster.endpoints()).credentials("root", CANARY);
    let root = root.connect().await.unwrap();
    for (user, role) in [("root", "root"), ("alice", "app")] {
        root.user_add(user, CANARY).await.unwrap();
        root.role_add(role).await.unwrap();
        root.user_grant_role(user, role).await.unwrap();
    }
    let all = Permission::read_write(KeyRange::prefix("app/"));
    root.role_grant_permission("app", all).await.unwrap();
    root.auth_enable().await.unwrap();
    root
}

#[tokio::test]
async fn a_password_is_written_nowhere_on_plaintext_and_on_tls() {
    let output = Output::collect();
    for tls in [false, true] {
        let cluster = Cluster::builder().tls(tls).args(["--bcrypt-cost=4"]);
        let cluster = cluster.start().await.unwrap();
        let root = secured(&cluster).await;
        let builder = etcd_tests::tls::builder(cluster.endpoints()).credentials("alice", CANARY);
        output.debug(&builder);
        let client = builder.connect().await.unwrap();
        use_client(output, &client).await;
        output.error(&root.user_add("alice", CANARY).await.unwrap_err());
        // The password does not work any more: every kind of failure of a login.
        root.user_change_password("alice", "another").await.unwrap();
        output.error(&client.put("app/k", "v").await.unwrap_err());
        output.error(&client.watch("app/k").await.unwrap_err());
        let wrong = etcd_tests::tls::builder(cluster.endpoints()).credentials("alice", CANARY);
        output.error(&wrong.connect().await.unwrap_err());
        cluster.kill(0).await.unwrap();
        let late = root.timeout(Duration::from_millis(100)).put("k", "v").await;
        output.error(&late.unwrap_err());
        client.close();
        output.error(&client.put("app/k", "v").await.unwrap_err());
    }
    let text = output.text();
    for target in [
        "h2::",
        "rustls::",
        "etcd_core::call",
        "etcd_core::connect",
        "etcd_core::endpoint",
        "etcd_core::lease",
        "etcd_core::stream",
        "etcd_core::token",
        "etcd_core::watch",
    ] {
        assert!(text.contains(target), "nothing of {target} was logged");
    }
    output.is_clean();
}

/// Answers logins with a token, and whatever shows another one, or the same for the second time, with what `refusal` gives.
async fn member(refusal: fn() -> Reply) -> Scripted {
    let script = move |request: &etcd_tests::scripted::Request| match request.path.as_str() {
        AUTHENTICATE => Reply::message(&AuthenticateResponse {
            token: format!("{CANARY}.{}", request.nth),
            ..Default::default()
        }),
        StatusRequest::PATH => request.usual(),
        _ if request.nth.is_multiple_of(2) => refusal(),
        _ => request.usual(),
    };
    Scripted::start(script).await.unwrap()
}

/// Calls, watches and renewals that end in whatever they end in.
async fn try_everything(output: &Output, client: &Client) {
    let client = client.timeout(Duration::from_millis(300));
    for _ in 0..2 {
        let print = |result: Result<()>| {
            if let Err(error) = result {
                output.error(&error);
            }
        };
        print(client.put("k", "v").await.map(drop));
        print(client.get("k").await.map(drop));
        print(client.get(Get::prefix("k")).await.map(drop));
        print(client.range_stream("k").await.map(drop));
        print(client.lease(Duration::from_secs(5)).await.map(drop));
        print(client.auth_status().await.map(drop));
    }
    print_streams(output, &client).await;
}

async fn print_streams(output: &Output, client: &Client) {
    output.error(&client.watch("k").await.unwrap_err());
    let renewed = client.keep_alive_once(etcd_core::LeaseId(7)).await;
    output.error(&renewed.unwrap_err());
    output.debug(client);
    output.debug(&client.endpoints());
}

async fn try_with(output: &Output, refusal: fn() -> Reply) {
    let server = member(refusal).await;
    let logged_in = etcd_tests::tls::builder([server.endpoint()]).credentials("svc", "any");
    let provided = etcd_tests::tls::builder([server.endpoint()])
        .token_provider(|| async { Ok::<_, Error>(CANARY) });
    output.debug(&provided);
    for builder in [logged_in, provided] {
        let client = builder.connect().await.unwrap();
        timeout(LIMIT, try_everything(output, &client))
            .await
            .unwrap();
    }
    let shown = server.requests("/etcdserverpb.KV/Put");
    let token = shown.iter().find_map(|request| request.metadata("token"));
    assert!(
        token.unwrap().contains(CANARY),
        "it was there to be written"
    );
}

#[tokio::test]
async fn a_token_is_written_nowhere_whatever_the_server_does_with_it() {
    let output = Output::collect();
    let refusals: [fn() -> Reply; 7] = [
        || Reply::status(16, "etcdserver: invalid auth token"),
        || Reply::status(7, "etcdserver: permission denied"),
        || Reply::rst(h2::Reason::INTERNAL_ERROR),
        || Reply::goaway(0, h2::Reason::ENHANCE_YOUR_CALM, "too_many_pings").then(Reply::close()),
        Reply::garbage,
        || Reply::http_status(502),
        Reply::abort,
    ];
    let tried = refusals.map(|refusal| try_with(output, refusal));
    futures_util::future::join_all(tried).await;
    assert!(output.text().contains("h2::"));
    output.is_clean();
}

#[tokio::test]
async fn a_token_that_is_none_is_refused_without_a_word_of_it() {
    let output = Output::collect();
    let server = member(Reply::silence).await;
    for token in [
        format!("{CANARY}\u{7}"),
        format!("{CANARY}\nx"),
        CANARY.repeat(10_000),
    ] {
        let builder = etcd_tests::tls::builder([server.endpoint()]);
        let builder = builder.token_provider(move || {
            let token = token.clone();
            async move { Ok::<_, Error>(token) }
        });
        output.error(&builder.connect().await.unwrap_err());
    }
    output.is_clean();
}

#[test]
fn options_that_cannot_be_used_are_refused_without_their_secrets() {
    let output = Output::collect();
    for text in [
        format!("http://svc:{CANARY}@192.0.2.1"),
        format!("http://svc:{CANARY}@a,http://svc:x{CANARY}@b"),
        format!("http://svc:{CANARY},{CANARY}@a"),
        format!("http://svc:{CANARY}?{CANARY}@a"),
        format!("http://svc:{CANARY}%ff@a"),
        format!("http://:{CANARY}@a"),
        format!("a?password={CANARY}"),
        format!("a?password={CANARY}&password={CANARY}"),
        format!("http://svc:{CANARY}@a?password={CANARY}"),
        format!("a?sensitive_header={CANARY}"),
        format!("a?sensitive_header=te:{CANARY}"),
    ] {
        let built = text.parse::<ClientBuilder>().and_then(|builder| {
            output.debug(&builder);
            builder.build()
        });
        output.error(&built.unwrap_err());
    }
    for endpoint in [format!("http://svc:{CANARY}@a"), format!("svc:{CANARY}@a")] {
        let builder = Client::builder().endpoints([&endpoint]);
        output.error(&builder.build().unwrap_err());
    }
    output.is_clean();
}
