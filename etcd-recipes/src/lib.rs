//! etcd recipes.
