//! Fuzz target over the checksum of a snapshot.

use sha2::{Digest, Sha256};

use super::{CHECKSUM, Checksum};
use crate::fuzz::Input;

/// However the bytes are cut, the checksum holds exactly if the last of them are the SHA-256 of those before.
pub(crate) fn snapshot(data: &[u8]) {
    let mut input = Input::new(data);
    let whole = input.flag();
    let way = input.byte();
    let mut bytes = input.rest().to_vec();
    if whole {
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
    }
    let mut checksum = Checksum::default();
    for piece in Input::new(&[way]).pieces(&bytes) {
        checksum.add(&piece);
        assert!(checksum.last.len() <= CHECKSUM);
    }
    assert_eq!(checksum.bytes, bytes.len() as u64);
    let expected = bytes
        .split_last_chunk::<CHECKSUM>()
        .is_some_and(|(database, hash)| Sha256::digest(database)[..] == hash[..]);
    assert_eq!(checksum.holds(), expected);
}
