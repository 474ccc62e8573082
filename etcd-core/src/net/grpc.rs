//! gRPC over HTTP/2: message framing and statuses.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;

use crate::error::Code;

/// Length of the prefix before each message: a compression flag and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// A piece of one gRPC message. The pieces of a message come in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) data: Bytes,
    /// On the first piece: the message's length in bytes.
    pub(crate) first: Option<u32>,
    /// This piece ends the message.
    pub(crate) last: bool,
}

/// Encodes a message with its prefix.
pub(crate) fn frame<M: Message>(message: &M) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX + len);
    out.put_u8(0);
    // Request sizes are checked long before; a message over 4 GiB cannot be framed at all.
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut out);
    out.freeze()
}

/// What breaks gRPC's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a compressed message, which was not asked for")]
    Compressed,
    #[error("the stream ended inside a message")]
    Truncated,
}

/// Cuts the DATA of one stream into message pieces.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the current message still to come; None between messages.
    left: Option<usize>,
    announced: Option<u32>,
}

impl Deframer {
    /// The next piece in `chunk`, which is advanced; `None` when the chunk is used up.
    pub(crate) fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Part>, Malformed> {
        if self.left.is_none() && !self.read_prefix(chunk)? {
            return Ok(None);
        }
        let left = self.left.unwrap_or(0);
        if left > 0 && chunk.is_empty() {
            return Ok(None);
        }
        let data = chunk.split_to(left.min(chunk.len()));
        let last = data.len() == left;
        self.left = if last { None } else { Some(left - data.len()) };
        Ok(Some(Part {
            data,
            first: self.announced.take(),
            last,
        }))
    }

    /// Nothing more will come: was that a good place to stop?
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.have == 0 && self.left.is_none() {
            Ok(())
        } else {
            Err(Malformed::Truncated)
        }
    }

    fn read_prefix(&mut self, chunk: &mut Bytes) -> Result<bool, Malformed> {
        let step = (PREFIX - self.have).min(chunk.len());
        chunk.copy_to_slice(&mut self.prefix[self.have..self.have + step]);
        self.have += step;
        if self.have < PREFIX {
            return Ok(false);
        }
        self.have = 0;
        let [flag, a, b, c, d] = self.prefix;
        if flag != 0 {
            return Err(Malformed::Compressed);
        }
        let len = u32::from_be_bytes([a, b, c, d]);
        self.left = Some(len as usize);
        self.announced = Some(len);
        Ok(true)
    }
}

/// Puts the pieces of one message together, without a copy when it came in one piece.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    message: BytesMut,
    single: Option<Bytes>,
    pub(crate) complete: bool,
}

impl Whole {
    /// Adds a piece; false if the message is over `limit` bytes.
    pub(crate) fn add(&mut self, part: Part, limit: usize) -> bool {
        if part.first.is_some_and(|len| len as usize > limit) {
            return false;
        }
        self.complete = part.last;
        if part.first.is_some() && part.last {
            self.single = Some(part.data);
        } else {
            // Grown by what came, not by what was announced: a length is only a claim.
            self.message.extend_from_slice(&part.data);
        }
        true
    }

    pub(crate) fn take(&mut self) -> Bytes {
        self.complete = false;
        self.single
            .take()
            .unwrap_or_else(|| self.message.split().freeze())
    }
}

/// The status in `headers` (trailers, or the only headers of a reply without a message); `None` if there is none.
pub(crate) fn status(headers: &HeaderMap) -> Option<(Code, String)> {
    let code = headers
        .get("grpc-status")?
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    let code = code.map_or(Code::Unknown, Code::from_number);
    let message = headers.get("grpc-message").map(|value| {
        percent_encoding::percent_decode(value.as_bytes())
            .decode_utf8_lossy()
            .into_owned()
    });
    Some((code, message.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            out.push(0);
            out.extend((message.len() as u32).to_be_bytes());
            out.extend_from_slice(message);
        }
        out
    }

    #[test]
    fn messages_survive_any_cut() {
        let messages: [&[u8]; 4] = [b"first", b"", b"a longer third message", b"x"];
        let stream = framed(&messages);
        for piece in 1..=stream.len() {
            let (mut deframer, mut whole, mut got) =
                (Deframer::default(), Whole::default(), Vec::new());
            for chunk in stream.chunks(piece) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while let Some(part) = deframer.next(&mut chunk).unwrap() {
                    assert!(whole.add(part, 100));
                    if whole.complete {
                        got.push(whole.take());
                    }
                }
            }
            deframer.end().unwrap();
            assert_eq!(got, messages, "pieces of {piece}");
        }
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_its_bytes_come() {
        let mut chunk = Bytes::copy_from_slice(&framed(&[&[7; 50]])[..10]);
        let part = Deframer::default().next(&mut chunk).unwrap().unwrap();
        assert_eq!(part.first, Some(50));
        assert!(!Whole::default().add(part, 49));
    }

    #[test]
    fn compressed_and_truncated_streams_are_errors() {
        let mut deframer = Deframer::default();
        assert_eq!(
            deframer.next(&mut Bytes::from_static(&[1, 0, 0, 0, 1, 9])),
            Err(Malformed::Compressed)
        );
        let mut deframer = Deframer::default();
        deframer
            .next(&mut Bytes::from_static(&[0, 0, 0, 0, 2, 9]))
            .unwrap();
        assert_eq!(deframer.end(), Err(Malformed::Truncated));
    }

    #[test]
    fn statuses_are_decoded_and_garbage_is_unknown() {
        let mut headers = HeaderMap::new();
        assert!(status(&headers).is_none());
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert(
            "grpc-message",
            HeaderValue::from_static("etcdserver: no leader%0Aab"),
        );
        assert_eq!(
            status(&headers),
            Some((Code::Unavailable, "etcdserver: no leader\nab".to_owned()))
        );
        headers.insert("grpc-status", HeaderValue::from_static("no number"));
        assert_eq!(status(&headers).unwrap().0, Code::Unknown);
    }
}
