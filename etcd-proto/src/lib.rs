//! etcd wire schema.
