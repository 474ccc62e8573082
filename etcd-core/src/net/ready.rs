//! The list of calls whose streams have news, filled by their wakers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use super::wake::TaskWake;

/// Keys of calls that have news.
pub(super) struct Ready {
    keys: Mutex<Vec<usize>>,
    wake: Arc<TaskWake>,
}

/// The waker of one call: lists it, once.
pub(super) struct SlotWaker {
    key: usize,
    listed: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    /// `wake`: of the task that reads the list.
    pub(super) fn new(wake: Arc<TaskWake>) -> Self {
        let keys = Mutex::default();
        Self { keys, wake }
    }

    /// Takes the list, and leaves `empty` in its place.
    pub(super) fn swap(&self, empty: &mut Vec<usize>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *keys, empty);
    }
}

impl SlotWaker {
    pub(super) fn new(key: usize, ready: Arc<Ready>) -> Self {
        let listed = AtomicBool::new(false);
        Self { key, listed, ready }
    }

    /// News from here on list the call again.
    pub(super) fn unlist(&self) {
        self.listed.store(false, Ordering::SeqCst);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.listed.swap(true, Ordering::SeqCst) {
            let keys = &self.ready.keys;
            let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.push(self.key);
            drop(keys);
            self.ready.wake.announce();
        }
    }
}
