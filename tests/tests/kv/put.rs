//! Writing one key.

use etcd_core::proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest};
use etcd_core::{Client, Code, Error, EtcdError, Outcome, Put};

use crate::{bare, client};

/// A lease that outlives the test if nobody revokes it.
async fn lease(client: &Client) -> i64 {
    let grant = LeaseGrantRequest {
        ttl: 60,
        ..Default::default()
    };
    client.send(grant).await.unwrap().id
}

async fn revoke(client: &Client, id: i64) {
    client.send(LeaseRevokeRequest { id }).await.unwrap();
}

#[tokio::test]
async fn a_value_that_was_put_is_read() {
    let (client, prefix) = client().await;
    let put = client.put(prefix.key("k"), "v").await.unwrap();
    let got = client.get(prefix.key("k")).await.unwrap();
    assert!(got.revision() >= put.revision());
    let kv = got.into_first().unwrap();
    assert_eq!(
        (kv.key_str(), kv.value_str()),
        (Ok(prefix.key("k").as_str()), Ok("v"))
    );
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version, kv.lease),
        (put.revision(), put.revision(), 1, 0)
    );
}

#[tokio::test]
async fn keys_and_values_are_bytes_of_any_kind() {
    let (client, prefix) = client().await;
    let all: Vec<u8> = (0..=255).collect();
    let key = [prefix.as_bytes(), &all].concat();
    client.put(&key, &all).await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!((&kv.key[..], &kv.value[..]), (&key[..], &all[..]));

    client.put(&key, "").await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!((&kv.value[..], kv.version), (&b""[..], 2));
}

#[tokio::test]
async fn the_second_put_with_prev_kv_returns_the_first_value() {
    let (client, prefix) = client().await;
    let put = |value| Put::new(prefix.key("k"), value).prev_kv();
    let first = client.send(put("one")).await.unwrap();
    assert_eq!(first.prev_kv, None);
    let second = client.send(put("two")).await.unwrap();
    let previous = second.prev_kv.clone().unwrap();
    assert_eq!(
        (&previous.value[..], previous.version, previous.mod_revision),
        (&b"one"[..], 1, first.revision())
    );
    // Without the option nothing is returned.
    let third = client.put(prefix.key("k"), "three").await.unwrap();
    assert_eq!(third.prev_kv, None);
}

/// etcd answers status 3 to a put that contradicts itself; this client refuses it with an error of its own, unsent.
#[tokio::test]
async fn a_put_that_ignores_its_value_must_not_have_one() {
    let (client, prefix) = client().await;
    let put = Put::new(prefix.key("missing"), "v").ignore_value();
    let error = client.send(put.clone()).await.unwrap_err();
    assert!(
        matches!(&error, Error::InvalidRequest(text) if text.contains("ignore_value")),
        "{error}"
    );

    let status = bare().await.put(PutRequest::from(put)).await.unwrap_err();
    assert_eq!(
        (status.code() as i32, status.message()),
        (3, "etcdserver: value is provided")
    );
    assert_eq!(
        client.get(prefix.key("missing")).await.unwrap().count,
        0,
        "nothing was written"
    );
}

#[tokio::test]
async fn a_put_that_ignores_its_lease_must_not_have_one() {
    let (client, prefix) = client().await;
    let put = Put::new(prefix.key("missing"), "v").lease(7).ignore_lease();
    let error = client.send(put.clone()).await.unwrap_err();
    assert!(
        matches!(&error, Error::InvalidRequest(text) if text.contains("ignore_lease")),
        "{error}"
    );

    let status = bare().await.put(PutRequest::from(put)).await.unwrap_err();
    assert_eq!(
        (status.code() as i32, status.message()),
        (3, "etcdserver: lease is provided")
    );
}

#[tokio::test]
async fn only_a_key_that_exists_can_keep_its_value_or_lease() {
    let (client, prefix) = client().await;
    for put in [
        Put::new(prefix.key("missing"), "").ignore_value(),
        Put::new(prefix.key("missing"), "v").ignore_lease(),
    ] {
        let error = client.send(put).await.unwrap_err();
        assert!(error.is_key_not_found(), "{error}");
        assert_eq!(
            (error.code(), error.etcd(), error.outcome()),
            (
                Some(Code::InvalidArgument),
                Some(EtcdError::KeyNotFound),
                Outcome::NotApplied
            )
        );
    }
    assert_eq!(client.get(prefix.key("missing")).await.unwrap().count, 0);
}

#[tokio::test]
async fn a_put_keeps_the_value_or_the_lease_it_was_told_to_ignore() {
    let (client, prefix) = client().await;
    let (id, other) = (lease(&client).await, lease(&client).await);
    let key = prefix.key("k");
    client.send(Put::new(&key, "one").lease(id)).await.unwrap();

    let new_value = Put::new(&key, "two").ignore_lease();
    client.send(new_value).await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!((&kv.value[..], kv.lease), (&b"two"[..], id));

    let new_lease = Put::new(&key, "").ignore_value().lease(other);
    client.send(new_lease).await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!((&kv.value[..], kv.lease), (&b"two"[..], other));

    // A put that says nothing about the lease takes the key out of it.
    client.put(&key, "three").await.unwrap();
    let kv = client.get(&key).await.unwrap().into_first().unwrap();
    assert_eq!((&kv.value[..], kv.lease), (&b"three"[..], 0));
    revoke(&client, id).await;
    revoke(&client, other).await;
    assert_eq!(client.get(&key).await.unwrap().count, 1);
}

#[tokio::test]
async fn a_put_with_an_unknown_lease_is_refused() {
    let (client, prefix) = client().await;
    let put = Put::new(prefix.key("k"), "v").lease(0x7eed_0000_0000_0001);
    let error = client.send(put).await.unwrap_err();
    assert!(error.is_lease_not_found(), "{error}");
    assert_eq!(
        (error.code(), error.outcome()),
        (Some(Code::NotFound), Outcome::NotApplied)
    );
    assert_eq!(client.get(prefix.key("k")).await.unwrap().count, 0);
}
