//! Reading keys and ranges, with every option.

use std::time::Duration;

use etcd_core::{Client, Code, Get, KeyRange, Outcome, SortOrder, SortTarget};
use etcd_tests::cluster::{Cluster, Prefix};

use crate::{client, ends, key};

/// Five keys `a` to `e`, created in the order c a e b d and then changed in the order b e, with values that sort in yet another
/// order; the revision of each write, in that order.
async fn seed(client: &Client, prefix: &Prefix) -> Vec<i64> {
    let mut revisions = Vec::new();
    let writes = [
        ("c", "1"),
        ("a", "5"),
        ("e", "x"),
        ("b", "x"),
        ("d", "3"),
        ("b", "2"),
        ("e", "4"),
    ];
    for (name, value) in writes {
        revisions.push(
            client
                .put(prefix.key(name), value)
                .await
                .unwrap()
                .revision(),
        );
    }
    revisions
}

/// The last letters of the keys that `get` returns, and its count.
async fn read(client: &Client, prefix: &Prefix, get: Get) -> (String, i64) {
    let reply = client.get(get).await.unwrap();
    let letters = String::from_utf8(ends(&reply, prefix).concat()).unwrap();
    (letters, reply.count)
}

#[tokio::test]
async fn a_missing_key_is_an_empty_reply() {
    let (client, prefix) = client().await;
    let reply = client.get(prefix.key("missing")).await.unwrap();
    assert_eq!((reply.count, reply.more, reply.first()), (0, false, None));
    assert!(reply.revision() > 0);
}

#[tokio::test]
async fn a_prefix_finds_its_keys_and_no_strays() {
    let (client, prefix) = client().await;
    let of_a: [&[u8]; 4] = [b"a", b"a\0", b"ab", b"a\xff"];
    let of_z: [&[u8]; 3] = [b"z", b"z1", b"z\xff\xff"];
    let strays: [&[u8]; 4] = [b"`\xff", b"b", b"y\xff", b"{"];
    for end in of_a.iter().chain(&of_z).chain(&strays) {
        client.put(key(&prefix, end), "v").await.unwrap();
    }
    for (start, expected) in [(b"a", &of_a[..]), (b"z", &of_z[..])] {
        let reply = client.get(Get::prefix(key(&prefix, start))).await.unwrap();
        assert_eq!(ends(&reply, &prefix), expected);
        assert_eq!(reply.count, expected.len() as i64);
    }
    assert_eq!(client.get(Get::prefix(&*prefix)).await.unwrap().count, 11);
}

#[tokio::test]
async fn the_end_of_a_prefix_is_what_etcd_takes_it_for() {
    let rows: [(&[u8], &[u8]); 14] = [
        (b"", b"\0"),
        (b"a", b"b"),
        (b"a\xff", b"b"),
        (b"\xff\xff", b"\0"),
        (b"etcd", b"etce"),
        (b"{", b"|"),
        (b"a\0", b"a\x01"),
        (b"a\x01", b"a\x02"),
        (b"aa", b"ab"),
        (b"b1", b"b2"),
        (b"xyz", b"xy{"),
        (b"11", b"12"),
        (b"19", b"1:"),
        (b"\xfe\xff", b"\xff"),
    ];
    for (start, end) in rows {
        assert_eq!(KeyRange::prefix(start).end(), end, "{start:?}");
    }

    // Under a prefix of the test's own, etcd finds by each of them exactly the keys that begin with it.
    let (client, prefix) = client().await;
    let keys: Vec<&[u8]> = rows.iter().map(|row| row.0).chain([&b"b"[..]]).collect();
    for end in &keys {
        client.put(key(&prefix, end), "v").await.unwrap();
    }
    for start in &keys {
        let reply = client.get(Get::prefix(key(&prefix, start))).await.unwrap();
        let mut expected: Vec<_> = keys.iter().filter(|key| key.starts_with(start)).collect();
        expected.sort_unstable();
        assert_eq!(
            ends(&reply, &prefix).iter().collect::<Vec<_>>(),
            expected,
            "{start:?}"
        );
    }
}

#[tokio::test]
async fn a_range_ends_before_its_end_and_from_key_goes_on() {
    let (client, prefix) = client().await;
    seed(&client, &prefix).await;
    let range = Get::range(prefix.key("b"), prefix.key("d"));
    assert_eq!(read(&client, &prefix, range).await, ("bc".into(), 2));
    let empty = Get::range(prefix.key("d"), prefix.key("b"));
    assert_eq!(read(&client, &prefix, empty).await, (String::new(), 0));
    // What other tests have after our keys is cut off by the limit.
    let from = Get::from_key(prefix.key("b")).limit(4);
    assert_eq!(read(&client, &prefix, from).await.0, "bcde");
    let all = client.get(Get::all().count_only()).await.unwrap();
    assert!(all.count >= 5);
}

#[tokio::test]
async fn a_limit_says_whether_there_is_more_and_counts_all() {
    let (client, prefix) = client().await;
    seed(&client, &prefix).await;
    for (limit, letters, more) in [(0, "abcde", false), (2, "ab", true), (5, "abcde", false)] {
        let reply = client
            .get(Get::prefix(&*prefix).limit(limit))
            .await
            .unwrap();
        assert_eq!(ends(&reply, &prefix).concat(), letters.as_bytes());
        assert_eq!((reply.more, reply.count), (more, 5), "limit {limit}");
    }
}

#[tokio::test]
async fn keys_come_sorted_by_what_was_asked_for() {
    let (client, prefix) = client().await;
    seed(&client, &prefix).await;
    let rows = [
        (SortTarget::Key, "abcde"),
        (SortTarget::Create, "caebd"),
        (SortTarget::Mod, "cadbe"),
        (SortTarget::Value, "cbdea"),
    ];
    for (target, ascending) in rows {
        let descending: String = ascending.chars().rev().collect();
        let get = |order| Get::prefix(&*prefix).sort(order, target);
        for (order, letters) in [
            (SortOrder::Ascend, ascending),
            (SortOrder::Descend, &descending),
        ] {
            let read_all = read(&client, &prefix, get(order)).await.0;
            assert_eq!(read_all, letters, "{target:?} {order:?}");
            let first = read(&client, &prefix, get(order).limit(1)).await.0;
            assert_eq!(first, letters[..1], "the limit is applied after the sort");
        }
    }
    let by_version = Get::prefix(&*prefix).sort(SortOrder::Descend, SortTarget::Version);
    let letters = read(&client, &prefix, by_version).await.0;
    let (twice, once) = letters.split_at(2);
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    assert_eq!(
        (sorted(twice), sorted(once)),
        (vec!['b', 'e'], vec!['a', 'c', 'd'])
    );
}

#[tokio::test]
async fn only_keys_or_only_their_number_can_be_asked_for() {
    let (client, prefix) = client().await;
    let revisions = seed(&client, &prefix).await;
    let reply = client.get(Get::prefix(&*prefix).keys_only()).await.unwrap();
    assert_eq!(ends(&reply, &prefix).concat(), b"abcde");
    assert!(reply.kvs.iter().all(|kv| kv.value.is_empty()));
    assert_eq!(reply.kvs[0].create_revision, revisions[1]);

    let reply = client
        .get(Get::prefix(&*prefix).count_only())
        .await
        .unwrap();
    assert_eq!((reply.count, reply.kvs.len()), (5, 0));
}

#[tokio::test]
async fn a_serializable_read_needs_no_leader() {
    let cluster = Cluster::start(3).await.unwrap();
    let client = etcd_tests::connect(cluster.endpoint(0)).await.unwrap();
    client.put("k", "v").await.unwrap();
    // What is linearizable has been applied by the member that is asked.
    client.get("k").await.unwrap();
    cluster.kill(1).await.unwrap();
    cluster.kill(2).await.unwrap();

    let client = client.timeout(Duration::from_secs(2));
    let serializable = client.get(Get::key("k").serializable()).await.unwrap();
    assert_eq!(serializable.first().unwrap().value, "v");
    let error = client.get("k").await.unwrap_err();
    assert!(error.is_timeout() || error.is_no_leader(), "{error}");
}

#[tokio::test]
async fn a_read_at_a_revision_sees_what_was_there_then() {
    let (client, prefix) = client().await;
    let revisions = seed(&client, &prefix).await;
    let at = |revision| Get::prefix(&*prefix).revision(revision);
    assert_eq!(read(&client, &prefix, at(revisions[0] - 1)).await.1, 0);
    assert_eq!(read(&client, &prefix, at(revisions[0])).await.0, "c");
    assert_eq!(read(&client, &prefix, at(revisions[2])).await.0, "ace");
    assert_eq!(read(&client, &prefix, at(0)).await.0, "abcde", "0 is now");
    let value_at = async |revision| {
        let get = Get::key(prefix.key("b")).revision(revision);
        client.get(get).await.unwrap().into_first().unwrap().value
    };
    assert_eq!(value_at(revisions[4]).await, "x");
    assert_eq!(value_at(revisions[5]).await, "2");
}

#[tokio::test]
async fn revision_filters_leave_out_keys_and_still_count_them() {
    let (client, prefix) = client().await;
    // Created: c a e b d at 0 to 4. Last modified: c 0, a 1, d 4, b 5, e 6.
    let revisions = seed(&client, &prefix).await;
    let all = || Get::prefix(&*prefix);
    let rows = [
        (all().min_mod_revision(revisions[4]), "bde"),
        (all().max_mod_revision(revisions[4]), "acd"),
        (all().min_create_revision(revisions[3]), "bd"),
        (all().max_create_revision(revisions[2]), "ace"),
        (
            all()
                .min_mod_revision(revisions[5])
                .max_create_revision(revisions[2]),
            "e",
        ),
        (all().min_mod_revision(revisions[6] + 1), ""),
        (all().min_mod_revision(0).max_mod_revision(0), "abcde"),
    ];
    for (get, letters) in rows {
        let found = read(&client, &prefix, get.clone()).await;
        assert_eq!(found, (letters.into(), 5), "{get:?}");
    }
}

#[tokio::test]
async fn a_revision_that_is_still_to_come_cannot_be_read() {
    let (client, prefix) = client().await;
    let now = client.put(prefix.key("k"), "v").await.unwrap().revision();
    let future = Get::key(prefix.key("k")).revision(now + 1_000_000);
    let error = client.get(future).await.unwrap_err();
    assert!(
        error.is_future_revision() && !error.is_compacted(),
        "{error}"
    );
    assert_eq!(
        (error.code(), error.outcome()),
        (Some(Code::OutOfRange), Outcome::NotApplied)
    );
}
