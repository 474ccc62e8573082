//! The fuzzer, when it is built by `cargo xtask fuzz`. The environment variable `ETCD_FUZZ_TARGET` names the target, the
//! arguments are libFuzzer's.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod engine {
    use std::sync::LazyLock;

    use etcd_fuzz::{Target, run, target};

    /// Without a target there is nothing to do but to say so.
    static TARGET: LazyLock<Target> = LazyLock::new(|| {
        let name = std::env::var("ETCD_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| {
            eprintln!("ETCD_FUZZ_TARGET={name:?} is no target");
            std::process::exit(2)
        })
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| run(*TARGET, data));
}

/// Built by anything else it names the targets.
#[cfg(not(fuzzing))]
fn main() {
    etcd_fuzz::names().for_each(|name| println!("{name}"));
}
