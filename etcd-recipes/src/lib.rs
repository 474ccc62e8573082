//! Coordination recipes on etcd.
//!
//! Two foundations, on which the other recipes will stand:
//!
//! - [`session`]: a lease kept alive, shared by several recipes, with its loss as a future;
//! - [`observer`]: a key range as it is, and every change from then on.
//!
//! Recipes use nothing but the public API of `etcd-core`.

pub mod observer;
pub mod session;

pub use observer::Observer;
pub use session::Session;
