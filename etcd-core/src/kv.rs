//! Requests of the KV service as values: what is asked for, not how the call is made.

use std::fmt;

use etcd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use etcd_proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};

use crate::lease::LeaseId;
use crate::range::{IntoBytes, KeyRange};

/// Reads a key or a range of keys.
///
/// A key, as anything that is bytes, is a `Get` of that key: `client.get("k")`. Without [`Get::serializable`] the read
/// is linearizable: it sees every write that was confirmed before it was asked for.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("GetOptions", "OpGet", "RangeRequest"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Get(RangeRequest);

impl Get {
    /// Reads one key.
    pub fn key(key: impl IntoBytes) -> Self {
        KeyRange::key(key).into()
    }

    /// Reads every key that begins with `prefix`; every key at all if it is empty.
    #[doc(alias("with_prefix", "WithPrefix"))]
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        KeyRange::prefix(prefix).into()
    }

    /// Reads `start` and every key after it that is before `end`, see [`KeyRange::range`].
    #[doc(alias("with_range", "WithRange"))]
    pub fn range(start: impl IntoBytes, end: impl IntoBytes) -> Self {
        KeyRange::range(start, end).into()
    }

    /// Reads `key` and every key after it.
    #[doc(alias("with_from_key", "WithFromKey"))]
    pub fn from_key(key: impl IntoBytes) -> Self {
        KeyRange::from_key(key).into()
    }

    /// Reads every key.
    #[doc(alias("with_all_keys"))]
    pub fn all() -> Self {
        KeyRange::all().into()
    }

    /// Returns at most this many keys; 0, the default, is no limit. The reply's `more` tells whether some are missing.
    #[doc(alias("with_limit", "WithLimit"))]
    pub fn limit(mut self, limit: i64) -> Self {
        self.0.limit = limit;
        self
    }

    /// Reads the keys as they were at this revision; 0, the default, is now.
    #[doc(alias("with_revision", "WithRev"))]
    pub fn revision(mut self, revision: i64) -> Self {
        self.0.revision = revision;
        self
    }

    /// Sorts the keys. By default they come in ascending order of key. With any other order etcd reads the whole range
    /// before it applies the limit.
    #[doc(alias("with_sort", "WithSort"))]
    pub fn sort(mut self, order: SortOrder, target: SortTarget) -> Self {
        self.0.sort_order = order.into();
        self.0.sort_target = target.into();
        self
    }

    /// Returns the first key in this order only: a sort with a limit of 1.
    #[doc(alias("with_top"))]
    pub fn top(self, order: SortOrder, target: SortTarget) -> Self {
        self.sort(order, target).limit(1)
    }

    /// Returns the first of the keys only, by key.
    #[doc(alias("with_first_key", "WithFirstKey"))]
    pub fn first_key(self) -> Self {
        self.top(SortOrder::Ascend, SortTarget::Key)
    }

    /// Returns the last of the keys only, by key.
    #[doc(alias("with_last_key", "WithLastKey"))]
    pub fn last_key(self) -> Self {
        self.top(SortOrder::Descend, SortTarget::Key)
    }

    /// Returns the key only that was created first.
    #[doc(alias("with_first_create", "WithFirstCreate"))]
    pub fn first_create(self) -> Self {
        self.top(SortOrder::Ascend, SortTarget::Create)
    }

    /// Returns the key only that was created last.
    #[doc(alias("with_last_create", "WithLastCreate"))]
    pub fn last_create(self) -> Self {
        self.top(SortOrder::Descend, SortTarget::Create)
    }

    /// Returns the key only whose last write is the oldest.
    #[doc(alias("with_first_rev", "WithFirstRev"))]
    pub fn first_mod(self) -> Self {
        self.top(SortOrder::Ascend, SortTarget::Mod)
    }

    /// Returns the key only that was written last.
    #[doc(alias("with_last_rev", "WithLastRev"))]
    pub fn last_mod(self) -> Self {
        self.top(SortOrder::Descend, SortTarget::Mod)
    }

    /// Lets the member that is asked answer from what it has, which may be stale. Works without a leader.
    #[doc(alias("with_serializable", "WithSerializable"))]
    pub fn serializable(mut self) -> Self {
        self.0.serializable = true;
        self
    }

    /// Returns the keys without their values.
    #[doc(alias("with_keys_only", "WithKeysOnly"))]
    pub fn keys_only(mut self) -> Self {
        self.0.keys_only = true;
        self
    }

    /// Returns only how many keys there are.
    #[doc(alias("with_count_only", "WithCountOnly"))]
    pub fn count_only(mut self) -> Self {
        self.0.count_only = true;
        self
    }

    /// Leaves out keys last modified before this revision; 0, the default, leaves out none.
    #[doc(alias("with_min_mod_revision", "WithMinModRev"))]
    pub fn min_mod_revision(mut self, revision: i64) -> Self {
        self.0.min_mod_revision = revision;
        self
    }

    /// Leaves out keys last modified after this revision; 0, the default, leaves out none.
    #[doc(alias("with_max_mod_revision", "WithMaxModRev"))]
    pub fn max_mod_revision(mut self, revision: i64) -> Self {
        self.0.max_mod_revision = revision;
        self
    }

    /// Leaves out keys created before this revision; 0, the default, leaves out none.
    #[doc(alias("with_min_create_revision", "WithMinCreateRev"))]
    pub fn min_create_revision(mut self, revision: i64) -> Self {
        self.0.min_create_revision = revision;
        self
    }

    /// Leaves out keys created after this revision; 0, the default, leaves out none.
    #[doc(alias("with_max_create_revision", "WithMaxCreateRev"))]
    pub fn max_create_revision(mut self, revision: i64) -> Self {
        self.0.max_create_revision = revision;
        self
    }
}

impl<R: Into<KeyRange>> From<R> for Get {
    fn from(range: R) -> Self {
        let (key, range_end) = range.into().into_parts();
        Get(RangeRequest {
            key,
            range_end,
            ..Default::default()
        })
    }
}

/// Writes a key. `Debug` shows the length of the value, not the value.
#[derive(Clone, PartialEq)]
#[doc(alias("PutOptions", "OpPut", "PutRequest"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Put(PutRequest);

impl Put {
    /// Sets `key` to `value`.
    pub fn new(key: impl IntoBytes, value: impl IntoBytes) -> Self {
        Put(PutRequest {
            key: key.into_bytes(),
            value: value.into_bytes(),
            ..Default::default()
        })
    }

    /// Ties the key to a lease, given as its handle, its [`LeaseId`] or a number: the key is deleted when the lease ends.
    /// 0, the default, is no lease.
    #[doc(alias("with_lease", "WithLease"))]
    pub fn lease(mut self, lease: impl Into<LeaseId>) -> Self {
        self.0.lease = lease.into().0;
        self
    }

    /// Returns the key as it was before.
    #[doc(alias("with_prev_key", "WithPrevKV"))]
    pub fn prev_kv(mut self) -> Self {
        self.0.prev_kv = true;
        self
    }

    /// Leaves the value as it is, to change only the lease. The key must exist, and the value given must be empty.
    #[doc(alias("with_ignore_value", "WithIgnoreValue"))]
    pub fn ignore_value(mut self) -> Self {
        self.0.ignore_value = true;
        self
    }

    /// Leaves the lease as it is. The key must exist, and no lease may be given.
    #[doc(alias("with_ignore_lease", "WithIgnoreLease"))]
    pub fn ignore_lease(mut self) -> Self {
        self.0.ignore_lease = true;
        self
    }
}

impl fmt::Debug for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PutRequest {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        } = &self.0;
        f.debug_struct("Put")
            .field("key", key)
            .field("value_len", &value.len())
            .field("lease", lease)
            .field("prev_kv", prev_kv)
            .field("ignore_value", ignore_value)
            .field("ignore_lease", ignore_lease)
            .finish()
    }
}

/// Deletes a key or a range of keys.
///
/// A key, as anything that is bytes, is a `Delete` of that key: `client.delete("k")`.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("DeleteOptions", "OpDelete", "DeleteRangeRequest"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Delete(DeleteRangeRequest);

impl Delete {
    /// Deletes one key.
    pub fn key(key: impl IntoBytes) -> Self {
        KeyRange::key(key).into()
    }

    /// Deletes every key that begins with `prefix`. An empty prefix is more often a mistake than a wish: it is refused
    /// with [`Error::InvalidRequest`](crate::Error::InvalidRequest) and not sent; [`Delete::all`] says what it means.
    #[doc(alias("with_prefix", "WithPrefix"))]
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        let prefix = prefix.into_bytes();
        if prefix.is_empty() {
            KeyRange::none().into()
        } else {
            KeyRange::prefix(prefix).into()
        }
    }

    /// Deletes `start` and every key after it that is before `end`, see [`KeyRange::range`].
    #[doc(alias("with_range", "WithRange"))]
    pub fn range(start: impl IntoBytes, end: impl IntoBytes) -> Self {
        KeyRange::range(start, end).into()
    }

    /// Deletes `key` and every key after it.
    #[doc(alias("with_from_key", "WithFromKey"))]
    pub fn from_key(key: impl IntoBytes) -> Self {
        KeyRange::from_key(key).into()
    }

    /// Deletes every key.
    #[doc(alias("with_all_keys"))]
    pub fn all() -> Self {
        KeyRange::all().into()
    }

    /// Returns the keys as they were before.
    #[doc(alias("with_prev_key", "WithPrevKV"))]
    pub fn prev_kv(mut self) -> Self {
        self.0.prev_kv = true;
        self
    }
}

impl<R: Into<KeyRange>> From<R> for Delete {
    fn from(range: R) -> Self {
        let (key, range_end) = range.into().into_parts();
        Delete(DeleteRangeRequest {
            key,
            range_end,
            ..Default::default()
        })
    }
}

/// Discards the history before a revision: it can no longer be read or watched.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("CompactionOptions", "CompactionRequest"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Compact(CompactionRequest);

impl From<i64> for Compact {
    fn from(revision: i64) -> Self {
        Compact::new(revision)
    }
}

impl Compact {
    /// Discards every revision before `revision`.
    pub fn new(revision: i64) -> Self {
        Compact(CompactionRequest {
            revision,
            ..Default::default()
        })
    }

    /// Waits until the history is gone from the database of the member that is asked, which can take long.
    #[doc(alias("with_physical", "WithCompactPhysical"))]
    pub fn physical(mut self) -> Self {
        self.0.physical = true;
        self
    }
}

macro_rules! into_wire {
    ($($value:ident => $wire:ident;)*) => {
        $(impl From<$value> for $wire {
            fn from(value: $value) -> Self {
                value.0
            }
        })*
    };
}

into_wire! {
    Get => RangeRequest;
    Put => PutRequest;
    Delete => DeleteRangeRequest;
    Compact => CompactionRequest;
}

#[cfg(test)]
mod tests;
