//! etcd client.

mod net;
mod pool;
