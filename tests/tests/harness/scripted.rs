//! The scripted server keeps HTTP/2 going by itself, and what a script says is what a client (h2) sees.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
};
use etcd_proto::mvccpb::KeyValue;
use etcd_proto::rpc::Unary;
use etcd_tests::scripted::{Reply, Request, Scripted};
use etcd_tests::wait;
use h2::Reason;
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{answer, connect, prefixed, put, request, send};

const LIMIT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(100);
const PUT: &str = PutRequest::PATH;

async fn server(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Scripted {
    Scripted::start(script).await.unwrap()
}

#[tokio::test]
async fn a_request_reaches_the_script_whole_and_its_answer_the_client() {
    let server = server(|request| {
        let put: PutRequest = request.decode().unwrap();
        assert_eq!(
            (put.key, request.metadata("hasleader")),
            ("k".into(), Some("true"))
        );
        request.usual()
    })
    .await;
    let (client, _) = connect(server.address()).await;
    let got = put(&client, "k").await.unwrap();
    assert_eq!(
        (got.status, &got.trailers["grpc-status"]),
        (200, &"0".parse().unwrap())
    );
    let reply = PutResponse::decode(&got.body[5..]).unwrap();
    assert_eq!(reply.header.unwrap().member_id, 1);

    // The second time h2 refers to its HPACK table; the third is on another connection, with a table of its own.
    put(&client, "k").await.unwrap();
    let (other, _) = connect(server.address()).await;
    put(&other, "k").await.unwrap();
    let seen: Vec<_> = server
        .requests(PUT)
        .iter()
        .map(|r| (r.connection, r.stream, r.nth))
        .collect();
    assert_eq!(seen, [(0, 1, 1), (0, 3, 2), (1, 1, 3)]);
    assert_eq!(
        (
            server.connections(),
            server.open(),
            server.seen(RangeRequest::PATH)
        ),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn a_member_answers_status_by_itself_and_refuses_unknown_methods() {
    let server = Scripted::builder()
        .member(7)
        .leader(8)
        .start(Request::usual)
        .await
        .unwrap();
    let (client, _) = connect(server.address()).await;
    let got = answer(send(&client, StatusRequest::PATH, prefixed(&StatusRequest {})).await)
        .await
        .unwrap();
    let status = StatusResponse::decode(&got.body[5..]).unwrap();
    assert_eq!((status.header.unwrap().member_id, status.leader), (7, 8));
    let got = answer(send(&client, "/no.Such/Method", Bytes::new()).await)
        .await
        .unwrap();
    assert_eq!(got.headers["grpc-status"], "12", "trailers only");
}

#[tokio::test]
async fn answers_that_are_no_answer_look_as_scripted() {
    let server = server(|request| match request.nth {
        1 => Reply::status(14, "etcdserver: no leader, 50% ü"),
        2 => Reply::http_status(503),
        3 => Reply::garbage(),
        4 => Reply::oversized(1 << 30).then(Reply::end()),
        5 => Reply::compressed(&PutResponse::default()),
        _ => Reply::headers()
            .then(Reply::part(&PutResponse::default()))
            .then(Reply::end()),
    })
    .await;
    let (client, _) = connect(server.address()).await;
    let refused = put(&client, "k").await.unwrap();
    assert_eq!(
        (refused.status, &refused.headers["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    assert_eq!(
        refused.headers["grpc-message"],
        "etcdserver: no leader, 50%25 %C3%BC"
    );
    assert_eq!(put(&client, "k").await.unwrap().status, 503);
    assert!(PutResponse::decode(&put(&client, "k").await.unwrap().body[5..]).is_err());
    assert_eq!(
        put(&client, "k").await.unwrap().body[..5],
        [0, 0x40, 0, 0, 0]
    );
    assert_eq!(put(&client, "k").await.unwrap().body[0], 1);
    let ended = put(&client, "k").await.unwrap();
    assert!(ended.body.len() == 5 && ended.trailers.is_empty());
}

#[tokio::test]
async fn headers_larger_than_a_frame_pass_both_ways() {
    let server = server(|request| Reply::status(2, request.metadata("long").unwrap())).await;
    let (client, _) = connect(server.address()).await;
    let long = "long".repeat(20_000);
    let mut request = request(PUT);
    request.headers_mut().insert("long", long.parse().unwrap());
    let (response, _) = client
        .ready()
        .await
        .unwrap()
        .send_request(request, true)
        .unwrap();
    assert_eq!(
        answer(response).await.unwrap().headers["grpc-message"],
        long
    );
}

#[tokio::test]
async fn resets_carry_their_code_before_and_after_headers() {
    let server = server(|request| match request.nth {
        1 => Reply::rst(Reason::REFUSED_STREAM),
        _ => Reply::rst_after_headers(Reason::ENHANCE_YOUR_CALM),
    })
    .await;
    let (client, _) = connect(server.address()).await;
    for reason in [Reason::REFUSED_STREAM, Reason::ENHANCE_YOUR_CALM] {
        let error = put(&client, "k").await.unwrap_err();
        assert!(error.is_reset() && error.is_remote());
        assert_eq!(error.reason(), Some(reason));
    }
    assert_eq!(server.seen(PUT), 2);
}

#[tokio::test]
async fn a_goaway_spares_the_streams_up_to_its_last_id() {
    let server = server(|request| match request.stream {
        1 => Reply::silence(),
        _ => Reply::goaway(1, Reason::NO_ERROR, "bye").then(Reply::raw(
            0x55,
            0,
            0,
            "frames of unknown kind are ignored",
        )),
    })
    .await;
    let (client, connection) = connect(server.address()).await;
    let first = send(&client, PUT, prefixed(&PutRequest::default())).await;
    let error = put(&client, "k").await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote());
    server.push(0, Reply::abort()).await;
    assert!(answer(first).await.unwrap_err().is_io());
    let _ = timeout(LIMIT, connection).await.unwrap();
    wait::until("it is closed", LIMIT, async || server.open() == 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn close_and_abort_end_the_connection_and_silence_does_not() {
    let server = server(|request| match request.connection {
        0 => Reply::close(),
        1 => Reply::headers()
            .then(Reply::data("half"))
            .then(Reply::abort()),
        _ => Reply::silence(),
    })
    .await;
    for _ in 0..2 {
        let (client, connection) = connect(server.address()).await;
        assert!(put(&client, "k").await.unwrap_err().is_io());
        // Dropping the last handle is no error; that the connection has ended is what matters.
        drop(client);
        let _ = timeout(LIMIT, connection).await.unwrap();
    }
    let (client, _) = connect(server.address()).await;
    let response = send(&client, PUT, prefixed(&PutRequest::default())).await;
    wait::until("it was seen", LIMIT, async || server.seen(PUT) == 3)
        .await
        .unwrap();
    assert!(timeout(SILENCE, response).await.is_err());
    wait::until("the client's cancel was seen", LIMIT, async || {
        server.resets().len() == 1
    })
    .await
    .unwrap();
    let reset = server.resets()[0];
    assert_eq!(
        (reset.connection, reset.stream, reset.code),
        (2, 1, Reason::CANCEL.into())
    );
}

#[tokio::test]
async fn an_abort_is_a_reset_of_the_connection_and_a_close_is_its_end() {
    let server = server(Request::usual).await;
    for (connection, end) in [Reply::abort(), Reply::close()].into_iter().enumerate() {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let settings = timeout(LIMIT, socket.read_exact(&mut [0; 9])).await;
        settings.unwrap().unwrap();
        server.push(connection, end).await;
        let ended = timeout(LIMIT, socket.read_u8()).await.unwrap();
        let expected = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof][connection];
        assert_eq!(ended.unwrap_err().kind(), expected);
    }
}

#[tokio::test]
async fn a_delayed_reply_comes_later_and_holds_up_no_other() {
    let delay = Duration::from_secs(1);
    let server = server(move |request| match request.nth {
        1 => Reply::delay(delay, request.usual()),
        _ => request.usual(),
    })
    .await;
    let (client, _) = connect(server.address()).await;
    let start = Instant::now();
    let slow = send(&client, PUT, prefixed(&PutRequest::default())).await;
    wait::until("it was seen", LIMIT, async || server.seen(PUT) == 1)
        .await
        .unwrap();
    put(&client, "fast").await.unwrap();
    assert!(start.elapsed() < delay);
    answer(slow).await.unwrap();
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn the_script_can_be_replaced_and_frames_may_come_twice() {
    let server = server(|request| {
        request
            .usual()
            .then(Reply::rst(Reason::CANCEL))
            .then(request.usual())
    })
    .await;
    let (client, connection) = connect(server.address()).await;
    put(&client, "k").await.unwrap();
    server.script(|request| {
        request
            .usual()
            .then(Reply::raw(0, 0, 99, "for a stream that never was"))
    });
    put(&client, "k").await.ok();
    assert!(
        timeout(LIMIT, connection).await.unwrap().unwrap().is_err(),
        "h2 takes that for a protocol error"
    );
    wait::until("it said so", LIMIT, async || !server.goaways().is_empty())
        .await
        .unwrap();
    assert_eq!(server.goaways()[0].code, u32::from(Reason::PROTOCOL_ERROR));
}

#[tokio::test]
async fn pings_are_answered_until_told_otherwise_and_counted_with_their_time() {
    let server = server(Request::usual).await;
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let (_client, mut connection) = h2::client::handshake(socket).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let start = Instant::now();
    timeout(LIMIT, pings.ping(h2::Ping::opaque()))
        .await
        .unwrap()
        .unwrap();
    server.answer_pings(false);
    assert!(
        timeout(SILENCE, pings.ping(h2::Ping::opaque()))
            .await
            .is_err()
    );
    let both = async || server.pings().len() == 2;
    wait::until("both were seen", LIMIT, both).await.unwrap();
    let seen = server.pings();
    assert!(
        seen.len() == 2
            && seen
                .iter()
                .all(|ping| ping.connection == 0 && (start..Instant::now()).contains(&ping.at))
    );
}

#[tokio::test]
async fn requests_and_replies_larger_than_every_window_pass() {
    let value = Bytes::from(vec![7; 3_000_000]);
    let sent = value.clone();
    let server = server(move |request| {
        let put: PutRequest = request.decode().unwrap();
        assert!(put.value == sent);
        let kvs = vec![KeyValue {
            value: put.value,
            ..KeyValue::default()
        }];
        Reply::message(&RangeResponse {
            kvs,
            ..RangeResponse::default()
        })
    })
    .await;
    let (client, _) = connect(server.address()).await;
    let message = PutRequest {
        value: value.clone(),
        ..PutRequest::default()
    };
    let got = answer(send(&client, PUT, prefixed(&message)).await)
        .await
        .unwrap();
    assert!(RangeResponse::decode(&got.body[5..]).unwrap().kvs[0].value == value);
}

#[tokio::test]
async fn settings_hold_the_client_back() {
    let server = Scripted::builder()
        .setting(4, 0)
        .start(Request::usual)
        .await
        .unwrap();
    let (client, _) = connect(server.address()).await;
    let mut ready = client.clone().ready().await.unwrap();
    let (bodyless, _) = ready.send_request(request(PUT), true).unwrap();
    answer(bodyless).await.unwrap();
    let response = send(&client, PUT, prefixed(&PutRequest::default())).await;
    assert!(
        timeout(SILENCE, response).await.is_err(),
        "without a window no body is sent"
    );
    assert_eq!(server.seen(PUT), 1);
}
