//! Follows HTTP/2 frame boundaries in a byte stream, reading only the nine-byte frame headers.

/// Length of an HTTP/2 frame header (RFC 9113 §4.1).
const HEADER: usize = 9;
/// Length of the client connection preface (RFC 9113 §3.4), which precedes the first frame we send.
pub(crate) const CLIENT_PREFACE: u64 = 24;

/// Frame types this client cares about (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;

/// One frame header seen in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSeen {
    /// Offset in the whole stream of the frame's first byte.
    pub(crate) start: u64,
    pub(crate) kind: u8,
    pub(crate) stream: u32,
}

/// The position in the stream: inside a payload, or collecting a frame header.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Offset in the whole stream of the next byte to be fed.
    position: u64,
    /// Bytes left to skip before the next frame header starts.
    skip: u64,
    header: [u8; HEADER],
    have: usize,
}

impl Frames {
    /// A stream whose first frame starts after `preface` bytes.
    pub(crate) fn new(preface: u64) -> Self {
        Self {
            position: 0,
            skip: preface,
            header: [0; HEADER],
            have: 0,
        }
    }

    /// Takes the next bytes of the stream and calls `seen` for every frame header that they complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(FrameSeen)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = usize::try_from(self.skip)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                bytes = &bytes[step..];
                self.skip -= step as u64;
                self.position += step as u64;
                continue;
            }
            let step = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            self.have += step;
            self.position += step as u64;
            if self.have == HEADER {
                self.have = 0;
                let h = &self.header;
                self.skip = u64::from(u32::from_be_bytes([0, h[0], h[1], h[2]]));
                seen(FrameSeen {
                    start: self.position - HEADER as u64,
                    kind: h[3],
                    stream: u32::from_be_bytes([h[5], h[6], h[7], h[8]]) & 0x7fff_ffff,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut out = (payload as u32).to_be_bytes()[1..].to_vec();
        out.extend([kind, 0]);
        out.extend(stream.to_be_bytes());
        out.extend(vec![0xee; payload]);
        out
    }

    #[test]
    fn boundaries_are_found_whatever_the_pieces() {
        let mut stream = vec![b'P'; CLIENT_PREFACE as usize];
        let mut expected = Vec::new();
        for (kind, id, payload) in [
            (4, 0, 18),
            (HEADERS, 1, 40),
            (DATA, 1, 0),
            (DATA, 1, 300),
            (HEADERS, 3, 7),
        ] {
            expected.push(FrameSeen {
                start: stream.len() as u64,
                kind,
                stream: id,
            });
            stream.extend(frame(kind, id, payload));
        }
        for piece in [1, 2, 7, 8, 9, 10, 64, stream.len()] {
            let mut frames = Frames::new(CLIENT_PREFACE);
            let mut seen = Vec::new();
            for chunk in stream.chunks(piece) {
                frames.feed(chunk, |f| seen.push(f));
            }
            assert_eq!(seen, expected, "pieces of {piece}");
        }
    }
}
