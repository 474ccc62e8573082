//! Real etcd behind a proxy that cuts connections: what the client says of a put is true.

use etcd_core::{Client, Error, Outcome};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::wait;

use crate::LIMIT;

/// A proxy before the shared cluster's first member, a client of that member itself, and a prefix.
async fn behind() -> (Proxy, Client, Prefix) {
    let target = Target::get().await.unwrap();
    let direct = target.endpoints()[0].clone();
    let proxy = Proxy::start(&direct).await.unwrap();
    (
        proxy,
        etcd_tests::connect(&direct).await.unwrap(),
        target.prefix(),
    )
}

async fn version(direct: &Client, key: &str) -> i64 {
    let kv = direct.get(key).await.unwrap().into_first();
    kv.map_or(0, |kv| kv.version)
}

#[tokio::test]
async fn a_put_whose_reply_is_lost_is_unknown_and_applied_once() {
    let (proxy, direct, prefix) = behind().await;
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let key = prefix.key("k");
    for close in [Close::Fin, Close::Reset] {
        direct.delete(&key).await.unwrap();
        proxy.block(Direction::ToClient);
        let put = tokio::spawn(client.put(&key, "v"));
        wait::until("it was applied", LIMIT, async || {
            version(&direct, &key).await == 1
        })
        .await
        .unwrap();
        match close {
            Close::Fin => proxy.drop_all(),
            Close::Reset => proxy.reset_all(),
        }
        proxy.unblock(Direction::ToClient);
        let error = put.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Connection(_)), "{error}");
        assert_eq!(error.outcome(), Outcome::Unknown);
        // Through the same client, which has connected again: nothing was sent twice.
        let kv = client.get(&key).await.unwrap().into_first().unwrap();
        assert_eq!(kv.version, 1);
    }
}

#[tokio::test]
async fn an_idempotent_put_whose_reply_is_lost_is_applied_again() {
    let (proxy, direct, prefix) = behind().await;
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    let key = prefix.key("k");
    proxy.block(Direction::ToClient);
    let put = tokio::spawn(client.idempotent().put(&key, "v"));
    wait::until("it was applied", LIMIT, async || {
        version(&direct, &key).await == 1
    })
    .await
    .unwrap();
    proxy.reset_all();
    proxy.unblock(Direction::ToClient);
    put.await.unwrap().unwrap();
    assert_eq!(version(&direct, &key).await, 2);
}

/// A put is cut off after each number of bytes of its request, and of its reply: if it succeeded it was applied once, if it is
/// unknown at most once, and if it is not applied it was not.
#[tokio::test]
async fn what_is_said_of_a_put_is_true_wherever_it_is_cut() {
    let (proxy, direct, prefix) = behind().await;
    let mut ends = [0; 3];
    for direction in [Direction::ToServer, Direction::ToClient] {
        for bytes in (0..24).chain((24..160).step_by(8)) {
            let close = if bytes % 2 == 0 {
                Close::Reset
            } else {
                Close::Fin
            };
            // Each its own client, whose first reconnect is at once.
            let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
            let client = client.timeout(LIMIT);
            let key = prefix.key(format!("{direction:?}-{bytes}"));
            proxy.cut_after(direction, bytes, close);
            let put = client.put(&key, "v").await;
            // A cut that the put did not reach is made harmless before the next.
            proxy.cut_after(direction, u64::MAX, close);
            let version = version(&direct, &key).await;
            let (allowed, end) = match &put {
                Ok(_) => (1..=1, 0),
                Err(error) if error.outcome() == Outcome::Unknown => (0..=1, 1),
                Err(_) => (0..=0, 2),
            };
            ends[end] += 1;
            assert!(
                allowed.contains(&version),
                "{direction:?} {bytes}: {put:?}, but version {version}"
            );
            client.close();
        }
    }
    let [succeeded, unknown, not_applied] = ends;
    assert!(succeeded > 0 && unknown > 0, "{ends:?}");
    assert_eq!(not_applied, 0, "those are sent again");
}
