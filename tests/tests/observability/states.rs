//! Endpoints, watches and leases, as they change.

use std::time::Duration;

use etcd_core::{Client, Compare, Put, Txn, Watch};
use etcd_tests::cluster::Cluster;
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::wait;
use tracing::Level;

use crate::LIMIT;
use crate::capture::{Capture, Told};

fn turns(capture: &Capture, target: &str, message: &str) -> Vec<String> {
    let of = |told: &Told| format!("{}>{}", told.field("from"), told.field("to"));
    capture.events(target, message).iter().map(of).collect()
}

async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    wait::until(what, LIMIT, condition).await.unwrap();
}

/// A member behind a proxy, and a client of it.
async fn proxied(
    client: impl FnOnce(String) -> etcd_core::ClientBuilder,
) -> (Cluster, Proxy, Client) {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = client(proxy.endpoint()).connect().await.unwrap();
    (cluster, proxy, client)
}

#[tokio::test]
async fn an_endpoint_tells_where_it_goes_and_why() {
    let capture = Capture::start();
    let (_cluster, proxy, client) = proxied(|endpoint| etcd_tests::builder([endpoint])).await;
    let told = || turns(&capture, "etcd_core::endpoint", "endpoint state");
    let gauge = |state: &str| capture.number(&format!("etcd_client_endpoints{{state={state}}}"));
    until("it is told as active", async || gauge("Active") == 1.0).await;
    assert_eq!(
        told(),
        ["New>Frozen", "Frozen>Connecting", "Connecting>Active"]
    );
    proxy.refuse();
    proxy.reset_all();
    until("it is told as frozen", async || gauge("Frozen") == 1.0).await;
    assert_eq!(gauge("Active"), 0.0);
    let all = capture.events("etcd_core::endpoint", "endpoint state");
    let lost = all
        .iter()
        .find(|told| told.field("from") == "Active")
        .unwrap();
    assert_eq!((lost.field("to"), lost.level), ("Frozen", Level::WARN));
    assert_eq!(lost.field("endpoint"), proxy.endpoint());
    assert!(!lost.field("cause").is_empty(), "{lost:?}");
    proxy.accept().unwrap();
    until("it is active again", async || gauge("Active") == 1.0).await;
    drop(client);
    until("there is no endpoint any more", async || {
        ["Active", "Frozen", "Connecting", "Suspect"]
            .iter()
            .all(|state| gauge(state) == 0.0)
    })
    .await;
}

#[tokio::test]
async fn a_watch_tells_when_it_resumes_and_when_it_is_parked_and_catches_up() {
    let capture = Capture::start();
    let little = |endpoint| etcd_tests::builder([endpoint]).watch_queue(2, 1 << 20);
    let (_cluster, proxy, client) = proxied(little).await;
    let told = || turns(&capture, "etcd_core::watch", "watch state");
    let gauge = |state: &str| capture.number(&format!("etcd_client_watchers{{state={state}}}"));
    let mut watcher = client.watch(Watch::prefix("k/")).await.unwrap();
    assert_eq!(
        (told(), gauge("Connected")),
        (vec!["Starting>Connected".to_owned()], 1.0)
    );

    proxy.reset_all();
    until("it goes on", async || told().len() == 3).await;
    assert_eq!(told()[1..], ["Connected>Resuming", "Resuming>Connected"]);

    for n in 0..5 {
        client.put(format!("k/{n}"), "v").await.unwrap();
    }
    until("it is parked", async || gauge("Parked") == 1.0).await;
    let mut seen = 0;
    while seen < 5 {
        seen += watcher.try_next().await.unwrap().unwrap().events.len();
    }
    until("it has caught up", async || gauge("Connected") == 1.0).await;
    let told = told();
    let parked = ["Connected>Parked", "Parked>CatchingUp"];
    assert_eq!(told[3..5], parked, "{told:?}");
    assert_eq!(told.last().unwrap(), "CatchingUp>Connected");
    let lag = capture.samples("etcd_client_watch_lag_seconds{}");
    assert!(
        lag.len() >= 2 && lag.iter().all(|lag| (0.0..20.0).contains(lag)),
        "{lag:?}"
    );
    watcher.cancel().await.unwrap();
    until("there is no watcher any more", async || {
        gauge("Connected") == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_lease_tells_when_it_is_at_risk_and_when_it_is_lost() {
    let capture = Capture::start();
    let (_cluster, proxy, client) = proxied(|endpoint| etcd_tests::builder([endpoint])).await;
    let told = || turns(&capture, "etcd_core::lease", "lease state");
    let gauge = |state: &str| capture.number(&format!("etcd_client_leases{{state={state}}}"));
    let lease = client.lease(Duration::from_secs(15)).await.unwrap();
    assert_eq!(
        (told(), gauge("Healthy")),
        (vec!["New>Healthy".to_owned()], 1.0)
    );
    let margins = || capture.samples("etcd_client_lease_margin_seconds{}");
    until("it was renewed", async || !margins().is_empty()).await;
    assert!(
        margins().iter().all(|margin| (0.0..15.0).contains(margin)),
        "{:?}",
        margins()
    );

    proxy.block(Direction::Both);
    until("it is at risk", async || gauge("AtRisk") == 1.0).await;
    proxy.unblock(Direction::Both);
    until("it was renewed after all", async || gauge("Healthy") == 1.0).await;
    assert_eq!(told()[1..], ["Healthy>AtRisk", "AtRisk>Healthy"]);

    client.revoke(lease.id()).await.unwrap();
    lease.lost().await;
    until("it is told", async || told().len() == 4).await;
    let last = capture.events("etcd_core::lease", "lease state").remove(3);
    assert_eq!((last.field("to"), last.level), ("Lost", Level::WARN));
    assert_eq!(last.field("lease"), lease.id().to_string());
    assert_eq!(
        capture.number("etcd_client_leases_lost_total{reason=NotFound}"),
        1.0
    );
    assert_eq!((gauge("Healthy"), gauge("AtRisk")), (0.0, 0.0));
}

/// The first words of the rows of the tables in the documentation.
fn documented(prefix: &str) -> Vec<String> {
    let text = include_str!("../../../etcd-core/src/observability.rs");
    let name = |line: &str| {
        let cell = line.strip_prefix("//! | `")?;
        Some(cell.split('`').next()?.to_owned())
    };
    let names = text.lines().filter_map(name);
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[tokio::test]
async fn the_table_of_metrics_names_them_all_and_no_others() {
    let capture = Capture::start();
    let (cluster, proxy, client) = proxied(|endpoint| {
        etcd_tests::builder([endpoint]).token_provider(|| async { Ok::<_, etcd_core::Error>("t") })
    })
    .await;
    let refusing = Proxy::start(cluster.address(0)).await.unwrap();
    let mut watcher = client.watch(Watch::key("k")).await.unwrap();
    let lease = client.lease(Duration::from_secs(2)).await.unwrap();
    client.put("k", "v").await.unwrap();
    client
        .txn(
            Txn::new()
                .when(Compare::version("k").equals(1))
                .then(Put::new("k", "w")),
        )
        .await
        .unwrap();
    watcher.try_next().await.unwrap();
    let margins = || capture.samples("etcd_client_lease_margin_seconds{}");
    until("the lease was renewed", async || !margins().is_empty()).await;
    drop(lease);
    // A read that is tried again.
    let both = etcd_tests::builder([proxy.endpoint(), refusing.endpoint()])
        .connect()
        .await
        .unwrap();
    until("both are active", async || both.endpoints().active() == 2).await;
    let retried = || {
        capture
            .metrics()
            .iter()
            .any(|name| name.starts_with("etcd_client_call_retries"))
    };
    while !retried() {
        refusing.reset_all();
        let _ = tokio::join!(both.get("a"), both.get("b"), both.get("c"), both.get("d"));
    }
    let mut told = capture.metrics();
    for name in &mut told {
        name.truncate(name.find('{').unwrap());
    }
    told.sort();
    told.dedup();
    let mut table = documented("etcd_client_");
    table.sort();
    assert_eq!(told, table);
}
