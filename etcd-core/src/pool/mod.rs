//! Which endpoint, which connection.

#[cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "its users come with the pool")
)]
pub(crate) mod state;
