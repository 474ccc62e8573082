//! Fuzz targets over what comes off a socket, up to whole gRPC messages.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures_util::task::noop_waker_ref;
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::frames::{CLIENT_PREFACE, DATA, FrameSeen, Frames, HEADERS};
use super::grpc::{Deframer, Malformed, Whole, status as read_status};
use super::tap::tap;
use super::token::Token;
use super::{Connection, ConnectionOptions, Headers, Metadata, Step, tls};
use crate::error::{Code, Error, TlsError};
use crate::fuzz::Input;
use crate::tls::{Context, Tls};

/// The limit of a message, in bytes.
const LIMIT: usize = 1_000;
const PATH: &str = "/etcdserverpb.KV/Range";
/// More than enough for a call to end whose connection is gone.
const SOON: Duration = Duration::from_secs(20);

/// The same frames are found however the bytes are cut, and the tap hands on what it read and knows what it was.
pub(crate) fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let preface = if input.flag() { CLIENT_PREFACE } else { 0 };
    let bytes = input.rest();
    let whole = seen(preface, [bytes]);
    let mut input = Input::new(data);
    let pieces = input.pieces(bytes);
    assert_eq!(seen(preface, pieces.iter().map(|piece| &piece[..])), whole);
    assert!(whole.is_sorted_by_key(|frame| frame.start));

    let (mut io, handle) = tap(Pieces(pieces.into_iter()));
    let mut read = Vec::new();
    let mut cx = task::Context::from_waker(noop_waker_ref());
    while let Poll::Ready(Ok(())) = read_some(&mut io, &mut cx, &mut read) {}
    assert_eq!(read, bytes);
    let (frames, news) = (seen(0, [bytes]), handle.take_news());
    let replies = |frame: &FrameSeen| [HEADERS, DATA].contains(&frame.kind);
    assert_eq!(news.bytes, !bytes.is_empty());
    assert_eq!(news.replies, frames.iter().any(replies));
}

fn seen<'a>(preface: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<FrameSeen> {
    let (mut frames, mut seen) = (Frames::new(preface), Vec::new());
    for piece in pieces {
        frames.feed(piece, |frame| seen.push(frame));
    }
    seen
}

/// Appends up to a few bytes to `into`; an error at the end.
fn read_some(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut task::Context<'_>,
    into: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut room = [0; 7];
    let mut buffer = ReadBuf::new(&mut room);
    let read = Pin::new(io).poll_read(cx, &mut buffer);
    into.extend_from_slice(buffer.filled());
    match read {
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
            Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
        }
        read => read,
    }
}

/// A socket from which these pieces come, one by one.
struct Pieces(std::vec::IntoIter<Bytes>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        into.put_slice(&self.0.next().unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// The same messages are found however the bytes are cut; none is over the limit, and nothing is kept for a length that is
/// only announced.
pub(crate) fn grpc(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let bytes = input.rest();
    let whole = deframe([Bytes::copy_from_slice(bytes)]);
    let pieces = Input::new(&[way]).pieces(bytes);
    assert_eq!(deframe(pieces), whole);

    let total: usize = whole.messages.iter().map(|message| 5 + message.len()).sum();
    assert!(total <= bytes.len());
    assert!(whole.messages.iter().all(|message| message.len() <= LIMIT));
    if whole.end == End::Clean {
        assert_eq!(total, bytes.len());
    }
}

#[derive(Debug, PartialEq)]
struct Deframed {
    messages: Vec<Bytes>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    Clean,
    TooLarge,
    Malformed(Malformed),
}

fn deframe(pieces: impl IntoIterator<Item = Bytes>) -> Deframed {
    let (mut deframer, mut whole, mut messages) =
        (Deframer::default(), Whole::default(), Vec::new());
    for mut piece in pieces {
        loop {
            let part = match deframer.next(&mut piece) {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(malformed) => {
                    let end = End::Malformed(malformed);
                    return Deframed { messages, end };
                }
            };
            if !whole.add(part, LIMIT) {
                let end = End::TooLarge;
                return Deframed { messages, end };
            }
            if whole.complete {
                messages.push(whole.take());
            }
        }
        assert!(piece.is_empty(), "a piece is used up");
    }
    let end = deframer.end().map_or_else(End::Malformed, |()| End::Clean);
    Deframed { messages, end }
}

/// Any trailers give a status or none, and any status an error that can be shown.
pub(crate) fn status(data: &[u8]) {
    let mut input = Input::new(data);
    let mut headers = HeaderMap::new();
    if let Ok(code) = HeaderValue::from_bytes(input.bytes(12)) {
        headers.insert("grpc-status", code);
    }
    let text = input.rest();
    // A token is shown to the server in a header, whatever it is.
    let _ = Token::new(str::from_utf8(text).ok(), 1).map(|token| format!("{token:?}"));
    if let Ok(message) = HeaderValue::from_bytes(text) {
        headers.insert("grpc-message", message);
    }
    let Some((code, message)) = read_status(&headers) else {
        assert!(!headers.contains_key("grpc-status"));
        return;
    };
    if !text.contains(&b'%') && text.is_ascii() && headers.contains_key("grpc-message") {
        assert_eq!(message.as_bytes(), text, "nothing was escaped");
    }
    if code != Code::OK {
        crate::error::fuzz::check(&Error::from_status("http://a:2379", code, message));
    }
}

/// A server that sends anything: a call over it ends, at the latest when the connection does.
pub(crate) fn connection(data: &[u8]) {
    ends(talk(data));
}

/// A server that sends anything: a handshake with it fails, at the latest when the connection ends.
pub(crate) fn handshake(data: &[u8]) {
    /// It trusts anybody, so that it is not the certificate for which it fails.
    static CONTEXT: LazyLock<Option<Context>> =
        LazyLock::new(|| Context::new(Tls::new().danger_accept_invalid_certs()).ok());
    let (Some(context), mut input) = (&*CONTEXT, Input::new(data)) else {
        return;
    };
    let way = input.byte();
    let Some(name) = context.server_name("a") else {
        return;
    };
    ends(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let server = async move {
            for piece in Input::new(&[way]).pieces(input.rest()) {
                if theirs.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let (result, ()) = tokio::join!(tls::handshake(Box::new(ours), context, name), server);
        assert!(result.is_err(), "nobody knows a key");
        let _ = result.err().as_ref().map(shown);
    });
}

fn shown(error: &TlsError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn ends(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let Ok(runtime) = runtime else { return };
    let ended = runtime.block_on(async { timeout(SOON, task).await });
    assert!(ended.is_ok(), "it did not end with its connection");
}

async fn talk(data: &[u8]) {
    let mut input = Input::new(data);
    let one_call = input.flag();
    let Ok(endpoint) = Endpoint::parse("http://a:2379", false) else {
        return;
    };
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let socket = tls::plaintext(Box::new(ours));
    let finding = socket.finding();
    let options = ConnectionOptions {
        endpoint,
        ping: Arc::new(Mutex::new(super::ping::PingOptions::default())),
        receive_limit: LIMIT,
        headers: Headers::default(),
    };
    let caller = async move {
        let Ok(connection) = Connection::start(socket, options).await else {
            return;
        };
        if one_call {
            call(&connection).await;
        } else {
            stream(&connection).await;
        }
    };
    tokio::join!(caller, serve(theirs, &mut input));
    let _ = finding.get().map(shown);
}

async fn call(connection: &Connection) {
    let body = Bytes::from_static(&[0, 0, 0, 0, 0]);
    let Ok(mut call) = connection.unary(PATH, Metadata::default(), body).await else {
        return;
    };
    loop {
        match call.step().await {
            Step::Done(Ok(message)) => return assert!(message.len() <= LIMIT),
            Step::Done(Err(error)) => return crate::error::fuzz::check(&error),
            Step::Vanished(_) => return,
            Step::Suspect => {}
        }
    }
}

async fn stream(connection: &Connection) {
    let Ok((_tx, mut rx)) = connection.open(PATH, &Metadata::default()).await else {
        return;
    };
    loop {
        match rx.part().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                crate::error::fuzz::check(&error);
                break;
            }
        }
    }
    // What has ended stays so.
    assert!(!matches!(rx.part().await, Ok(Some(_))));
}

/// Frames on the stream of the call, most of them well-formed.
async fn serve(mut socket: DuplexStream, input: &mut Input<'_>) {
    let mut out = frame(4, 0, 0, &[]);
    while !input.is_empty() && out.len() < 1 << 15 {
        match input.byte() % 8 {
            0 => out.extend(frame(4, input.byte() & 1, 0, &[])),
            1 => out.extend(frame(1, 4 | input.byte() & 1, 1, &headers(input))),
            2 => out.extend(frame(0, input.byte() & 1, 1, &message(input))),
            3 => out.extend(frame(3, 0, 1, &[0, 0, 0, input.byte() % 16])),
            4 => out.extend(frame(
                7,
                0,
                0,
                &[0, 0, 0, input.byte() & 3, 0, 0, 0, input.byte() % 16],
            )),
            5 => out.extend(frame(6, input.byte() & 1, 0, &[input.byte(); 8])),
            6 => out.extend(frame(
                input.byte(),
                input.byte(),
                u32::from(input.byte()),
                input.bytes(40),
            )),
            _ => out.extend_from_slice(input.bytes(40)),
        }
    }
    for piece in out.chunks(1 << 10) {
        if socket.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    // Dropped here: the connection is gone.
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_uint(payload.len() as u64, 3);
    out.extend([kind, flags]);
    out.put_u32(stream);
    out.extend_from_slice(payload);
    out
}

/// A block of headers, each a literal without indexing: what a reply has, and what it has not.
fn headers(input: &mut Input<'_>) -> Vec<u8> {
    const NAMES: [&str; 6] = [
        ":status",
        "content-type",
        "grpc-status",
        "grpc-message",
        "x",
        "te",
    ];
    let mut block = Vec::new();
    for _ in 0..input.below(6) {
        let name = NAMES[input.below(NAMES.len())];
        let value: &[u8] = match input.byte() {
            0..=99 => b"200",
            100..=149 => b"0",
            _ => input.bytes(60),
        };
        block.extend([0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value);
    }
    block
}

/// A gRPC message, or only its beginning.
fn message(input: &mut Input<'_>) -> Vec<u8> {
    let flag = u8::from(input.byte() == 1);
    let body = input.bytes(60);
    let length = match input.byte() {
        0..=199 => body.len() as u32,
        200..=229 => u32::from(input.byte()) << 3,
        _ => u32::MAX,
    };
    let mut out = vec![flag];
    out.put_u32(length);
    out.extend_from_slice(body);
    out
}
