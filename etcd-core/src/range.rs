//! Keys and ranges of keys.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::error::{Error, Result};

/// A key or a value: anything that is bytes. Owned bytes are taken over, borrowed ones are copied.
pub trait IntoBytes {
    /// The bytes.
    fn into_bytes(self) -> Bytes;
}

macro_rules! into_bytes {
    ($($type:ty: $self:ident => $bytes:expr;)*) => {
        $(impl IntoBytes for $type {
            fn into_bytes($self) -> Bytes {
                $bytes
            }
        })*
    };
}

into_bytes! {
    Bytes: self => self;
    &Bytes: self => self.clone();
    String: self => self.into();
    &String: self => Bytes::copy_from_slice(self.as_bytes());
    &str: self => Bytes::copy_from_slice(self.as_bytes());
    Cow<'_, str>: self => self.into_owned().into();
    Vec<u8>: self => self.into();
    &Vec<u8>: self => Bytes::copy_from_slice(self);
    &[u8]: self => Bytes::copy_from_slice(self);
    Box<[u8]>: self => self.into();
}

impl<const N: usize> IntoBytes for [u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl<const N: usize> IntoBytes for &[u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

/// What stands for "before the first key" in a key field, and for "after the last key" in a range end.
pub(crate) const NUL: Bytes = Bytes::from_static(b"\0");

/// One key, or all keys from a first one up to an end.
///
/// A range that names no key (an empty key, an empty range end) can be built; a request that holds it is refused
/// with [`Error::InvalidRequest`] and not sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    key: Bytes,
    /// As on the wire: empty for the one key, `\0` for every key from `key` on.
    end: Bytes,
}

impl KeyRange {
    /// Just this key.
    #[must_use]
    pub fn key(key: impl IntoBytes) -> Self {
        Self {
            key: key.into_bytes(),
            end: Bytes::new(),
        }
    }

    /// Every key that begins with `prefix`; every key at all if it is empty.
    #[must_use]
    #[doc(alias = "with_prefix")]
    #[doc(alias = "WithPrefix")]
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        let key = prefix.into_bytes();
        if key.is_empty() {
            return Self::all();
        }
        let end = prefix_end(&key);
        Self { key, end }
    }

    /// `key` and every key after it.
    #[must_use]
    #[doc(alias = "with_from_key")]
    #[doc(alias = "WithFromKey")]
    pub fn from_key(key: impl IntoBytes) -> Self {
        Self {
            key: first(key.into_bytes()),
            end: NUL,
        }
    }

    /// `start` and every key after it that is before `end`. An empty `start` is before every key; an `end` of `\0` is
    /// after every key, as on the wire; an empty `end` is refused when the request is sent.
    #[must_use]
    #[doc(alias = "with_range")]
    #[doc(alias = "WithRange")]
    pub fn range(start: impl IntoBytes, end: impl IntoBytes) -> Self {
        let (start, end) = (start.into_bytes(), end.into_bytes());
        // Sent as it is, an empty end would mean the one key `start`.
        if end.is_empty() {
            Self::none()
        } else {
            Self {
                key: first(start),
                end,
            }
        }
    }

    /// Every key.
    #[must_use]
    #[doc(alias = "with_all_keys")]
    pub fn all() -> Self {
        Self { key: NUL, end: NUL }
    }

    /// No key at all: refused when it is sent.
    pub(crate) fn none() -> Self {
        Self {
            key: Bytes::new(),
            end: Bytes::new(),
        }
    }

    /// From the `key` and `range_end` fields, as they are.
    pub(crate) fn from_parts(key: Bytes, end: Bytes) -> Self {
        Self { key, end }
    }

    /// The first key, as it goes into the `key` field.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        &self.key
    }

    /// The end, as it goes into the `range_end` field: empty for one key, `\0` for every key from the first one on.
    #[must_use]
    pub fn end(&self) -> &Bytes {
        &self.end
    }

    /// The `key` and `range_end` fields.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Bytes) {
        (self.key, self.end)
    }

    /// One key, not a range.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.end.is_empty()
    }

    /// `key` is one of the keys.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_single() {
            return key == self.key;
        }
        key >= &self.key[..] && (self.end == NUL || key < &self.end[..])
    }

    /// Refuses a range that names no key.
    pub(crate) fn check(&self) -> Result<()> {
        check_key(&self.key)
    }
}

impl<K: IntoBytes> From<K> for KeyRange {
    fn from(key: K) -> Self {
        Self::key(key)
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end[..] {
            b"" => write!(f, "{:?}", self.key),
            b"\0" => write!(f, "{:?}..", self.key),
            _ => write!(f, "{:?}..{:?}", self.key, self.end),
        }
    }
}

/// The first key after all keys that begin with `prefix`; `\0`, etcd's sign for "no end", if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|&byte| byte != 0xff) else {
        return NUL;
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}

/// Refuses an empty key, in any field where etcd wants one.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid_request(
            "a key, or the end of a range, is empty; all() is every key",
        ));
    }
    Ok(())
}

fn first(key: Bytes) -> Bytes {
    if key.is_empty() { NUL } else { key }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_it() {
        let rows: &[(&[u8], &[u8])] = &[
            (b"", b"\0"),
            (b"a", b"b"),
            (b"a\0", b"a\x01"),
            (b"a\x01", b"a\x02"),
            (b"a\xff", b"b"),
            (b"a\xff\xff", b"b"),
            (b"\xff", b"\0"),
            (b"\xff\xff", b"\0"),
            (b"\xff\xfe", b"\xff\xff"),
            (b"aa", b"ab"),
            (b"etcd", b"etce"),
            (b"{", b"|"),
            (b"xyz", b"xy{"),
            (b"11", b"12"),
            (b"19", b"1:"),
        ];
        for (prefix, end) in rows {
            assert_eq!(prefix_end(prefix), *end, "{prefix:?}");
        }
    }

    #[test]
    fn each_constructor_gives_the_wire_fields_that_etcd_wants() {
        let rows: &[(KeyRange, &[u8], &[u8])] = &[
            (KeyRange::key("k"), b"k", b""),
            (KeyRange::prefix("svc/"), b"svc/", b"svc0"),
            (KeyRange::prefix(""), b"\0", b"\0"),
            (KeyRange::prefix(b"\xff"), b"\xff", b"\0"),
            (KeyRange::from_key("k"), b"k", b"\0"),
            (KeyRange::from_key(""), b"\0", b"\0"),
            (KeyRange::range("a", "c"), b"a", b"c"),
            (KeyRange::range("", "c"), b"\0", b"c"),
            (KeyRange::all(), b"\0", b"\0"),
            (KeyRange::range("a", ""), b"", b""),
            (KeyRange::key(""), b"", b""),
        ];
        for (range, key, end) in rows {
            assert_eq!(
                (&range.start()[..], &range.end()[..]),
                (*key, *end),
                "{range:?}"
            );
            assert_eq!(range.check().is_ok(), !key.is_empty(), "{range:?}");
        }
    }

    #[test]
    fn every_kind_of_bytes_makes_the_same_key() {
        let expected = KeyRange::key("k");
        let local = String::from("k");
        let bytes = Bytes::from_static(b"k");
        let ranges: [KeyRange; 11] = [
            local.as_str().into(),
            (&local).into(),
            local.clone().into(),
            Cow::Borrowed("k").into(),
            b"k".into(),
            [b'k'].into(),
            b"k".as_slice().into(),
            vec![b'k'].into(),
            (&vec![b'k']).into(),
            (&bytes).into(),
            bytes.into(),
        ];
        assert!(ranges.iter().all(|range| *range == expected), "{ranges:?}");
    }

    #[test]
    fn a_range_knows_its_keys() {
        assert!(KeyRange::key("k").contains(b"k") && !KeyRange::key("k").contains(b"k\0"));
        let range = KeyRange::range("b", "d");
        let inside: Vec<&str> = ["a", "b", "b\0", "c", "d", "e"]
            .into_iter()
            .filter(|k| range.contains(k.as_bytes()))
            .collect();
        assert_eq!(inside, ["b", "b\0", "c"]);
        assert!(
            KeyRange::from_key("b").contains(b"\xff\xff")
                && !KeyRange::from_key("b").contains(b"a")
        );
        assert!(KeyRange::all().contains(b"\0"));
        assert!(!KeyRange::range("d", "b").contains(b"c"));
    }

    /// Few byte values, so that keys share prefixes and meet both ends of the alphabet.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xfe), Just(0xff)],
            0..5,
        )
    }

    proptest! {
        #[test]
        fn a_prefix_range_holds_exactly_the_keys_with_that_prefix(prefix in bytes(), key in bytes()) {
            prop_assume!(!key.is_empty());
            prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        }
    }
}
