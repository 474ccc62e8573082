//! What a script has the server do.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::frame::Frame;
use crate::proxy::Close;

/// What to do about a request: a sequence of steps, made of ready replies and single frames with [`then`](Self::then).
///
/// ```
/// use etcd_tests::scripted::Reply;
/// // Says goodbye, answers all the same, and leaves.
/// let reply = Reply::goaway(1, 0u32, "").then(Reply::status(14, "etcdserver: no leader")).then(Reply::close());
/// // Half a reply, then nothing.
/// let half = Reply::headers().then(Reply::data(&b"\0\0\0\0\x09half"[..]));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Frames for the stream of the request, whose id is filled in.
    Frames(Vec<Frame>),
    /// A frame as it is.
    Raw(Frame),
    /// Bytes to be sent as DATA, as the peer's windows allow.
    Data(Bytes),
    Wait(Duration),
    Close(Close),
}

/// Whole replies.
impl Reply {
    /// A good answer: headers, `message`, status 0.
    pub fn message(message: &impl Message) -> Reply {
        Reply::headers()
            .then(Reply::part(message))
            .then(Reply::trailers(0, ""))
    }

    /// An answer of status and message alone, in one HEADERS frame ("trailers only"), as etcd refuses requests.
    pub fn status(code: u32, message: &str) -> Reply {
        let fields = [ok_headers().to_vec(), status_fields(code, message)].concat();
        Reply::frames(Frame::headers(0, &fields, true))
    }

    /// An HTTP answer without anything of gRPC, as from a proxy that has no server.
    pub fn http_status(status: u16) -> Reply {
        Reply::frames(Frame::headers(0, &[(":status", status.to_string())], true))
    }

    /// No answer at all.
    pub fn silence() -> Reply {
        Reply::default()
    }

    /// RST_STREAM with `code` in place of an answer.
    pub fn rst(code: impl Into<u32>) -> Reply {
        Reply::frames(vec![Frame::rst_stream(0, code.into())])
    }

    /// Response headers, then RST_STREAM with `code`.
    pub fn rst_after_headers(code: impl Into<u32>) -> Reply {
        Reply::headers().then(Reply::rst(code))
    }

    /// A message whose bytes are no protobuf, with status 0.
    pub fn garbage() -> Reply {
        Reply::headers()
            .then(Reply::data(&b"\0\0\0\0\x04\xff\xff\xff\xff"[..]))
            .then(Reply::trailers(0, ""))
    }

    /// A message that says it has `length` bytes, of which only a few come.
    pub fn oversized(length: u32) -> Reply {
        Reply::headers().then(Reply::data(
            [&[0], &length.to_be_bytes()[..], b"few"].concat(),
        ))
    }

    /// A good answer but for the flag that says its message is compressed, which nobody asked for.
    pub fn compressed(message: &impl Message) -> Reply {
        Reply::headers()
            .then(Reply::data(prefixed(1, message)))
            .then(Reply::trailers(0, ""))
    }

    /// GOAWAY: streams above `last` were not processed.  The connection stays open.
    pub fn goaway(last: u32, code: impl Into<u32>, debug: &str) -> Reply {
        Step::Raw(Frame::goaway(last, code.into(), debug)).into()
    }

    /// Ends the connection with a FIN.
    pub fn close() -> Reply {
        Step::Close(Close::Fin).into()
    }

    /// Ends the connection with a TCP RST.
    pub fn abort() -> Reply {
        Step::Close(Close::Reset).into()
    }
}

/// Pieces of replies.
impl Reply {
    /// This, and then `next`.
    pub fn then(mut self, next: Reply) -> Reply {
        self.steps.extend(next.steps);
        self
    }

    /// `reply`, but only after a while.  Other streams are not held up.
    pub fn delay(delay: Duration, reply: Reply) -> Reply {
        Reply::from(Step::Wait(delay)).then(reply)
    }

    /// Response headers of a gRPC answer.
    pub fn headers() -> Reply {
        Reply::frames(Frame::headers(0, &ok_headers(), false))
    }

    /// One message, in DATA.
    pub fn part(message: &impl Message) -> Reply {
        Reply::data(prefixed(0, message))
    }

    /// DATA with any bytes, within the client's flow-control windows.
    pub fn data(bytes: impl Into<Bytes>) -> Reply {
        Step::Data(bytes.into()).into()
    }

    /// Trailers with a gRPC status, which end the stream.
    pub fn trailers(code: u32, message: &str) -> Reply {
        Reply::frames(Frame::headers(0, &status_fields(code, message), true))
    }

    /// Ends the stream with an empty DATA frame: no trailers, no status.
    pub fn end() -> Reply {
        Reply::frames(vec![Frame::new(
            super::frame::DATA,
            super::frame::END_STREAM,
            0,
            Bytes::new(),
        )])
    }

    /// Any frame on any stream, with no regard for the protocol.
    pub fn raw(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Reply {
        Step::Raw(Frame::new(kind, flags, stream, payload)).into()
    }

    fn frames(frames: Vec<Frame>) -> Reply {
        Step::Frames(frames).into()
    }
}

impl From<Step> for Reply {
    fn from(step: Step) -> Reply {
        Reply { steps: vec![step] }
    }
}

fn ok_headers() -> [(&'static str, String); 2] {
    [
        (":status", "200".into()),
        ("content-type", "application/grpc".into()),
    ]
}

fn status_fields(code: u32, message: &str) -> Vec<(&'static str, String)> {
    let mut fields = vec![("grpc-status", code.to_string())];
    if !message.is_empty() {
        fields.push(("grpc-message", percent_encoded(message)));
    }
    fields
}

/// As gRPC wants it in `grpc-message`.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A message with gRPC's prefix: compression flag and length.
pub(super) fn prefixed(flag: u8, message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(flag);
    bytes.put_u32(length as u32);
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}
