//! The fields of protobuf messages while their bytes arrive.
//!
//! A reply may be larger than what should be in memory at once. Its fields are handed out one by one, each as its last byte
//! comes in, so that only one of them is kept; which ones are kept, the reader says when it knows how long they are.

use std::mem;

use bytes::{Bytes, BytesMut};

/// What a message is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The value of a field of type varint.
    Number(u32, u64),
    /// The whole value of a field that is kept.
    Bytes(u32, Bytes),
    /// A field of bytes that is not kept.
    Skipped(u32),
    /// A field of four or eight bytes, which etcd's messages do not have.
    Fixed(u32),
    /// The message is complete.
    End,
}

/// What becomes of a field whose length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Whole,
    Skip,
    /// Its value is a message, whose fields take its place.
    Enter,
}

/// Why the bytes are not such a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Cuts the messages of one stream into fields. Feed it a piece of a message, then pull until it has nothing left.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    input: Bytes,
    /// Bytes of the current message that were not consumed yet.
    left: usize,
    /// The same of the message inside that was entered.
    inner: Option<usize>,
    /// The message ends with `input`.
    last: bool,
    step: Step,
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

impl Fields {
    /// Takes the next piece of a message; `first` is the length of the whole message and comes with its first piece.
    /// What came before must have been pulled.
    pub(crate) fn feed(&mut self, data: Bytes, first: Option<u32>, last: bool) {
        if let Some(length) = first {
            self.left = length as usize;
        }
        self.input = data;
        self.last = last;
    }

    /// All of the message's bytes have been consumed.
    pub(crate) fn is_complete(&self) -> bool {
        self.last && self.input.is_empty()
    }

    /// The field that was handed out last is in a message that was entered.
    pub(crate) fn is_inside(&self) -> bool {
        self.inner.is_some()
    }

    /// The next field, `None` when more input is needed. `take` is asked what becomes of a field of bytes with this number and
    /// length, and told whether it is in a message that was entered. An error is final: the stream cannot be decoded any more.
    pub(crate) fn pull(
        &mut self,
        mut take: impl FnMut(u32, usize, bool) -> Result<Take, Malformed>,
    ) -> Result<Option<Field>, Malformed> {
        loop {
            if self.inner == Some(0) {
                self.at_boundary()?;
                self.inner = None;
            }
            if self.input.is_empty() {
                return if mem::take(&mut self.last) {
                    self.end().map(Some)
                } else {
                    Ok(None)
                };
            }
            if let Some(field) = self.advance(&mut take)? {
                return Ok(Some(field));
            }
        }
    }

    fn end(&self) -> Result<Field, Malformed> {
        if self.left != 0 || self.inner.is_some() {
            return Err(Malformed("a message ends within a field"));
        }
        self.at_boundary()?;
        Ok(Field::End)
    }

    fn at_boundary(&self) -> Result<(), Malformed> {
        if self.step.is_start() {
            Ok(())
        } else {
            Err(Malformed("a message ends within a field"))
        }
    }

    /// Consumes at least one byte of the input, which is not empty.
    fn advance(
        &mut self,
        take: &mut impl FnMut(u32, usize, bool) -> Result<Take, Malformed>,
    ) -> Result<Option<Field>, Malformed> {
        let before = self.input.len();
        let step = mem::take(&mut self.step);
        let (step, field) = match step {
            Step::Key(mut varint) => match varint.read(&mut self.input)? {
                Some(key) => begin_field(key)?,
                None => (Step::Key(varint), None),
            },
            Step::Value(field, mut varint) => match varint.read(&mut self.input)? {
                Some(value) => (Step::default(), Some(Field::Number(field, value))),
                None => (Step::Value(field, varint), None),
            },
            Step::Length(field, mut varint) => match varint.read(&mut self.input)? {
                Some(length) => {
                    let used = before - self.input.len();
                    let room = self.inner.unwrap_or(self.left).saturating_sub(used);
                    let length = usize::try_from(length).ok().filter(|len| *len <= room);
                    let length = length.ok_or(Malformed("a field is longer than its message"))?;
                    let inside = self.is_inside();
                    self.consumed(used)?;
                    return self.begin_body(field, length, take(field, length, inside)?);
                }
                None => (Step::Length(field, varint), None),
            },
            Step::Skip(count) => {
                let skipped = self.input.split_to(count.min(self.input.len()));
                (Step::skip(count - skipped.len()), None)
            }
            Step::Body { field, have, need } => {
                let piece = self.input.split_to(need.min(self.input.len()));
                add(field, have, need - piece.len(), piece)
            }
        };
        self.step = step;
        self.consumed(before - self.input.len())?;
        Ok(field)
    }

    fn begin_body(
        &mut self,
        field: u32,
        length: usize,
        take: Take,
    ) -> Result<Option<Field>, Malformed> {
        match take {
            Take::Whole if length == 0 => return Ok(Some(Field::Bytes(field, Bytes::new()))),
            Take::Whole => {
                self.step = Step::Body {
                    field,
                    have: BytesMut::new(),
                    need: length,
                };
            }
            Take::Skip => {
                self.step = Step::skip(length);
                return Ok(Some(Field::Skipped(field)));
            }
            Take::Enter if self.inner.is_some() => {
                return Err(Malformed("a message inside one that is inside"));
            }
            Take::Enter => self.inner = Some(length),
        }
        Ok(None)
    }

    fn consumed(&mut self, count: usize) -> Result<(), Malformed> {
        let within = |left: usize| {
            let left = left.checked_sub(count);
            left.ok_or(Malformed("a message is longer than was said"))
        };
        self.left = within(self.left)?;
        self.inner = self.inner.map(within).transpose()?;
        Ok(())
    }
}

impl Default for Step {
    fn default() -> Self {
        Step::Key(Varint::default())
    }
}

impl Step {
    fn skip(count: usize) -> Self {
        if count == 0 {
            Step::default()
        } else {
            Step::Skip(count)
        }
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

/// What follows the varint that holds a field's number and wire type.
fn begin_field(key: u64) -> Result<(Step, Option<Field>), Malformed> {
    let field = u32::try_from(key >> 3)
        .ok()
        .filter(|field| (1..1 << 29).contains(field));
    let field = field.ok_or(Malformed("a field has no legal number"))?;
    match key & 7 {
        0 => Ok((Step::Value(field, Varint::default()), None)),
        1 => Ok((Step::Skip(8), Some(Field::Fixed(field)))),
        2 => Ok((Step::Length(field, Varint::default()), None)),
        5 => Ok((Step::Skip(4), Some(Field::Fixed(field)))),
        _ => Err(Malformed("a field has a type that is not used any more")),
    }
}

/// Adds a piece to a field of which `need` bytes are missing then; one that came in one piece is not copied.
fn add(field: u32, mut have: BytesMut, need: usize, piece: Bytes) -> (Step, Option<Field>) {
    if need == 0 && have.is_empty() {
        return (Step::default(), Some(Field::Bytes(field, piece)));
    }
    have.extend_from_slice(&piece);
    if need == 0 {
        (Step::default(), Some(Field::Bytes(field, have.freeze())))
    } else {
        (Step::Body { field, have, need }, None)
    }
}
