//! etcd recipes.

pub mod session;
