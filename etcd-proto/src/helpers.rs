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
