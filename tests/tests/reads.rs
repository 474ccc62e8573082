//! Reads of a range: its first and last keys, and all of it piece by piece.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use etcd_core::{Client, Code, Error, Get, RangeStream, SortOrder, SortTarget};
use etcd_tests::cluster::{Prefix, Target};
use etcd_tests::proxy::{Close, Direction, Proxy};
use etcd_tests::versions::since;
use futures_util::TryStreamExt;

async fn client() -> (Client, Prefix) {
    let target = Target::get().await.unwrap();
    let client = etcd_tests::connect(target.endpoints().join(","))
        .await
        .unwrap();
    (client, target.prefix())
}

/// `None` on etcd before 3.7, which has none.
async fn range_stream(client: &Client, get: Get) -> Option<RangeStream> {
    let version = Target::get().await.unwrap().version().await.unwrap();
    let stream = client.range_stream(get).await;
    since((3, 7), version, "RangeStream", stream)
}

#[tokio::test]
async fn the_first_and_the_last_key_by_name_creation_and_write() {
    let (client, prefix) = client().await;
    // Created b, c, a; last written c, a, b; c once, a twice, b three times.
    for key in ["b", "c", "a", "b", "a", "b"] {
        client.put(prefix.key(key), "v").await.unwrap();
    }
    let one = async |get: Get| {
        let read = client.get(get).await.unwrap();
        assert_eq!((read.kvs.len(), read.count), (1, 3));
        let kv = read.into_first().unwrap();
        kv.key_str()
            .unwrap()
            .trim_start_matches(&*prefix)
            .to_owned()
    };
    let get = || Get::prefix(&*prefix);
    assert_eq!(one(get().first_key()).await, "a");
    assert_eq!(one(get().last_key()).await, "c");
    assert_eq!(one(get().first_create()).await, "b");
    assert_eq!(one(get().last_create()).await, "a");
    assert_eq!(one(get().first_mod()).await, "c");
    assert_eq!(one(get().last_mod()).await, "b");
    let most_written = get().top(SortOrder::Descend, SortTarget::Version);
    assert_eq!(one(most_written).await, "b");
}

/// Some 4 MiB of keys: more than one piece.
async fn fill(client: &Client, prefix: &Prefix) -> i64 {
    let value = vec![0; 20 << 10];
    let mut revision = 0;
    for i in 0..200 {
        let key = prefix.key(format!("{i:03}"));
        revision = client.put(key, &value).await.unwrap().revision();
    }
    revision
}

#[tokio::test]
async fn a_range_stream_is_the_range_in_pieces_of_one_revision() {
    let (client, prefix) = client().await;
    let revision = fill(&client, &prefix).await;
    let get = Get::prefix(&*prefix).revision(revision);
    client.delete(prefix.key("198")).await.unwrap();
    let Some(stream) = range_stream(&client, get.clone()).await else {
        return;
    };
    client.delete(prefix.key("199")).await.unwrap();
    let pieces: Vec<_> = stream.try_collect().await.unwrap();
    assert!(pieces.len() > 2, "{}", pieces.len());
    let last = pieces.last().unwrap();
    assert!(last.header.is_some() && last.count == 200 && !last.more);
    let kvs: Vec<_> = pieces.into_iter().flat_map(|piece| piece.kvs).collect();
    assert_eq!(kvs, client.get(get).await.unwrap().kvs);

    let limited = Get::prefix(&*prefix).limit(3).keys_only();
    let stream = client.range_stream(limited).await.unwrap();
    let pieces: Vec<_> = stream.try_collect().await.unwrap();
    let last = pieces.last().unwrap();
    assert!(last.more && last.count == 198);
    assert_eq!(pieces.iter().map(|piece| piece.kvs.len()).sum::<usize>(), 3);
}

#[tokio::test]
async fn a_range_stream_that_breaks_off_does_not_look_like_its_end() {
    let (direct, prefix) = client().await;
    fill(&direct, &prefix).await;
    let target = Target::get().await.unwrap();
    let proxy = Proxy::start(&target.endpoints()[0]).await.unwrap();
    let client = etcd_tests::connect(proxy.endpoint()).await.unwrap();
    for close in [Close::Fin, Close::Reset] {
        let mut rounds = 0;
        while !breaks_off(&client, &proxy, &prefix, close).await {
            rounds += 1;
            assert!(rounds < 100, "no stream breaks off");
        }
    }
}

/// Reads what `fill` has written while the connection is cut. Cut before its first piece was read, the stream is begun again
/// on another connection and is whole: false. Where etcd has no such streams none is to break off.
async fn breaks_off(client: &Client, proxy: &Proxy, prefix: &Prefix, close: Close) -> bool {
    proxy.cut_after(Direction::ToClient, 2 << 20, close);
    let Some(mut stream) = range_stream(client, Get::prefix(&**prefix)).await else {
        return true;
    };
    let mut keys = 0;
    loop {
        match stream.try_next().await {
            Ok(Some(piece)) => keys += piece.kvs.len(),
            Ok(None) => {
                assert_eq!(keys, 200, "it broke off, and ended well");
                return false;
            }
            Err(error) => {
                assert!(matches!(error, Error::Connection(_)), "{error}");
                assert!(keys < 200 && stream.try_next().await.unwrap().is_none());
                return true;
            }
        }
    }
}

#[tokio::test]
async fn a_range_stream_that_etcd_refuses_is_refused_before_it_begins() {
    let (client, prefix) = client().await;
    let sorted = Get::prefix(&*prefix).sort(SortOrder::Descend, SortTarget::Mod);
    let error = client.range_stream(sorted).await.unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert_eq!(error.code(), Some(Code::Unimplemented), "{error}");
    let future = Get::prefix(&*prefix).revision(i64::MAX);
    let error = client.range_stream(future).await.unwrap_err();
    let version = Target::get().await.unwrap().version().await.unwrap();
    if version >= (3, 7) {
        assert!(error.is_future_revision(), "{error}");
    } else {
        assert!(error.is_unsupported(), "{error}");
    }
    let error = client.range_stream("").await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
}
