//! Decodes watch responses while they arrive.
//!
//! One response may hold a thousand revisions and tens of megabytes. etcd writes the fields of a message in the order
//! of their numbers, so the watcher is known before the first event, and each event is decoded as its last byte comes
//! in: what is kept is at most one event. Other orders are legal; then the events wait until the watcher is known.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use etcd_proto::etcdserverpb::WatchResponse;
use etcd_proto::mvccpb::Event;
use prost::Message;

pub(super) use crate::fields::Malformed;
use crate::fields::{Field, Fields, Take};

/// The longest header or cancel reason that is kept. Real ones have some hundred bytes.
const MAX_FIELD: usize = 64 * 1024;

const OTHER_TYPE: Malformed = Malformed("a field has another type than expected");

/// What a response is made of, in the order it is handed out: `Start` and its events, if it has events, then `End`.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    /// Events follow, for this watcher, from a member of this cluster (0 if the response does not say).
    Start { watch_id: i64, cluster_id: u64 },
    /// One event and the length of its encoding in bytes.
    Event { event: Event, len: usize },
    /// An event longer than the limit was skipped.
    Oversized,
    /// The response is complete. Its events are not in it: they came before.
    End(WatchResponse),
}

/// About how many bytes an event takes whose encoding has `len`.
pub(super) fn size_in_memory(len: usize) -> usize {
    len + size_of::<Event>()
}

/// The decoder of one stream. Feed it a piece of a message, then pull until it has nothing left.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The longest event, in bytes, and about how much waits for a watch id.
    limit: usize,
    fields: Fields,
    response: WatchResponse,
    has_id: bool,
    /// `Start` was handed out, with this id.
    started: Option<i64>,
    waiting: VecDeque<Item>,
    waiting_bytes: usize,
}

impl Decoder {
    /// An event longer than `limit` bytes is skipped and reported as [`Item::Oversized`].
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            fields: Fields::default(),
            response: WatchResponse::default(),
            has_id: false,
            started: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes the next piece of a message; `first` is the length of the whole message and comes with its first piece.
    /// What came before must have been pulled.
    pub(super) fn feed(&mut self, data: Bytes, first: Option<u32>, last: bool) {
        self.fields.feed(data, first, last);
    }

    /// The next item, `None` when more input is needed. An error is final: the stream cannot be decoded any more.
    pub(super) fn pull(&mut self) -> Result<Option<Item>, Malformed> {
        loop {
            if let Some(item) = self.identified() {
                return Ok(Some(item));
            }
            let limit = self.limit;
            match self.fields.pull(|field, len, _| take(field, len, limit))? {
                None => return Ok(None),
                Some(Field::Number(field, value)) => self.scalar(field, value)?,
                Some(Field::Bytes(field, bytes)) => self.body(field, bytes)?,
                Some(Field::Skipped(field::EVENTS)) => self.waiting.push_back(Item::Oversized),
                Some(Field::Fixed(1..=field::FRAGMENT | field::EVENTS)) => {
                    return Err(OTHER_TYPE);
                }
                Some(Field::Skipped(_) | Field::Fixed(_)) => {}
                Some(Field::End) => return Ok(Some(self.end())),
            }
        }
    }

    /// An event, if the watcher it belongs to is known by now.
    fn identified(&mut self) -> Option<Item> {
        let complete = self.fields.is_complete();
        // An id of 0 is not written at all: with enough waiting, it is taken to be that.
        let known = self.has_id && self.response.header.is_some()
            || complete
            || self.waiting_bytes > self.limit;
        if self.waiting.is_empty() || !(known || self.started.is_some()) {
            return None;
        }
        if self.started.is_none() {
            let watch_id = self.response.watch_id;
            self.started = Some(watch_id);
            let cluster_id = self
                .response
                .header
                .as_ref()
                .map_or(0, |header| header.cluster_id);
            return Some(Item::Start {
                watch_id,
                cluster_id,
            });
        }
        let item = self.waiting.pop_front();
        if let Some(Item::Event { len, .. }) = item {
            self.waiting_bytes -= size_in_memory(len);
        }
        item
    }

    fn end(&mut self) -> Item {
        (self.has_id, self.started) = (false, None);
        Item::End(mem::take(&mut self.response))
    }

    fn scalar(&mut self, field: u32, value: u64) -> Result<(), Malformed> {
        let response = &mut self.response;
        match field {
            field::WATCH_ID => {
                // Two's complement: a negative id is written as a large number.
                response.watch_id = value.cast_signed();
                self.has_id = true;
                if self
                    .started
                    .is_some_and(|started| started != response.watch_id)
                {
                    return Err(Malformed(
                        "a watch response names its watcher after some of its events",
                    ));
                }
            }
            field::CREATED => response.created = value != 0,
            field::CANCELED => response.canceled = value != 0,
            field::COMPACT_REVISION => response.compact_revision = value.cast_signed(),
            field::FRAGMENT => response.fragment = value != 0,
            field::HEADER | field::CANCEL_REASON | field::EVENTS => return Err(OTHER_TYPE),
            _ => {}
        }
        Ok(())
    }

    fn body(&mut self, field: u32, bytes: Bytes) -> Result<(), Malformed> {
        match field {
            field::HEADER => {
                // Given twice, the two are one: so is every field that is a message.
                let header = self.response.header.get_or_insert_default();
                header
                    .merge(bytes)
                    .map_err(|_| Malformed("a header cannot be decoded"))?;
            }
            field::CANCEL_REASON => {
                self.response.cancel_reason = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ => {
                let len = bytes.len();
                let event =
                    Event::decode(bytes).map_err(|_| Malformed("an event cannot be decoded"))?;
                if event.kv.is_none() {
                    return Err(Malformed("an event has no key"));
                }
                self.waiting_bytes += size_in_memory(len);
                self.waiting.push_back(Item::Event { event, len });
            }
        }
        Ok(())
    }
}

/// What becomes of a field; events longer than `limit` are not kept.
fn take(field: u32, len: usize, limit: usize) -> Result<Take, Malformed> {
    match field {
        field::HEADER | field::CANCEL_REASON if len > MAX_FIELD => {
            Err(Malformed("a header is too long"))
        }
        field::EVENTS if len > limit => Ok(Take::Skip),
        field::HEADER | field::CANCEL_REASON | field::EVENTS => Ok(Take::Whole),
        field::WATCH_ID..=field::FRAGMENT => Err(OTHER_TYPE),
        _ => Ok(Take::Skip),
    }
}

/// The fields of a watch response.
mod field {
    pub(super) const HEADER: u32 = 1;
    pub(super) const WATCH_ID: u32 = 2;
    pub(super) const CREATED: u32 = 3;
    pub(super) const CANCELED: u32 = 4;
    pub(super) const COMPACT_REVISION: u32 = 5;
    pub(super) const CANCEL_REASON: u32 = 6;
    pub(super) const FRAGMENT: u32 = 7;
    pub(super) const EVENTS: u32 = 11;
}

#[cfg(test)]
mod tests;
