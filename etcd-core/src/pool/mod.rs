//! Which endpoint, which connection.

#[allow(dead_code, unused_imports, reason = "its users come with the pool")]
pub(crate) mod state;
