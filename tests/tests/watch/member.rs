//! A scripted member whose watch streams are in the hands of the test.

use std::time::Duration;

use etcd_core::Client;
use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{
    ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
};
use etcd_core::proto::mvccpb::{Event, KeyValue};
use etcd_tests::scripted::{Incoming, Reply, Request, Scripted};
use etcd_tests::wait;
use tokio::time::timeout;

use crate::LIMIT;

/// The RPC.
pub(crate) const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// How long a client takes at most to leave a stream that it must leave. Shorter than the 5 s after which it would leave it anyway
/// because a create is not answered.
const LEAVE: Duration = Duration::from_secs(4);

/// The id of answers that are for no watcher.
pub(crate) const NONE: i64 = -1;

/// One member, and a client of it.
pub(crate) async fn member() -> (Scripted, Client) {
    let server = Scripted::start(Request::usual).await.unwrap();
    let client = etcd_tests::connect(server.endpoint()).await.unwrap();
    (server, client)
}

/// Two members of one cluster, and a client of both.
pub(crate) async fn pair() -> ([Scripted; 2], Client) {
    let start = |id| Scripted::builder().member(id).start(Request::usual);
    let servers = [start(1).await.unwrap(), start(2).await.unwrap()];
    let endpoints = servers.iter().map(Scripted::endpoint);
    let client = etcd_tests::builder(endpoints).connect();
    let client = client.await.unwrap();
    wait::until("both are active", LIMIT, async || {
        client.endpoints().active() == 2
    })
    .await
    .unwrap();
    (servers, client)
}

/// One watch stream, as the server sees it.
pub(crate) struct Stream(pub(crate) Incoming);

impl Stream {
    /// The next one that a client opens.
    pub(crate) async fn next(server: &Scripted) -> Self {
        let stream = timeout(LIMIT, server.next_stream()).await;
        let stream = stream.expect("no stream is opened");
        assert_eq!(stream.request().path, WATCH);
        Self(stream)
    }

    /// The next one of either server, and which.
    pub(crate) async fn next_of(servers: &[Scripted; 2]) -> (usize, Self) {
        tokio::select! {
            stream = Self::next(&servers[0]) => (0, stream),
            stream = Self::next(&servers[1]) => (1, stream),
        }
    }

    async fn request(&mut self) -> RequestUnion {
        let request = timeout(LIMIT, self.0.decode::<WatchRequest>()).await;
        request
            .expect("nothing is asked for")
            .unwrap()
            .request_union
            .unwrap()
    }

    /// The next request, which must be a create.
    pub(crate) async fn create(&mut self) -> WatchCreateRequest {
        match self.request().await {
            RequestUnion::CreateRequest(create) => create,
            other => panic!("{other:?}"),
        }
    }

    /// The next request, which must be a cancel: of which id.
    pub(crate) async fn cancel(&mut self) -> i64 {
        match self.request().await {
            RequestUnion::CancelRequest(cancel) => cancel.watch_id,
            other => panic!("{other:?}"),
        }
    }

    /// Confirms the next create under the id it asks for, which it gives.
    pub(crate) async fn confirm(&mut self) -> i64 {
        let id = self.create().await.watch_id;
        self.created(id).await;
        id
    }

    pub(crate) async fn created(&mut self, watch_id: i64) {
        let response = WatchResponse {
            watch_id,
            created: true,
            ..response(1)
        };
        self.0.send(&response).await;
    }

    /// Refuses the create that is asked for, as etcd does.
    pub(crate) async fn refused(&mut self, reason: &str) {
        let response = WatchResponse {
            watch_id: NONE,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..response(1)
        };
        self.0.send(&response).await;
    }

    pub(crate) async fn canceled(&mut self, watch_id: i64, reason: &str, compact_revision: i64) {
        let response = WatchResponse {
            watch_id,
            canceled: true,
            cancel_reason: reason.to_owned(),
            compact_revision,
            ..response(1)
        };
        self.0.send(&response).await;
    }

    /// Puts of these keys at these revisions.
    pub(crate) async fn events(&mut self, watch_id: i64, puts: &[(i64, &str)]) {
        let events = puts
            .iter()
            .map(|(revision, key)| put(*revision, key))
            .collect();
        let response = WatchResponse {
            watch_id,
            events,
            ..response(puts.last().map_or(1, |(revision, _)| *revision))
        };
        self.0.send(&response).await;
    }

    /// Ends the stream with a status.
    pub(crate) async fn end(&mut self, code: u32, message: &str) {
        self.0.reply(Reply::trailers(code, message)).await;
    }

    /// Waits until the client has left the stream.
    pub(crate) async fn left(&mut self) {
        let left = async { while self.0.message().await.is_some() {} };
        timeout(LEAVE, left)
            .await
            .expect("the stream is still in use");
    }
}

/// A response of this cluster.
pub(crate) fn response(revision: i64) -> WatchResponse {
    let header = ResponseHeader {
        cluster_id: 1,
        member_id: 1,
        revision,
        raft_term: 2,
        ..ResponseHeader::default()
    };
    WatchResponse {
        header: Some(header),
        ..WatchResponse::default()
    }
}

pub(crate) fn put(mod_revision: i64, key: &str) -> Event {
    let kv = KeyValue {
        key: key.to_owned().into(),
        mod_revision,
        create_revision: mod_revision,
        version: 1,
        value: mod_revision.to_string().into(),
        ..KeyValue::default()
    };
    Event {
        kv: Some(kv),
        ..Event::default()
    }
}
