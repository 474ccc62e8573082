//! A watcher's states.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use super::meter;

/// Where a watcher stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchState {
    /// No server has confirmed it yet.
    Starting,
    /// A server feeds it.
    Connected,
    /// Its stream is lost; it is to go on on another one.
    Resuming,
    /// Its reader is behind; it is cancelled on the server.
    Parked,
    /// It is being sent what it missed.
    CatchingUp,
}

impl WatchState {
    fn name(self) -> &'static str {
        match self {
            WatchState::Starting => "Starting",
            WatchState::Connected => "Connected",
            WatchState::Resuming => "Resuming",
            WatchState::Parked => "Parked",
            WatchState::CatchingUp => "CatchingUp",
        }
    }
}

/// One watcher. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(Mutex<WatchState>);

impl Watch {
    pub(crate) fn begin() -> Self {
        meter::watcher(None, Some(WatchState::Starting.name()));
        Self(Mutex::new(WatchState::Starting))
    }

    /// It stands elsewhere now. A stream that is lost takes nothing from a watcher that is parked, one that catches up is
    /// created on a server on its way, and only one that catches up can have caught up.
    pub(crate) fn turn(&self, to: WatchState, range: &dyn Debug, next_revision: i64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = *state;
        if from == to || (from == WatchState::Parked && to == WatchState::Resuming) {
            return;
        }
        *state = to;
        drop(state);
        meter::watcher(Some(from.name()), Some(to.name()));
        let (from, to) = (from.name(), to.name());
        tracing::debug!(target: "etcd_core::watch", ?range, next_revision, from, to, "watch state");
    }

    pub(crate) fn state(&self) -> WatchState {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        meter::watcher(Some(self.state().name()), None);
    }
}
