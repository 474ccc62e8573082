//! Choices made by bytes.

use bytes::Bytes;

/// Reads choices off the bytes of one run. When they are used up, every choice is the first one.
pub(crate) struct Input<'a>(&'a [u8]);

/// Numbers at which arithmetic turns.
const EDGES: [i64; 12] = [
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    i64::MIN + 1,
    i32::MAX as i64,
    u32::MAX as i64,
    1 << 32,
    i64::MAX / 1_000,
    9_000_000_000,
    -1,
    1_000,
    1_000_000,
];

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of so many.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Mostly a small one.
    pub(crate) fn number(&mut self) -> i64 {
        match self.byte() {
            byte @ 0..=199 => i64::from(byte) - 4,
            byte @ 200..=239 => EDGES[usize::from(byte - 200) % EDGES.len()],
            _ => {
                let mut raw = [0; 8];
                raw.fill_with(|| self.byte());
                i64::from_le_bytes(raw)
            }
        }
    }

    /// At most so many bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// `bytes` in pieces, as they may come off a socket: none is empty.
    pub(crate) fn pieces(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let most = match self.byte() {
            0 => return vec![Bytes::copy_from_slice(bytes); usize::from(!bytes.is_empty())],
            most => usize::from(most),
        };
        let (mut pieces, mut rest) = (Vec::new(), Bytes::copy_from_slice(bytes));
        let mut random = fastrand::Rng::with_seed(most as u64);
        while !rest.is_empty() {
            pieces.push(rest.split_to(random.usize(1..=most).min(rest.len())));
        }
        pieces
    }
}
