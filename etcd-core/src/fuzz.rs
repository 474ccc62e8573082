//! What bytes from outside can reach, taken apart for fuzzing: functions that take any bytes and assert what must hold for
//! all of them. Not a part of the API: it exists only for `tests/fuzz`, which runs these targets.

mod input;
mod messages;
mod text;

pub(crate) use self::input::Input;
pub use self::messages::REPLIES;

/// A target: it fails by a panic.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("frames", crate::net::fuzz::frames),
    ("grpc", crate::net::fuzz::grpc),
    ("status", crate::net::fuzz::status),
    ("connection", crate::net::fuzz::connection),
    ("handshake", crate::net::fuzz::handshake),
    ("watch_decode", crate::watch::fuzz::decode),
    ("watch", crate::watch::fuzz::watch),
    ("lease", crate::lease::fuzz::lease),
    ("scan", crate::scan::fuzz::scan),
    ("snapshot", crate::snapshot::fuzz::snapshot),
    ("messages", messages::messages),
    ("namespace", crate::namespace::fuzz::namespace),
    ("errors", crate::error::fuzz::errors),
    ("text", text::text),
    ("tls", crate::tls::fuzz::tls),
];
