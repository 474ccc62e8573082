//! Servers that say what etcd would not. No watch gets an event that is not its own, or one twice; none is lost.

use bytes::Bytes;
use etcd_core::proto::etcdserverpb::WatchResponse;
use etcd_core::{Client, Error, Watch, Watcher};
use etcd_tests::scripted::{Reply, Scripted};

use crate::member::{NONE, Stream, WATCH, member, put, response};
use crate::{end, events, next, text, up_to};

/// A server with a watch of `k/` from revision 5 on, under the id 1.
async fn watched() -> (Scripted, Client, Watcher, Stream) {
    let (server, client) = member().await;
    let watch = tokio::spawn(client.watch(Watch::prefix("k/").start_revision(5)));
    let mut stream = Stream::next(&server).await;
    assert_eq!(stream.confirm().await, 1);
    let watcher = watch.await.unwrap().unwrap();
    (server, client, watcher, stream)
}

/// The stream is left, and the watch goes on on another one as if nothing had been said.
async fn begun_anew(server: &Scripted, watcher: &mut Watcher, mut left: Stream) {
    left.left().await;
    let mut stream = Stream::next(server).await;
    let create = stream.create().await;
    assert_eq!(create.start_revision, watcher.next_revision());
    stream.created(create.watch_id).await;
    stream.events(create.watch_id, &[(90, "k/z")]).await;
    let got = events(up_to(watcher, 90).await);
    assert_eq!(text("", &got), ["put k/z 90"]);
}

#[tokio::test]
async fn a_create_that_nobody_asked_for_is_not_believed() {
    let strange = |watch_id, canceled| WatchResponse {
        watch_id,
        created: true,
        canceled,
        cancel_reason: "etcdserver: permission denied".repeat(canceled.into()),
        ..response(1)
    };
    // Out of thin air, once more for the same watch, and refusals of nothing.
    for answer in [
        strange(7, false),
        strange(1, false),
        strange(NONE, true),
        strange(1, true),
    ] {
        let (server, _client, mut watcher, mut stream) = watched().await;
        stream.0.send(&answer).await;
        begun_anew(&server, &mut watcher, stream).await;
    }
}

#[tokio::test]
async fn an_answer_with_the_id_of_another_create_is_not_believed() {
    let (server, client, mut watcher, mut stream) = watched().await;
    let more = [(); 2].map(|()| tokio::spawn(client.watch(Watch::key("a").start_revision(5))));
    let ids = [
        stream.create().await.watch_id,
        stream.create().await.watch_id,
    ];
    stream.created(ids[1]).await;
    stream.left().await;
    let mut stream = Stream::next(&server).await;
    for _ in 0..3 {
        stream.confirm().await;
    }
    for watch in more {
        drop(watch.await.unwrap().unwrap());
    }
    stream.events(1, &[(6, "k/a")]).await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 6"]);
}

#[tokio::test]
async fn events_for_an_unknown_id_are_delivered_to_nobody_and_cancelled_once() {
    let (server, _client, mut watcher, mut stream) = watched().await;
    for id in [7, 0, 8] {
        stream.events(id, &[(6, "k/foreign")]).await;
        assert_eq!(stream.cancel().await, id);
        stream.events(id, &[(6, "k/foreign")]).await;
    }
    stream.events(NONE, &[(6, "k/foreign")]).await;
    stream.events(1, &[(7, "k/a")]).await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 7"]);
    assert_eq!(server.seen(WATCH), 1);
    // Nothing else was asked for meanwhile.
    watcher.request_progress();
    let request = stream.0.message().await.unwrap();
    assert_eq!(&request[..], b"\x1a\0");
}

#[tokio::test]
async fn a_server_that_goes_on_making_up_ids_is_left() {
    let (server, _client, mut watcher, mut stream) = watched().await;
    for id in 100..1_101 {
        stream.events(id, &[(6, "k/foreign")]).await;
    }
    begun_anew(&server, &mut watcher, stream).await;
}

#[tokio::test]
async fn events_for_a_cancelled_watch_are_delivered_to_nobody() {
    let (_server, client, mut watcher, mut stream) = watched().await;
    let other = tokio::spawn(client.watch("other"));
    let id = stream.confirm().await;
    drop(other.await.unwrap().unwrap());
    assert_eq!(stream.cancel().await, id);
    stream.events(id, &[(6, "k/foreign"), (7, "other")]).await;
    stream.canceled(id, "", 0).await;
    stream.events(1, &[(7, "k/a")]).await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 7"]);
}

#[tokio::test]
async fn events_before_the_resume_point_and_beside_the_range_are_dropped() {
    let (_server, _client, mut watcher, mut stream) = watched().await;
    stream
        .events(1, &[(4, "k/early"), (5, "k/a"), (6, "beside"), (6, "k/a")])
        .await;
    let got = events(up_to(&mut watcher, 6).await);
    assert_eq!(text("", &got), ["put k/a 5", "put k/a 6"]);
    // As a member does that sends again what it has sent.
    stream
        .events(1, &[(5, "k/a"), (6, "k/a"), (7, "k/a")])
        .await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 7"]);
}

#[tokio::test]
async fn events_out_of_order_are_not_delivered_and_end_the_stream() {
    let (server, _client, mut watcher, mut stream) = watched().await;
    stream.events(1, &[(7, "k/a"), (6, "k/b")]).await;
    stream.left().await;
    let mut stream = Stream::next(&server).await;
    let create = stream.create().await;
    assert_eq!(create.start_revision, 5, "it has delivered nothing");
    stream.created(1).await;
    stream.events(1, &[(6, "k/b"), (7, "k/a")]).await;
    let got = events(up_to(&mut watcher, 7).await);
    assert_eq!(text("", &got), ["put k/b 6", "put k/a 7"]);
}

#[tokio::test]
async fn half_a_revision_is_not_delivered() {
    let (server, _client, mut watcher, mut stream) = watched().await;
    let mut fragment = response(7);
    (fragment.watch_id, fragment.fragment) = (1, true);
    fragment.events = vec![put(6, "k/a"), put(7, "k/a")];
    stream.0.send(&fragment).await;
    assert_eq!(text("", &next(&mut watcher).await.events), ["put k/a 6"]);
    // Progress cannot have got past a revision that is still coming.
    stream
        .0
        .send(&WatchResponse {
            watch_id: NONE,
            ..response(9)
        })
        .await;
    stream.end(14, "going away").await;
    let mut stream = Stream::next(&server).await;
    assert_eq!(stream.create().await.start_revision, 7);
    stream.created(1).await;
    stream.events(1, &[(7, "k/a"), (7, "k/b")]).await;
    let batch = next(&mut watcher).await;
    assert_eq!(text("", &batch.events), ["put k/a 7", "put k/b 7"]);
}

#[tokio::test]
async fn progress_never_moves_a_watch_back() {
    let (server, _client, watcher, mut stream) = watched().await;
    stream
        .0
        .send(&WatchResponse {
            watch_id: NONE,
            ..response(20)
        })
        .await;
    stream
        .0
        .send(&WatchResponse {
            watch_id: 1,
            ..response(12)
        })
        .await;
    stream
        .0
        .send(&WatchResponse {
            watch_id: NONE,
            ..response(3)
        })
        .await;
    stream.end(0, "").await;
    let mut stream = Stream::next(&server).await;
    assert_eq!(stream.create().await.start_revision, 21);
    assert_eq!(watcher.next_revision(), 21);
}

#[tokio::test]
async fn bytes_that_are_no_response_end_the_stream_and_no_watch() {
    let garbage = [
        Reply::data(&b"\0\0\0\0\x04\xff\xff\xff\xff"[..]),
        // Compressed, which nobody asked for.
        Reply::data(&b"\x01\0\0\0\x01a"[..]),
        // An event without a key, for the id 1.
        Reply::data(&b"\0\0\0\0\x04\x10\x01\x5a\0"[..]),
        // A message of 4 GiB, of which a header of 2 GiB begins.
        Reply::data(Bytes::from_static(
            b"\0\xff\xff\xff\xff\x0a\xff\xff\xff\xff\x07",
        )),
    ];
    for bytes in garbage {
        let (server, _client, mut watcher, mut stream) = watched().await;
        stream.0.reply(bytes).await;
        begun_anew(&server, &mut watcher, stream).await;
    }
}

#[tokio::test]
async fn a_member_of_another_cluster_ends_the_watch_before_it_delivers() {
    let (server, _client, mut watcher, mut stream) = watched().await;
    stream.end(0, "").await;
    let mut stream = Stream::next(&server).await;
    stream.create().await;
    let mut foreign = response(6);
    foreign.header.as_mut().unwrap().cluster_id = 2;
    (foreign.watch_id, foreign.created) = (1, true);
    foreign.events = vec![put(6, "k/foreign")];
    stream.0.send(&foreign).await;
    let error = end(&mut watcher).await.unwrap();
    assert!(matches!(error, Error::ClusterChanged(_)), "{error}");
    assert_eq!(watcher.next_revision(), 5);
    stream.left().await;
}
