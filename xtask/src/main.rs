//! Commands for working on this workspace.
fn main() {}
