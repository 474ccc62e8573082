//! The budget that retries share, so that a cluster in trouble does not get a multiple of its normal load.

use std::sync::atomic::{AtomicI64, Ordering};

/// What one call adds, in thousandths of a retry: retries are at most a tenth of the calls, in the long run.
const PER_CALL: i64 = 100;
const PER_RETRY: i64 = 1000;
/// What may be saved up: a burst of this many retries.
const MOST: i64 = 1000 * PER_RETRY;

/// A token bucket. It is full at the start.
#[derive(Debug)]
pub(crate) struct Budget(AtomicI64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(MOST))
    }
}

impl Budget {
    /// A call was made.
    pub(crate) fn call(&self) {
        // Two threads may overshoot the limit by a call each; it does not matter.
        if self.0.load(Ordering::Relaxed) < MOST {
            self.0.fetch_add(PER_CALL, Ordering::Relaxed);
        }
    }

    /// May one call be retried at once? Otherwise it has to wait longer; no call fails for want of budget.
    pub(crate) fn retry(&self) -> bool {
        let take = |left: i64| (left >= PER_RETRY).then_some(left - PER_RETRY);
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_calls_after_the_burst() {
        let budget = Budget::default();
        let burst = (0..10_000).filter(|_| budget.retry()).count();
        assert_eq!(burst, 1000);
        let mut retries = 0;
        for _ in 0..10_000 {
            budget.call();
            retries += usize::from(budget.retry());
        }
        assert_eq!(retries, 1000);
    }
}
