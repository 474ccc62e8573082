//! Sets `cfg(loom)` for this package alone. As a flag for the whole build it would take tokio's sockets away, and with them
//! the rest of etcd-core.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=loom");
}
