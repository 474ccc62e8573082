//! A watch as a value: what is watched, not how.

use etcd_proto::etcdserverpb::watch_create_request::FilterType;
use etcd_proto::etcdserverpb::watch_request::RequestUnion;
use etcd_proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use prost::Message;

use super::cursor::Keys;
use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::range::{IntoBytes, KeyRange};

/// Watches a key or a range of keys.
///
/// A key, as anything that is bytes, is a `Watch` of that key: `client.watch("k")`. Without
/// [`start_revision`](Watch::start_revision) it begins with the first change after the call of
/// [`Client::watch`](crate::Client::watch).
#[derive(Clone, Debug, PartialEq)]
#[doc(alias("WatchOptions", "WatchCreateRequest", "OpWatch"))]
#[must_use = "a request does nothing until it is sent"]
pub struct Watch {
    range: KeyRange,
    start_revision: i64,
    progress_notify: bool,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    fragment: bool,
    /// Where the keys are. Never set by a user.
    namespace: Option<Namespace>,
}

impl Watch {
    /// Watches one key.
    pub fn key(key: impl IntoBytes) -> Self {
        KeyRange::key(key).into()
    }

    /// Watches every key that begins with `prefix`; every key at all if it is empty.
    #[doc(alias("with_prefix", "WithPrefix"))]
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        KeyRange::prefix(prefix).into()
    }

    /// Watches `start` and every key after it that is before `end`, see [`KeyRange::range`].
    #[doc(alias("with_range", "WithRange"))]
    pub fn range(start: impl IntoBytes, end: impl IntoBytes) -> Self {
        KeyRange::range(start, end).into()
    }

    /// Watches `key` and every key after it.
    #[doc(alias("with_from_key", "WithFromKey"))]
    pub fn from_key(key: impl IntoBytes) -> Self {
        KeyRange::from_key(key).into()
    }

    /// Watches every key.
    #[doc(alias("with_all_keys"))]
    pub fn all() -> Self {
        KeyRange::all().into()
    }

    /// The first revision to report. It may be in the past, as far back as the history was not compacted, or in the future.
    /// 0, the default, is the first one after the call of [`Client::watch`](crate::Client::watch).
    #[doc(alias("with_start_revision", "with_revision", "WithRev"))]
    pub fn start_revision(mut self, revision: i64) -> Self {
        self.start_revision = revision;
        self
    }

    /// Delivers a [`Batch`](crate::Batch) without events from time to time while nothing happens in the range: by default
    /// every ten minutes, see etcd's `--watch-progress-notify-interval`.
    #[doc(alias("with_progress_notify", "WithProgressNotify", "bookmark"))]
    pub fn progress_notify(mut self) -> Self {
        self.progress_notify = true;
        self
    }

    /// Leaves out puts.
    #[doc(alias("NOPUT", "with_filters", "WithFilterPut"))]
    pub fn no_put(mut self) -> Self {
        self.no_put = true;
        self
    }

    /// Leaves out deletes.
    #[doc(alias("NODELETE", "with_filters", "WithFilterDelete"))]
    pub fn no_delete(mut self) -> Self {
        self.no_delete = true;
        self
    }

    /// Reports with each event the pair as it was before, unless compaction has removed it.
    #[doc(alias("with_prev_key", "WithPrevKV"))]
    pub fn prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }

    /// Allows the server to split large responses. Batches are whole all the same. It is of no use to this client, which
    /// reads large responses bit by bit, and costs the server time that grows with the square of the size.
    #[doc(alias("with_fragment", "WithFragment"))]
    pub fn fragment(mut self) -> Self {
        self.fragment = true;
        self
    }

    /// The same keys, of a namespace.
    pub(super) fn within(mut self, namespace: Option<Namespace>) -> Self {
        self.namespace = namespace;
        self
    }

    /// The keys watched, as they were given.
    pub(super) fn key_range(&self) -> &KeyRange {
        &self.range
    }

    /// The keys watched, as the server names them.
    pub(super) fn keys(&self) -> Keys {
        let inside = |namespace: &Namespace| namespace.range(&self.range);
        Keys {
            range: self
                .namespace
                .as_ref()
                .map_or_else(|| self.range.clone(), inside),
            namespace: self.namespace.clone(),
        }
    }

    /// The start revision, if one was set.
    pub(super) fn start(&self) -> Option<i64> {
        (self.start_revision != 0).then_some(self.start_revision)
    }

    pub(super) fn wants_progress(&self) -> bool {
        self.progress_notify
    }

    /// Refuses what etcd would refuse, and what would end the stream that all watchers share. 0 bytes: no limit.
    pub(super) fn check(&self, max_request_bytes: usize) -> Result<()> {
        self.range.check()?;
        if self.start_revision < 0 {
            return Err(Error::invalid_request(format!(
                "start_revision is negative: {}",
                self.start_revision
            )));
        }
        let end = self.range.end();
        if !self.range.is_single() && end[..] != b"\0"[..] && self.range.start() >= end {
            return Err(Error::invalid_request(format!(
                "the range is empty: {:?}",
                self.range
            )));
        }
        let length = self.create(i64::MAX, i64::MAX).encoded_len();
        if max_request_bytes != 0 && length > max_request_bytes {
            return Err(Error::invalid_request(format!(
                "{length} bytes are more than max_request_bytes, {max_request_bytes}"
            )));
        }
        Ok(())
    }

    /// The create request.
    pub(super) fn create(&self, watch_id: i64, start_revision: i64) -> WatchRequest {
        let filters = [
            (self.no_put, FilterType::Noput),
            (self.no_delete, FilterType::Nodelete),
        ];
        let (key, range_end) = self.keys().range.into_parts();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.progress_notify,
            filters: filters
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, filter)| filter.into())
                .collect(),
            prev_kv: self.prev_kv,
            watch_id,
            fragment: self.fragment,
        };
        WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        }
    }
}

impl<R: Into<KeyRange>> From<R> for Watch {
    fn from(range: R) -> Self {
        Self {
            range: range.into(),
            start_revision: 0,
            progress_notify: false,
            no_put: false,
            no_delete: false,
            prev_kv: false,
            fragment: false,
            namespace: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(watch: &Watch) -> WatchCreateRequest {
        match watch.create(7, 9).request_union {
            Some(RequestUnion::CreateRequest(create)) => create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_range_and_option_reaches_its_field() {
        let on = |change: fn(&mut WatchCreateRequest)| {
            let mut create = WatchCreateRequest {
                key: "k".into(),
                start_revision: 9,
                watch_id: 7,
                ..Default::default()
            };
            change(&mut create);
            create
        };
        let k = || Watch::key("k");
        let rows = [
            (k(), on(|_| {})),
            ("k".into(), on(|_| {})),
            (
                Watch::prefix("k"),
                on(|create| create.range_end = "l".into()),
            ),
            (
                Watch::range("k", "m"),
                on(|create| create.range_end = "m".into()),
            ),
            (
                Watch::from_key("k"),
                on(|create| create.range_end = "\0".into()),
            ),
            (
                Watch::all(),
                on(|create| (create.key, create.range_end) = ("\0".into(), "\0".into())),
            ),
            (
                k().progress_notify(),
                on(|create| create.progress_notify = true),
            ),
            (
                k().no_put().no_delete(),
                on(|create| create.filters = vec![0, 1]),
            ),
            (k().no_delete(), on(|create| create.filters = vec![1])),
            (k().prev_kv(), on(|create| create.prev_kv = true)),
            (k().fragment(), on(|create| create.fragment = true)),
        ];
        for (watch, expected) in rows {
            assert_eq!(wire(&watch), expected, "{watch:?}");
        }
    }

    #[test]
    fn what_no_server_would_accept_is_refused() {
        let refused = [
            Watch::key(""),
            Watch::range("a", ""),
            Watch::range("b", "a"),
            Watch::range("a", "a"),
            Watch::key("k").start_revision(-1),
            Watch::key(vec![b'k'; 1_000]),
        ];
        for watch in refused {
            assert!(watch.check(1_000).is_err(), "{watch:?}");
        }
        let accepted = [
            Watch::key("k").start_revision(5),
            Watch::all(),
            Watch::from_key("k"),
            Watch::prefix([0xff]),
        ];
        for watch in accepted {
            assert!(watch.check(1_000).is_ok(), "{watch:?}");
        }
        assert!(Watch::key(vec![b'k'; 1_000]).check(0).is_ok());
    }
}
