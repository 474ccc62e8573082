//! The stubs that tonic generates, over the client's own connections, with a layer of one's own in between.
//!
//! `cargo run --example raw` starts an etcd; `cargo run --example raw -- LIST` uses yours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use etcd_core::Client;
use etcd_core::proto::etcdserverpb::kv_client::KvClient;
use etcd_core::proto::etcdserverpb::watch_client::WatchClient;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion::CreateRequest;
use etcd_core::proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};
use etcd_tests::example::Etcd;
use tokio_stream::StreamExt;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<()> {
    let etcd = Etcd::given_or_own().await?;
    let client = Client::connect(etcd.endpoints()).await?;

    // Any tower layer goes between a stub and the channel.
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let count = move |request: http::Request<_>| {
        counter.fetch_add(1, Ordering::Relaxed);
        request
    };
    let counted = ServiceBuilder::new().map_request(count);
    let channel = counted.service(client.channel()?);

    let create = WatchCreateRequest {
        key: "raw/greeting".into(),
        ..Default::default()
    };
    let request_union = Some(CreateRequest(create));
    // More requests may follow for as long as the watch lasts.
    let requests =
        tokio_stream::once(WatchRequest { request_union }).chain(tokio_stream::pending());
    let mut stub = WatchClient::new(channel.clone());
    let mut watch = stub.watch(requests).await?.into_inner();
    println!("watching: {:?}", watch.message().await?);
    let put = PutRequest {
        key: "raw/greeting".into(),
        value: "hello".into(),
        ..Default::default()
    };
    KvClient::new(channel).put(put).await?;
    let seen = watch.message().await?.context("the watch has ended")?;
    println!("seen: {:?}", seen.events);
    println!("{} calls", calls.load(Ordering::Relaxed));
    Ok(())
}
