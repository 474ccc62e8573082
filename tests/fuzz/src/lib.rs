//! The fuzz targets of etcd-core, each with a limit on what it may allocate. The fuzzer (`cargo xtask fuzz`) and the replay
//! of what it found (`tests/replay.rs`) run the same function.

use std::sync::{Mutex, PoisonError};

use etcd_core::fuzz::TARGETS;
pub use etcd_core::fuzz::{REPLIES, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a target may allocate whatever its input, in bytes: mostly the buffers of one connection.
const BASE: usize = 2 << 20;
/// And for each byte of input: an empty pair in a reply has two bytes on the wire and some hundred in memory, and is printed
/// and compared. A length that is only claimed is worth nothing.
const PER_BYTE: usize = 1_000;

/// The names of all targets.
pub fn names() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|(name, _)| *name)
}

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, target)| *target)
}

/// Runs a target once. Fails, by a panic, if the target does or allocates too much.
pub fn run(target: Target, data: &[u8]) {
    // What is measured is the process: one at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    target(data);
    let used = MEMORY.peak_usage().saturating_sub(before);
    let allowed = BASE + PER_BYTE * data.len();
    let length = data.len();
    assert!(
        used <= allowed,
        "{used} bytes in memory for {length} bytes of input"
    );
}
