//! Streams of every kind, on real etcd.

use etcd_core::Get;
use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_core::proto::etcdserverpb::lease_client::LeaseClient;
use etcd_core::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use etcd_core::proto::etcdserverpb::watch_client::WatchClient;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, SnapshotRequest, WatchCancelRequest,
    WatchCreateRequest, WatchRequest, WatchResponse,
};
use etcd_tests::cluster::{Cluster, Target};
use etcd_tests::proxy::{Direction, Proxy};
use etcd_tests::tls;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{LIMIT, kv, put, range, target, until};

fn create(key: &str) -> WatchRequest {
    let create = WatchCreateRequest {
        key: key.to_owned().into(),
        ..Default::default()
    };
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

async fn next(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    let message = timeout(LIMIT, stream.message()).await.unwrap();
    message.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_goes_both_ways_for_as_long_as_it_lasts() {
    let (client, prefix) = target().await;
    let mut stub = WatchClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel(1);
    requests.send(create(&prefix.key("a"))).await.unwrap();
    let watch = timeout(LIMIT, stub.watch(ReceiverStream::new(stream))).await;
    let mut watch = watch.unwrap().unwrap().into_inner();
    let created = next(&mut watch).await;
    assert!(created.created);
    for i in 0..20 {
        kv(&client)
            .put(put(prefix.key("a"), format!("{i}")))
            .await
            .unwrap();
        let events = next(&mut watch).await.events;
        assert_eq!(events[0].kv.as_ref().unwrap().value, format!("{i}"));
    }
    requests.send(create(&prefix.key("b"))).await.unwrap();
    assert!(next(&mut watch).await.created);
    let cancel = WatchCancelRequest {
        watch_id: created.watch_id,
    };
    let cancel = WatchRequest {
        request_union: Some(RequestUnion::CancelRequest(cancel)),
    };
    requests.send(cancel).await.unwrap();
    assert!(next(&mut watch).await.canceled);
}

#[tokio::test]
async fn a_lease_is_kept_alive_by_many_requests_on_one_stream() {
    let (client, _prefix) = target().await;
    let lease = client.grant(LIMIT).await.unwrap().id;
    let ask = LeaseKeepAliveRequest { id: lease.0 };
    let mut stub = LeaseClient::new(client.channel().unwrap());
    let (requests, stream) = mpsc::channel(1);
    requests.send(ask).await.unwrap();
    let answers = stub.lease_keep_alive(ReceiverStream::new(stream));
    let answers = timeout(LIMIT, answers).await.unwrap();
    let mut answers = answers.unwrap().into_inner();
    for _ in 0..20 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.id, answer.ttl), (lease.0, 20));
        requests.send(ask).await.unwrap();
    }
    client.revoke(lease).await.unwrap();
}

/// etcd has no RPC of this kind; this one answers each request, and ends when they do.
#[tokio::test]
async fn a_stream_of_requests_gets_its_one_answer() {
    let (client, _prefix) = target().await;
    let lease = client.grant(LIMIT).await.unwrap().id;
    let mut stub = tonic::client::Grpc::new(client.channel().unwrap());
    stub.ready().await.unwrap();
    let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: lease.0 }]);
    let codec = tonic_prost::ProstCodec::default();
    let path = "/etcdserverpb.Lease/LeaseKeepAlive".parse().unwrap();
    let request = tonic::Request::new(requests);
    let answer = timeout(LIMIT, stub.client_streaming(request, path, codec)).await;
    let answer: LeaseKeepAliveResponse = answer.unwrap().unwrap().into_inner();
    assert_eq!((answer.id, answer.ttl), (lease.0, 20));
    client.revoke(lease).await.unwrap();
}

#[tokio::test]
async fn a_range_stream_brings_the_whole_range() {
    let (client, prefix) = target().await;
    for i in 0..200 {
        let key = prefix.key(format!("{i:03}"));
        client.put(key, vec![0; 20 << 10]).await.unwrap();
    }
    let mut request = range(&*prefix);
    request.range_end = prefix.key("\u{7f}").into();
    let mut stub = kv(&client);
    let pieces = stub.range_stream(request).await;
    let version = Target::get().await.unwrap().version().await.unwrap();
    if version < (3, 7) {
        assert_eq!(pieces.unwrap_err().code(), tonic::Code::Unimplemented);
        return;
    }
    let (mut pieces, mut kvs) = (pieces.unwrap().into_inner(), Vec::new());
    while let Some(piece) = pieces.message().await.unwrap() {
        kvs.extend(piece.range_response.unwrap().kvs);
    }
    assert_eq!(kvs.len(), 200);
    assert_eq!(kvs, client.get(Get::prefix(&*prefix)).await.unwrap().kvs);
}

/// What is delivered of a reply that nobody reads, in bytes, beside a little.
const WINDOW: u64 = 4 << 20;

#[tokio::test]
async fn a_snapshot_that_nobody_reads_stops_and_holds_up_nobody_and_is_whole_in_the_end() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = Proxy::start(cluster.address(0)).await.unwrap();
    let client = tls::connect(proxy.endpoint()).await.unwrap();
    for i in 0..24 {
        client.put(format!("k{i}"), vec![i; 1 << 20]).await.unwrap();
    }
    let before = proxy.bytes(Direction::ToClient);
    let delivered = || proxy.bytes(Direction::ToClient) - before;

    let mut stub = MaintenanceClient::new(client.channel().unwrap());
    let mut snapshot = stub
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = snapshot.message().await.unwrap().unwrap();
    until("its window is full", async || {
        delivered() > WINDOW - (64 << 10)
    })
    .await;
    let mut stub = KvClient::new(client.channel().unwrap());
    for i in 0..200 {
        let call = timeout(LIMIT, stub.put(put("small", format!("{i}"))));
        call.await.unwrap().unwrap();
    }
    assert!(delivered() < WINDOW + (1 << 20), "{}", delivered());

    let mut bytes = first.blob.to_vec();
    let rest = async {
        while let Some(chunk) = snapshot.message().await.unwrap() {
            bytes.extend_from_slice(&chunk.blob);
        }
    };
    timeout(LIMIT, rest).await.unwrap();
    assert!(bytes.len() > 24 << 20);
    let (database, checksum) = bytes.split_at(bytes.len() - 32);
    assert_eq!(&Sha256::digest(database)[..], checksum);
}

#[tokio::test]
async fn a_request_of_many_messages_waits_for_the_server() {
    let server = etcd_tests::scripted::Scripted::builder()
        .setting(4, 1_000)
        .start(etcd_tests::scripted::Request::usual)
        .await
        .unwrap();
    let client = crate::connect(&server).await;
    let mut stub = kv(&client);
    let value = vec![5; 300_000];
    let call = timeout(LIMIT, stub.put(put("k", value.clone()))).await;
    call.unwrap().unwrap();
    let seen = &server.requests(crate::PUT)[0];
    let seen: etcd_core::proto::etcdserverpb::PutRequest = seen.decode().unwrap();
    assert!(seen.value == value);
}
