//! Watches.

mod cursor;
mod decode;
mod queue;
mod state;
