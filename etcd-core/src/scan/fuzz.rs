//! Fuzz target over the replies of large reads, decoded while they arrive.

use std::collections::VecDeque;

use bytes::Bytes;
use etcd_proto::etcdserverpb::{RangeResponse, RangeStreamResponse};
use etcd_proto::mvccpb::KeyValue;
use prost::Message;

use super::decode::{Decoder, Stop};
use crate::fuzz::Input;

/// The longest key with its value, in bytes.
const LIMIT: usize = 200;

/// However a reply is cut, it is read in the same way; and in the same way as by the ordinary decoder, if that can read it.
pub(crate) fn scan(data: &[u8]) {
    let mut input = Input::new(data);
    let (wrapped, way) = (input.flag(), input.byte());
    let bytes = input.rest();
    let at_once = read(wrapped, bytes, vec![Bytes::copy_from_slice(bytes)]);
    let in_pieces = read(wrapped, bytes, Input::new(&[way]).pieces(bytes));
    match (&at_once, &in_pieces) {
        (Ok(at_once), Ok(in_pieces)) => assert_eq!(at_once, in_pieces),
        _ => assert_eq!(
            at_once.is_ok(),
            in_pieces.is_ok(),
            "{at_once:?} {in_pieces:?}"
        ),
    }
    let expected = if wrapped {
        RangeStreamResponse::decode(bytes).map(|reply| reply.range_response.unwrap_or_default())
    } else {
        RangeResponse::decode(bytes)
    };
    let (Ok((kvs, rest)), Ok(mut expected)) = (at_once, expected) else {
        return;
    };
    assert_eq!(kvs, std::mem::take(&mut expected.kvs));
    // In a stream, all but the last message say nothing else than keys.
    assert!(rest == Some(expected) || wrapped && rest.is_none());
}

type Read = (VecDeque<KeyValue>, Option<RangeResponse>);

fn read(wrapped: bool, message: &[u8], mut pieces: Vec<Bytes>) -> Result<Read, Stop> {
    if message.is_empty() {
        pieces = vec![Bytes::new()];
    }
    let (mut decoder, mut kvs) = (Decoder::new(wrapped, LIMIT), VecDeque::new());
    let (mut first, mut left) = (u32::try_from(message.len()).ok(), message.len());
    for piece in pieces {
        left -= piece.len();
        decoder.decode(piece, first.take(), left == 0, &mut kvs)?;
    }
    Ok((kvs, decoder.rest().cloned()))
}
