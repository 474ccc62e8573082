//! The few helpers that generated messages get by hand.
use std::str::{Utf8Error, from_utf8};

use crate::etcdserverpb::RangeResponse;
use crate::mvccpb::event::EventType;
use crate::mvccpb::{Event, KeyValue};

impl KeyValue {
    /// The key as text.
    ///
    /// # Errors
    ///
    /// If the key is not UTF-8.
    pub fn key_str(&self) -> Result<&str, Utf8Error> {
        from_utf8(&self.key)
    }

    /// The value as text.
    ///
    /// # Errors
    ///
    /// If the value is not UTF-8.
    pub fn value_str(&self) -> Result<&str, Utf8Error> {
        from_utf8(&self.value)
    }
}

impl RangeResponse {
    /// The first pair found, if any.
    pub fn first(&self) -> Option<&KeyValue> {
        self.kvs.first()
    }

    /// The first pair found, if any, without the rest.
    pub fn into_first(self) -> Option<KeyValue> {
        self.kvs.into_iter().next()
    }
}

impl Event {
    /// The key was put: created or changed.
    pub fn is_put(&self) -> bool {
        self.r#type == EventType::Put as i32
    }

    /// The key was created: put when it did not exist.
    pub fn is_create(&self) -> bool {
        // A first put creates the key at the revision that it modifies it.
        let created = |kv: &KeyValue| kv.create_revision == kv.mod_revision;
        self.is_put() && self.kv.as_ref().is_some_and(created)
    }

    /// The key was deleted, by a request or because its lease ended.
    pub fn is_delete(&self) -> bool {
        self.r#type == EventType::Delete as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdserverpb::{PutResponse, ResponseHeader};

    fn put(create_revision: i64, mod_revision: i64) -> Event {
        let kv = KeyValue {
            create_revision,
            mod_revision,
            ..KeyValue::default()
        };
        Event {
            kv: Some(kv),
            ..Event::default()
        }
    }

    #[test]
    fn an_event_is_a_put_a_creation_or_a_delete() {
        let kinds = |event: &Event| (event.is_put(), event.is_create(), event.is_delete());
        assert_eq!(kinds(&put(7, 7)), (true, true, false));
        assert_eq!(kinds(&put(7, 9)), (true, false, false));
        let mut event = put(0, 9);
        event.set_type(EventType::Delete);
        assert_eq!(kinds(&event), (false, false, true));
        event.r#type = 2;
        assert_eq!(kinds(&event), (false, false, false), "of a later etcd");
    }

    #[test]
    fn the_first_pair_of_a_range_is_the_first_or_none() {
        let pair = |key: &'static str| KeyValue {
            key: key.into(),
            ..KeyValue::default()
        };
        let mut reply = RangeResponse::default();
        assert_eq!(reply.first(), None);
        assert_eq!(reply.clone().into_first(), None);
        reply.kvs = vec![pair("a"), pair("b")];
        assert_eq!(reply.first(), Some(&pair("a")));
        assert_eq!(reply.into_first(), Some(pair("a")));
    }

    #[test]
    fn keys_and_values_are_text_only_if_they_are_utf_8() {
        let pair = KeyValue {
            key: "k\u{e9}".into(),
            value: vec![0xff].into(),
            ..KeyValue::default()
        };
        assert_eq!(pair.key_str(), Ok("k\u{e9}"));
        assert!(pair.value_str().is_err());
    }

    #[test]
    fn the_revision_of_a_reply_is_that_of_its_header_or_zero() {
        let header = ResponseHeader {
            revision: 5,
            ..ResponseHeader::default()
        };
        let mut reply = PutResponse::default();
        assert_eq!(reply.revision(), 0);
        reply.header = Some(header);
        assert_eq!(reply.revision(), 5);
    }
}
