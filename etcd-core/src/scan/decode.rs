//! Decodes the replies of Range and RangeStream while they arrive: what is kept is at most one key with its value.

use std::collections::VecDeque;

use bytes::Bytes;
use etcd_proto::etcdserverpb::RangeResponse;
use etcd_proto::mvccpb::KeyValue;
use prost::Message;

use crate::fields::{Field, Fields, Malformed, Take};

/// The longest header that is kept. Real ones have some tens of bytes.
const MAX_HEADER: usize = 64 << 10;

/// Keys whose encoding is shorter are copied out of the read buffer, a hundred of which would otherwise stay in memory for
/// a hundred keys of which the caller keeps one in each.
const DETACHED: usize = 4 << 10;

/// The decoder of one reply, or of one stream of them.
#[derive(Debug)]
pub(super) struct Decoder {
    fields: Fields,
    /// Each message is a `RangeStreamResponse`, with the `RangeResponse` inside.
    wrapped: bool,
    /// The longest key with its value, in bytes.
    limit: usize,
    /// What else than keys came so far.
    rest: RangeResponse,
    complete: bool,
}

/// Why no more can be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Malformed(Malformed),
    /// A key with its value is over the limit.
    Oversized,
}

impl Decoder {
    pub(super) fn new(wrapped: bool, limit: usize) -> Self {
        Self {
            fields: Fields::default(),
            wrapped,
            limit,
            rest: RangeResponse::default(),
            complete: false,
        }
    }

    /// Decodes the next piece of a message and appends the keys that it completes.
    pub(super) fn decode(
        &mut self,
        piece: Bytes,
        first: Option<u32>,
        last: bool,
        kvs: &mut VecDeque<KeyValue>,
    ) -> Result<(), Stop> {
        self.fields.feed(piece, first, last);
        loop {
            let (wrapped, limit) = (self.wrapped, self.limit);
            let take = |field, len, inside: bool| match field {
                field::RANGE_RESPONSE if wrapped && !inside => Ok(Take::Enter),
                _ if wrapped && !inside => Ok(Take::Skip),
                field::HEADER if len > MAX_HEADER => Err(Malformed("a header is too long")),
                field::KVS if len > limit => Ok(Take::Skip),
                field::HEADER | field::KVS => Ok(Take::Whole),
                _ => Ok(Take::Skip),
            };
            let field = self.fields.pull(take).map_err(Stop::Malformed)?;
            let of_reply = !wrapped || self.fields.is_inside();
            match field {
                None => return Ok(()),
                Some(Field::End) => self.complete = !wrapped || self.rest.header.is_some(),
                Some(_) if !of_reply => {}
                Some(Field::Skipped(field::KVS)) => return Err(Stop::Oversized),
                Some(Field::Bytes(field, bytes)) => self.bytes(field, bytes, kvs)?,
                Some(Field::Number(field::MORE, value)) => self.rest.more = value != 0,
                Some(Field::Number(field::COUNT, value)) => self.rest.count = value.cast_signed(),
                Some(Field::Number(..) | Field::Skipped(_) | Field::Fixed(_)) => {}
            }
        }
    }

    /// Header, `more` and `count`, when all has come. In a stream they are in its last message.
    pub(super) fn rest(&self) -> Option<&RangeResponse> {
        self.complete.then_some(&self.rest)
    }

    fn bytes(
        &mut self,
        field: u32,
        bytes: Bytes,
        kvs: &mut VecDeque<KeyValue>,
    ) -> Result<(), Stop> {
        let wrong = |what| move |_| Stop::Malformed(Malformed(what));
        if field == field::HEADER {
            // Given twice, the two are one: so is every field that is a message.
            let header = self.rest.header.get_or_insert_default();
            return header
                .merge(bytes)
                .map_err(wrong("a header cannot be decoded"));
        }
        let bytes = if bytes.len() < DETACHED {
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        };
        let kv = KeyValue::decode(bytes).map_err(wrong("a key cannot be decoded"))?;
        if kv.key.is_empty() {
            return Err(Stop::Malformed(Malformed("a key is empty")));
        }
        kvs.push_back(kv);
        Ok(())
    }
}

/// The fields of the two messages.
mod field {
    pub(super) const RANGE_RESPONSE: u32 = 1;
    pub(super) const HEADER: u32 = 1;
    pub(super) const KVS: u32 = 2;
    pub(super) const MORE: u32 = 3;
    pub(super) const COUNT: u32 = 4;
}

#[cfg(test)]
mod tests;
