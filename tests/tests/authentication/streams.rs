//! Watches, leases and streams of replies on a server that refuses tokens.

use std::time::Duration;

use etcd_core::proto::etcdserverpb::watch_request::RequestUnion;
use etcd_core::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    RangeResponse, RangeStreamResponse, SnapshotResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use etcd_core::proto::mvccpb::{Event, KeyValue};
use etcd_core::proto::rpc::{OBSERVE_PATH, RANGE_STREAM_PATH, SNAPSHOT_PATH, Unary};
use etcd_core::proto::v3electionpb::LeaderResponse;
use etcd_core::{Error, EtcdError, Get, LeaseId, Watch, Watcher};
use etcd_tests::scripted::{Incoming, Reply};
use tokio::time::timeout;

use crate::LIMIT;
use crate::scripted::{AUTHENTICATE, Member, STALE};

const SHORT: Duration = Duration::from_millis(1);

/// Every text with which etcd refuses a watch for its token: a status in words, or the bare message.
const REASONS: [&str; 5] = [
    "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
    "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
    "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
];

/// The next watch stream or renewal stream, and the token that it was opened with.
async fn stream(member: &Member) -> (Incoming, String) {
    let stream = timeout(LIMIT, member.server.next_stream()).await.unwrap();
    let token = stream.request().metadata("token").unwrap_or_default();
    let token = token.to_owned();
    (stream, token)
}

async fn create(stream: &mut Incoming) -> WatchCreateRequest {
    loop {
        let request: WatchRequest = stream.decode().await.unwrap();
        if let Some(RequestUnion::CreateRequest(create)) = request.request_union {
            return create;
        }
    }
}

async fn answer(stream: &mut Incoming, response: WatchResponse) {
    let header = Some(stream.request().header());
    stream.send(&WatchResponse { header, ..response }).await;
}

async fn confirm(stream: &mut Incoming) -> WatchCreateRequest {
    let create = create(stream).await;
    let (watch_id, created) = (create.watch_id, true);
    answer(
        stream,
        WatchResponse {
            watch_id,
            created,
            ..Default::default()
        },
    )
    .await;
    create
}

async fn refuse(stream: &mut Incoming, reason: &str) {
    create(stream).await;
    let response = WatchResponse {
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: reason.to_owned(),
        ..Default::default()
    };
    answer(stream, response).await;
}

async fn put(stream: &mut Incoming, watch_id: i64, revision: i64) {
    let kv = Some(KeyValue {
        key: "k".into(),
        mod_revision: revision,
        ..Default::default()
    });
    let events = vec![Event {
        kv,
        ..Default::default()
    }];
    answer(
        stream,
        WatchResponse {
            watch_id,
            events,
            ..Default::default()
        },
    )
    .await;
}

async fn up_to(watcher: &mut Watcher, revision: i64) {
    let batch = timeout(LIMIT, watcher.try_next()).await.unwrap();
    assert_eq!(batch.unwrap().unwrap().revision, revision);
}

fn watch() -> Watch {
    Watch::key("k").start_revision(5)
}

#[tokio::test]
async fn a_watch_refused_for_its_token_is_created_on_another_stream_and_the_first_is_left_alone() {
    for reason in REASONS {
        let member = Member::start(STALE[0], SHORT).await;
        let client = member.client().await;
        let first = tokio::spawn(client.watch(watch()));
        let (mut old, token) = stream(&member).await;
        assert_eq!(token, "token-1");
        let kept = confirm(&mut old).await;
        let mut first = first.await.unwrap().unwrap();

        let second = tokio::spawn(client.watch(watch()));
        refuse(&mut old, reason).await;
        let (mut new, token) = stream(&member).await;
        assert_eq!(token, "token-2", "{reason}");
        let moved = confirm(&mut new).await;
        let mut second = second.await.unwrap().unwrap();
        // Both are fed, each by its own stream.
        put(&mut old, kept.watch_id, 7).await;
        put(&mut new, moved.watch_id, 8).await;
        up_to(&mut first, 7).await;
        up_to(&mut second, 8).await;
        // The third goes where the token is good.
        let third = tokio::spawn(client.watch(watch()));
        confirm(&mut new).await;
        drop(third.await.unwrap().unwrap());
        assert_eq!(member.logins(), 2);
    }
}

#[tokio::test]
async fn a_watch_that_is_resumed_with_a_stale_token_goes_on_where_it_was() {
    for reason in REASONS {
        let member = Member::start(STALE[0], SHORT).await;
        let client = member.client().await;
        let watching = tokio::spawn(client.watch(watch()));
        let (mut broken, _) = stream(&member).await;
        let created = confirm(&mut broken).await;
        let mut watcher = watching.await.unwrap().unwrap();
        put(&mut broken, created.watch_id, 7).await;
        up_to(&mut watcher, 7).await;
        broken
            .reply(Reply::trailers(14, "transport is closing"))
            .await;

        let (mut stale, token) = stream(&member).await;
        assert_eq!(token, "token-1");
        refuse(&mut stale, reason).await;
        let (mut good, token) = stream(&member).await;
        assert_eq!(token, "token-2", "{reason}");
        let created = confirm(&mut good).await;
        assert_eq!(created.start_revision, 8);
        put(&mut good, created.watch_id, 9).await;
        up_to(&mut watcher, 9).await;
        assert_eq!(member.logins(), 2);
    }
}

#[tokio::test]
async fn a_watch_or_its_stream_that_is_ended_for_the_token_goes_on_with_another() {
    let member = Member::start(STALE[0], SHORT).await;
    let client = member.client().await;
    let watching = tokio::spawn(client.watch(watch()));
    let (mut on, _) = stream(&member).await;
    let mut id = confirm(&mut on).await.watch_id;
    let mut watcher = watching.await.unwrap().unwrap();
    for (nth, revision) in [(2, 7), (4, 8), (6, 9)] {
        put(&mut on, id, revision).await;
        up_to(&mut watcher, revision).await;
        // Once the watch alone, once the whole stream.
        let canceled = WatchResponse {
            watch_id: id,
            canceled: true,
            cancel_reason: REASONS[0].to_owned(),
            ..Default::default()
        };
        answer(&mut on, canceled).await;
        let (mut next, token) = stream(&member).await;
        assert_eq!(token, format!("token-{nth}"));
        confirm(&mut next).await;
        let (code, message) = STALE[nth % 3];
        next.reply(Reply::trailers(code, message)).await;
        let (next, token) = stream(&member).await;
        assert_eq!(token, format!("token-{}", nth + 1));
        on = next;
        let created = confirm(&mut on).await;
        assert_eq!(created.start_revision, revision + 1);
        id = created.watch_id;
    }
}

#[tokio::test]
async fn watches_end_with_the_error_of_the_login_when_there_is_no_other_token() {
    let member = Member::start(STALE[0], SHORT).await;
    let client = member.client().await;
    let watching = tokio::spawn(client.watch(watch()));
    let (mut on, _) = stream(&member).await;
    confirm(&mut on).await;
    let mut watcher = watching.await.unwrap().unwrap();
    let changed = "etcdserver: authentication failed, invalid user ID or password";
    member
        .server
        .script(move |request| match request.path.as_str() {
            AUTHENTICATE => Reply::status(3, changed),
            _ => request.usual(),
        });
    let refused = tokio::spawn(client.watch(watch()));
    refuse(&mut on, REASONS[0]).await;
    let error = refused.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Login(_)), "{error}");
    // The stream that is there serves on, until it breaks.
    on.reply(Reply::trailers(14, "transport is closing")).await;
    let end = timeout(LIMIT, watcher.try_next())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(end.etcd(), Some(EtcdError::AuthFailed), "{end}");
}

#[tokio::test]
async fn renewals_refused_for_their_token_go_on_with_another_and_no_lease_is_lost() {
    let member = Member::start(STALE[0], SHORT).await;
    let client = member.client().await;
    member.server.script(|request| match request.path.as_str() {
        AUTHENTICATE => Reply::message(&etcd_core::proto::etcdserverpb::AuthenticateResponse {
            token: format!("token-{}", request.nth),
            ..Default::default()
        }),
        LeaseGrantRequest::PATH => {
            let asked: LeaseGrantRequest = request.decode().unwrap();
            Reply::message(&LeaseGrantResponse {
                header: Some(request.header()),
                id: asked.id,
                ttl: 4,
                ..Default::default()
            })
        }
        _ => request.usual(),
    });
    let lease = client.lease(Duration::from_secs(4)).await.unwrap();
    for (nth, (code, message)) in STALE.into_iter().enumerate() {
        let (mut refused, token) = stream(&member).await;
        assert_eq!(token, format!("token-{}", nth + 1));
        let _: LeaseKeepAliveRequest = timeout(LIMIT, refused.decode()).await.unwrap().unwrap();
        refused.reply(Reply::status(code, message)).await;
    }
    let (mut good, token) = stream(&member).await;
    assert_eq!(token, "token-4");
    let asked: LeaseKeepAliveRequest = timeout(LIMIT, good.decode()).await.unwrap().unwrap();
    let renewed = LeaseKeepAliveResponse {
        header: Some(good.request().header()),
        id: asked.id,
        ttl: 4,
    };
    good.send(&renewed).await;
    assert!(lease.is_valid(), "{:?}", lease.state());
    assert_eq!(member.logins(), 4);
}

#[tokio::test]
async fn a_single_renewal_is_repeated_with_another_token() {
    let member = Member::start(STALE[0], SHORT).await;
    let client = member.client().await;
    let renewing = tokio::spawn(client.keep_alive_once(LeaseId(7)));
    let (mut refused, _) = stream(&member).await;
    refused.reply(Reply::status(STALE[1].0, STALE[1].1)).await;
    let (mut good, token) = stream(&member).await;
    assert_eq!(token, "token-2");
    let header = Some(good.request().header());
    good.send(&LeaseKeepAliveResponse {
        header,
        id: 7,
        ttl: 9,
    })
    .await;
    assert_eq!(renewing.await.unwrap().unwrap(), Duration::from_secs(9));
}

#[tokio::test]
async fn streams_of_replies_are_asked_for_again_with_another_token() {
    for (code, message) in STALE {
        let member = Member::start(STALE[0], SHORT).await;
        let client = member.client().await;
        member.server.script(move |request| {
            if request.path == AUTHENTICATE {
                return Reply::message(&etcd_core::proto::etcdserverpb::AuthenticateResponse {
                    token: format!("token-{}", request.nth),
                    ..Default::default()
                });
            }
            // Each finds its first token stale.
            match request.path.as_str() {
                RANGE_STREAM_PATH | SNAPSHOT_PATH | OBSERVE_PATH if request.nth == 1 => {
                    Reply::status(code, message)
                }
                RANGE_STREAM_PATH => Reply::message(&RangeStreamResponse {
                    range_response: Some(RangeResponse {
                        count: 7,
                        ..Default::default()
                    }),
                }),
                SNAPSHOT_PATH => Reply::message(&SnapshotResponse::default()),
                OBSERVE_PATH => Reply::message(&LeaderResponse {
                    kv: Some(KeyValue {
                        key: "e/1".into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                _ => request.usual(),
            }
        });
        let mut pieces = client.range_stream(Get::prefix("k")).await.unwrap();
        assert_eq!(pieces.try_next().await.unwrap().unwrap().count, 7);
        let _snapshot = client.snapshot().await.unwrap();
        let mut leaders = client.observe("e").await.unwrap();
        let leader = leaders.try_next().await.unwrap().unwrap();
        assert_eq!(&leader.kv.unwrap().key[..], b"e/1");
        assert_eq!(member.logins(), 4);
        let shown = |path| {
            let requests = member.server.requests(path);
            requests
                .last()
                .unwrap()
                .metadata("token")
                .unwrap()
                .to_owned()
        };
        let tokens = [RANGE_STREAM_PATH, SNAPSHOT_PATH, OBSERVE_PATH].map(shown);
        assert_eq!(tokens, ["token-2", "token-3", "token-4"]);
    }
}
