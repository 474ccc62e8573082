//! Decodes watch responses while they arrive.
//!
//! One response may hold a thousand revisions and tens of megabytes. etcd writes the fields of a message in the order
//! of their numbers, so the watcher is known before the first event, and each event is decoded as its last byte comes
//! in: what is kept is at most one event. Other orders are legal; then the events wait until the watcher is known.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};
use etcd_proto::etcdserverpb::WatchResponse;
use etcd_proto::mvccpb::Event;
use prost::Message;

/// The longest header or cancel reason that is kept. Real ones have some hundred bytes.
const MAX_FIELD: usize = 64 * 1024;

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

/// Why the bytes are not a watch response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// About how many bytes an event takes whose encoding has `len`.
pub(super) fn size_in_memory(len: usize) -> usize {
    len + size_of::<Event>()
}

/// The decoder of one stream. Feed it a piece of a message, then pull until it has nothing left.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The longest event, in bytes, and about how much waits for a watch id.
    limit: usize,
    input: Bytes,
    /// Bytes of the current message that were not consumed yet.
    left: usize,
    /// The message ends with `input`.
    last: bool,
    step: Step,
    response: WatchResponse,
    has_id: bool,
    /// `Start` was handed out, with this id.
    started: Option<i64>,
    waiting: VecDeque<Item>,
    waiting_bytes: usize,
}

/// Where in a field the input stopped.
#[derive(Debug)]
enum Step {
    /// In the varint that names the field.
    Key(Varint),
    /// In the value of a field of type varint.
    Value(u32, Varint),
    /// In the length of a field.
    Length(u32, Varint),
    /// In the bytes of a field that is kept: `need` are missing.
    Body {
        field: u32,
        have: BytesMut,
        need: usize,
    },
    /// In bytes that are not kept.
    Skip(usize),
}

#[derive(Debug, Default)]
struct Varint {
    value: u64,
    shift: u32,
}

impl Decoder {
    /// An event longer than `limit` bytes is skipped and reported as [`Item::Oversized`].
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            input: Bytes::new(),
            left: 0,
            last: false,
            step: Step::start(),
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
        if let Some(length) = first {
            self.left = length as usize;
        }
        self.input = data;
        self.last = last;
    }

    /// The next item, `None` when more input is needed. An error is final: the stream cannot be decoded any more.
    pub(super) fn pull(&mut self) -> Result<Option<Item>, Malformed> {
        loop {
            if let Some(item) = self.identified() {
                return Ok(Some(item));
            }
            if self.input.is_empty() {
                return if mem::take(&mut self.last) {
                    self.end().map(Some)
                } else {
                    Ok(None)
                };
            }
            self.advance()?;
        }
    }

    /// An event, if the watcher it belongs to is known by now.
    fn identified(&mut self) -> Option<Item> {
        let complete = self.last && self.input.is_empty();
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

    fn end(&mut self) -> Result<Item, Malformed> {
        if self.left != 0 || !self.step.is_start() {
            return Err(Malformed("a watch response ends within a field"));
        }
        (self.has_id, self.started) = (false, None);
        Ok(Item::End(mem::take(&mut self.response)))
    }

    /// Consumes at least one byte of the input, which is not empty.
    fn advance(&mut self) -> Result<(), Malformed> {
        let before = self.input.len();
        let done = match &mut self.step {
            Step::Key(varint) => varint.read(&mut self.input)?.map(begin_field).transpose()?,
            Step::Value(field, varint) => match varint.read(&mut self.input)? {
                Some(value) => {
                    let field = *field;
                    self.scalar(field, value)?;
                    Some(Step::start())
                }
                None => None,
            },
            Step::Length(field, varint) => match varint.read(&mut self.input)? {
                Some(length) => {
                    let field = *field;
                    let left = self.left.saturating_sub(before - self.input.len());
                    Some(self.begin_body(field, length, left)?)
                }
                None => None,
            },
            Step::Skip(count) => {
                let skipped = (*count).min(self.input.len());
                let _ = self.input.split_to(skipped);
                *count -= skipped;
                (*count == 0).then(Step::start)
            }
            Step::Body { field, have, need } => {
                let piece = self.input.split_to((*need).min(self.input.len()));
                *need -= piece.len();
                if *need == 0 {
                    let field = *field;
                    let whole = join(mem::take(have), piece);
                    self.body(field, whole)?;
                    Some(Step::start())
                } else {
                    have.extend_from_slice(&piece);
                    None
                }
            }
        };
        self.left = self
            .left
            .checked_sub(before - self.input.len())
            .ok_or(Malformed("a watch response is too long"))?;
        if let Some(step) = done {
            self.step = step;
        }
        Ok(())
    }

    /// `left`: how many bytes of the message come after this length.
    fn begin_body(&mut self, field: u32, length: u64, left: usize) -> Result<Step, Malformed> {
        let need = usize::try_from(length).ok().filter(|need| *need <= left);
        let need = need.ok_or(Malformed("a field is longer than its watch response"))?;
        match field {
            field::HEADER | field::CANCEL_REASON if need > MAX_FIELD => {
                Err(Malformed("a header is too long"))
            }
            field::EVENTS if need > self.limit => {
                self.waiting.push_back(Item::Oversized);
                Ok(Step::Skip(need))
            }
            field::HEADER | field::CANCEL_REASON | field::EVENTS if need == 0 => {
                self.body(field, Bytes::new())?;
                Ok(Step::start())
            }
            field::HEADER | field::CANCEL_REASON | field::EVENTS => Ok(Step::Body {
                field,
                have: BytesMut::new(),
                need,
            }),
            _ if need == 0 => Ok(Step::start()),
            _ => Ok(Step::Skip(need)),
        }
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

impl Step {
    fn start() -> Self {
        Step::Key(Varint::default())
    }

    fn is_start(&self) -> bool {
        matches!(self, Step::Key(Varint { shift: 0, .. }))
    }
}

impl Varint {
    /// The number, once its last byte is there.
    fn read(&mut self, input: &mut Bytes) -> Result<Option<u64>, Malformed> {
        for (i, byte) in input.iter().enumerate() {
            if self.shift > 63 || self.shift == 63 && *byte > 1 {
                return Err(Malformed("a number is too long"));
            }
            self.value |= u64::from(byte & 0x7f) << self.shift;
            self.shift += 7;
            if byte & 0x80 == 0 {
                let _ = input.split_to(i + 1);
                return Ok(Some(self.value));
            }
        }
        input.clear();
        Ok(None)
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

    /// Whether the field is one of those above whose value is a varint (`true`) or bytes (`false`).
    pub(super) fn is_varint(field: u32) -> Option<bool> {
        match field {
            WATCH_ID | CREATED | CANCELED | COMPACT_REVISION | FRAGMENT => Some(true),
            HEADER | CANCEL_REASON | EVENTS => Some(false),
            _ => None,
        }
    }
}

/// What follows the varint that holds a field's number and wire type.
fn begin_field(key: u64) -> Result<Step, Malformed> {
    let field = u32::try_from(key >> 3)
        .ok()
        .filter(|field| (1..1 << 29).contains(field));
    let field = field.ok_or(Malformed("a field has no legal number"))?;
    let wire_type = key & 7;
    if field::is_varint(field).is_some_and(|varint| wire_type != if varint { 0 } else { 2 }) {
        return Err(Malformed("a field has another type than expected"));
    }
    match wire_type {
        0 => Ok(Step::Value(field, Varint::default())),
        1 => Ok(Step::Skip(8)),
        2 => Ok(Step::Length(field, Varint::default())),
        5 => Ok(Step::Skip(4)),
        _ => Err(Malformed("a field has a type that is not used any more")),
    }
}

/// Joins the pieces of a field; a field that came in one piece is not copied.
fn join(mut have: BytesMut, piece: Bytes) -> Bytes {
    if have.is_empty() {
        return piece;
    }
    have.extend_from_slice(&piece);
    have.freeze()
}

#[cfg(test)]
mod tests;
