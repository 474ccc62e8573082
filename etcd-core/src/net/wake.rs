//! Wakes the connection task, once for many reasons.
//!
//! While the task runs, wake-ups (h2 sends one for every frame we queue) only leave a mark, which the task looks at before
//! it sleeps. One atomic carries both flags and is only changed by read-modify-write, so a wake-up can be neither lost
//! between "I am running" and "I sleep" nor reordered around them.

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicU8, Ordering},
};
use std::sync::{Arc, PoisonError};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicU8, Ordering},
};
use std::task::{Wake, Waker};

/// The task is inside its poll.
const RUNNING: u8 = 1;
/// Something happened that the task has not looked at.
const DIRTY: u8 = 2;

/// The task's end and the wakers' end at once; see the module.
#[derive(Debug)]
pub(crate) struct TaskWake {
    flags: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl TaskWake {
    pub(crate) fn new() -> Self {
        Self {
            flags: AtomicU8::new(0),
            task: Mutex::new(None),
        }
    }

    /// The task starts a poll.
    pub(crate) fn enter(&self, waker: &Waker) {
        {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *task = Some(waker.clone());
            }
        }
        self.flags.swap(RUNNING, Ordering::SeqCst);
    }

    /// Forgets the marks left so far; the task is about to look at everything.
    pub(crate) fn clear(&self) {
        self.flags.swap(RUNNING, Ordering::SeqCst);
    }

    /// Was a mark left since the task last looked?
    pub(crate) fn is_dirty(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & DIRTY != 0
    }

    /// The task wants to sleep; true if it must look again instead.
    pub(crate) fn leave(&self) -> bool {
        self.flags.swap(0, Ordering::SeqCst) & DIRTY != 0
    }

    /// Makes the task look again, now or when it next would sleep.
    pub(crate) fn announce(&self) {
        if self.flags.fetch_or(DIRTY, Ordering::SeqCst) == 0 {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waker) = task.as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.announce();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.announce();
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::Notify;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    /// A loom-parked thread as a task.
    struct Parked(Notify);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    /// The work itself is relaxed, so that only the flags can carry it from the announcer to the task.
    #[test]
    fn the_task_never_sleeps_over_work_that_was_announced() {
        let mut model = loom::model::Builder::new();
        // Without a bound the search takes minutes.
        model.preemption_bound = Some(3);
        model.check(|| {
            let wake = Arc::new(TaskWake::new());
            let work = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
            let parked = Arc::new(Parked(Notify::new()));

            let announcers: Vec<_> = (0..work.len())
                .map(|i| {
                    let (wake, work) = (wake.clone(), work.clone());
                    thread::spawn(move || {
                        work[i].store(true, Ordering::Relaxed);
                        wake.announce();
                    })
                })
                .collect();

            let waker = Waker::from(parked.clone());
            let all_done = || work.iter().all(|item| item.load(Ordering::Relaxed));
            loop {
                wake.enter(&waker);
                let early = all_done();
                wake.clear();
                if all_done() || early {
                    break;
                }
                if !wake.leave() {
                    parked.0.wait();
                }
            }
            for announcer in announcers {
                announcer.join().unwrap();
            }
        });
    }
}
