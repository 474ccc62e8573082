//! The conditions of a transaction, as values.

use std::fmt;
use std::iter::{self, Once};

use bytes::Bytes;
use etcd_proto::etcdserverpb as wire;
use etcd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::range::{IntoBytes, KeyRange};

/// A condition on a key, or on every key of a range. `Debug` shows the length of a value, not the value.
///
/// A key that does not exist has version, revisions and lease 0, and so has a range without keys. No condition on a
/// value holds for them, not even `not_equals`.
#[derive(Clone, PartialEq)]
#[doc(alias("Cmp"))]
pub struct Compare(wire::Compare);

impl Compare {
    /// On the number of writes to the key since it was created; 0 if it does not exist.
    pub fn version(keys: impl Into<KeyRange>) -> Operand<i64> {
        Operand {
            keys: keys.into(),
            target: CompareTarget::Version,
            operand: TargetUnion::Version,
        }
    }

    /// On the revision at which the key was created.
    pub fn create_revision(keys: impl Into<KeyRange>) -> Operand<i64> {
        Operand {
            keys: keys.into(),
            target: CompareTarget::Create,
            operand: TargetUnion::CreateRevision,
        }
    }

    /// On the revision at which the key was last written.
    pub fn mod_revision(keys: impl Into<KeyRange>) -> Operand<i64> {
        Operand {
            keys: keys.into(),
            target: CompareTarget::Mod,
            operand: TargetUnion::ModRevision,
        }
    }

    /// On the lease that the key is tied to, since etcd 3.3.
    pub fn lease(keys: impl Into<KeyRange>) -> Operand<i64> {
        Operand {
            keys: keys.into(),
            target: CompareTarget::Lease,
            operand: TargetUnion::Lease,
        }
    }

    /// On the value, byte by byte.
    pub fn value(keys: impl Into<KeyRange>) -> Operand<Bytes> {
        Operand {
            keys: keys.into(),
            target: CompareTarget::Value,
            operand: TargetUnion::Value,
        }
    }
}

impl From<Compare> for wire::Compare {
    fn from(compare: Compare) -> Self {
        compare.0
    }
}

/// One condition is a collection of one, so that [`Txn::when`](crate::Txn::when) takes it as it is.
impl IntoIterator for Compare {
    type Item = Compare;
    type IntoIter = Once<Compare>;

    fn into_iter(self) -> Once<Compare> {
        iter::once(self)
    }
}

impl fmt::Debug for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Compare");
        out.field("key", &self.0.key)
            .field("range_end", &self.0.range_end)
            .field("result", &self.0.result());
        match &self.0.target_union {
            Some(TargetUnion::Value(value)) => out.field("value_len", &value.len()),
            other => out.field("to", other),
        };
        out.finish()
    }
}

/// The left side of a condition: what to look at. One of its methods gives the [`Compare`].
#[derive(Clone, Debug)]
#[must_use = "a condition needs something to compare with"]
pub struct Operand<T> {
    keys: KeyRange,
    target: CompareTarget,
    operand: fn(T) -> TargetUnion,
}

impl<T> Operand<T> {
    fn compare(self, result: CompareResult, with: T) -> Compare {
        let (key, range_end) = self.keys.into_parts();
        let (result, target) = (result.into(), self.target.into());
        Compare(wire::Compare {
            result,
            target,
            key,
            range_end,
            target_union: Some((self.operand)(with)),
        })
    }
}

impl Operand<i64> {
    /// It is `number`.
    #[must_use]
    pub fn equals(self, number: i64) -> Compare {
        self.compare(CompareResult::Equal, number)
    }

    /// It is not `number`.
    #[must_use]
    pub fn not_equals(self, number: i64) -> Compare {
        self.compare(CompareResult::NotEqual, number)
    }

    /// It is greater than `number`.
    #[must_use]
    pub fn greater(self, number: i64) -> Compare {
        self.compare(CompareResult::Greater, number)
    }

    /// It is less than `number`.
    #[must_use]
    pub fn less(self, number: i64) -> Compare {
        self.compare(CompareResult::Less, number)
    }
}

impl Operand<Bytes> {
    /// It is `value`.
    #[must_use]
    pub fn equals(self, value: impl IntoBytes) -> Compare {
        self.compare(CompareResult::Equal, value.into_bytes())
    }

    /// It is there, and is not `value`.
    #[must_use]
    pub fn not_equals(self, value: impl IntoBytes) -> Compare {
        self.compare(CompareResult::NotEqual, value.into_bytes())
    }

    /// It comes after `value`.
    #[must_use]
    pub fn greater(self, value: impl IntoBytes) -> Compare {
        self.compare(CompareResult::Greater, value.into_bytes())
    }

    /// It comes before `value`.
    #[must_use]
    pub fn less(self, value: impl IntoBytes) -> Compare {
        self.compare(CompareResult::Less, value.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(compare: Compare) -> wire::Compare {
        compare.0
    }

    #[test]
    fn each_condition_sets_target_result_and_operand() {
        use CompareTarget::{Create, Lease, Mod, Version};
        let k = || KeyRange::key("k");
        let rows = [
            (
                Compare::version(k()).equals(5),
                Version,
                CompareResult::Equal,
                TargetUnion::Version(5),
            ),
            (
                Compare::create_revision(k()).not_equals(5),
                Create,
                CompareResult::NotEqual,
                TargetUnion::CreateRevision(5),
            ),
            (
                Compare::mod_revision(k()).greater(5),
                Mod,
                CompareResult::Greater,
                TargetUnion::ModRevision(5),
            ),
            (
                Compare::lease(k()).less(5),
                Lease,
                CompareResult::Less,
                TargetUnion::Lease(5),
            ),
        ];
        for (compare, target, result, union) in rows {
            let wire = wire(compare);
            assert_eq!(
                (wire.target(), wire.result(), &wire.key[..]),
                (target, result, &b"k"[..])
            );
            assert_eq!(
                (wire.target_union, wire.range_end),
                (Some(union), Bytes::new())
            );
        }
    }

    #[test]
    fn a_condition_on_values_compares_bytes_and_can_cover_a_range() {
        let results = [
            (
                Compare::value(KeyRange::prefix("a")).equals("v"),
                CompareResult::Equal,
            ),
            (
                Compare::value(KeyRange::prefix("a")).not_equals("v"),
                CompareResult::NotEqual,
            ),
            (
                Compare::value(KeyRange::prefix("a")).greater("v"),
                CompareResult::Greater,
            ),
            (
                Compare::value(KeyRange::prefix("a")).less("v"),
                CompareResult::Less,
            ),
        ];
        for (compare, result) in results {
            let wire = wire(compare);
            assert_eq!(
                (wire.target(), wire.result()),
                (CompareTarget::Value, result)
            );
            assert_eq!((&wire.key[..], &wire.range_end[..]), (&b"a"[..], &b"b"[..]));
            assert_eq!(wire.target_union, Some(TargetUnion::Value("v".into())));
        }
    }
}
