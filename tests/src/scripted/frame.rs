//! HTTP/2 frames (RFC 9113 §4, §6), as raw as the scripts need them.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload a peer takes unless it says otherwise.
pub(super) const MAX_PAYLOAD: usize = 16_384;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Bytes,
}

impl Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Frame {
        Frame {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub(super) fn settings(values: &[(u16, u32)]) -> Frame {
        let mut payload = BytesMut::new();
        for (id, value) in values {
            payload.put_u16(*id);
            payload.put_u32(*value);
        }
        Frame::new(SETTINGS, 0, 0, payload)
    }

    pub(super) fn window_update(stream: u32, more: u32) -> Frame {
        Frame::new(WINDOW_UPDATE, 0, stream, more.to_be_bytes().to_vec())
    }

    pub(super) fn rst_stream(stream: u32, code: u32) -> Frame {
        Frame::new(RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
    }

    pub(super) fn goaway(last: u32, code: u32, debug: &str) -> Frame {
        let payload = [&last.to_be_bytes(), &code.to_be_bytes(), debug.as_bytes()].concat();
        Frame::new(GOAWAY, 0, 0, payload)
    }

    /// A header block, in as many frames as it takes.
    pub(super) fn headers(stream: u32, fields: &[(&str, String)], end: bool) -> Vec<Frame> {
        let block = encode_fields(fields);
        let mut chunks = block.chunks(MAX_PAYLOAD).peekable();
        let mut frames = Vec::new();
        while let Some(chunk) = chunks.next() {
            let (kind, end) = if frames.is_empty() {
                (HEADERS, end)
            } else {
                (CONTINUATION, false)
            };
            let flags = if end { END_STREAM } else { 0 }
                | if chunks.peek().is_none() {
                    END_HEADERS
                } else {
                    0
                };
            frames.push(Frame::new(
                kind,
                flags,
                stream,
                Bytes::copy_from_slice(chunk),
            ));
        }
        frames
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(9 + self.payload.len());
        frame.put_uint(self.payload.len() as u64, 3);
        frame.put_u8(self.kind);
        frame.put_u8(self.flags);
        frame.put_u32(self.stream);
        frame.put_slice(&self.payload);
        frame.freeze()
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without padding and priority; `None` when it is malformed.
    pub(super) fn content(&self) -> Option<Bytes> {
        let mut content = self.payload.clone();
        if self.has(PADDED) {
            let padding = usize::from(*content.first()?);
            content.truncate(content.len().checked_sub(padding)?);
            content = content.get(1..).map(|rest| content.slice_ref(rest))?;
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..).map(|rest| content.slice_ref(rest))?;
        }
        Some(content)
    }

    /// The number at byte `at` of the payload; 0 where it is too short.
    pub(super) fn number(&self, at: usize) -> u32 {
        let bytes = self
            .payload
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }
}

/// The next frame.
pub(super) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
    reader.read_exact(&mut payload).await?;
    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & (u32::MAX >> 1);
    Ok(Frame::new(kind, flags, stream, payload))
}

/// HPACK without table and without Huffman: every field a literal that is not indexed.
fn encode_fields(fields: &[(&str, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [*name, value] {
            encode_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn encode_length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        return block.push(length as u8);
    };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_any_length_decode_to_what_was_encoded() {
        for length in [0, 1, 126, 127, 128, 254, 255, 300, 16_500, 100_000] {
            let value = "v".repeat(length);
            let frames = Frame::headers(1, &[("a", value.clone())], true);
            assert!(
                frames
                    .iter()
                    .all(|frame| frame.payload.len() <= MAX_PAYLOAD)
            );
            assert!(frames[0].has(END_STREAM) && frames.last().unwrap().has(END_HEADERS));
            let block: Vec<u8> = frames
                .iter()
                .flat_map(|frame| frame.payload.to_vec())
                .collect();
            let fields = loona_hpack::Decoder::new().decode(&block).unwrap();
            assert_eq!(fields, [(b"a".to_vec(), value.into_bytes())]);
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let padded = Frame::new(DATA, PADDED, 1, &b"\x02data\0\0"[..]);
        assert_eq!(padded.content().unwrap(), "data");
        let both = Frame::new(HEADERS, PADDED | PRIORITY, 1, &b"\x01.....block\0"[..]);
        assert_eq!(both.content().unwrap(), "block");
        assert_eq!(
            Frame::new(DATA, PADDED, 1, &b"\x09data"[..]).content(),
            None
        );
    }
}
