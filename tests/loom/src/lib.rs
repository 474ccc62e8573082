//! The lock-free parts of etcd-core, compiled with loom's atomics and threads; their model checks stand beside the code.

#[cfg(test)]
#[allow(dead_code, reason = "what a model does not use, etcd-core does")]
#[path = "../../../etcd-core/src/net/wake.rs"]
mod wake;
