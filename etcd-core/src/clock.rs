//! The clock that leases are counted on.

use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time on a clock that never goes back, cannot be set, and goes on while the machine sleeps.
///
/// `std::time::Instant` does not count suspend on Linux: after an hour of sleep it would still call a ten-second lease
/// valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BootInstant(Duration);

impl Add<Duration> for BootInstant {
    type Output = Self;

    /// Saturates: a lifetime read off the wire can be as long as an `i64` of seconds.
    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(more))
    }
}

impl Sub for BootInstant {
    type Output = Duration;

    /// The time since `earlier`; zero when `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    /// The machine's own clock.
    #[default]
    Boot,
    /// Stands still until a test moves it.
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::Mutex<BootInstant>>),
}

impl Clock {
    pub(crate) fn now(&self) -> BootInstant {
        match self {
            Self::Boot => boot_now(),
            #[cfg(test)]
            Self::Manual(now) => *now.lock().unwrap(),
        }
    }
}

/// Now, on the machine's clock.
pub(crate) fn boot_now() -> BootInstant {
    let time = clock_gettime(SUSPEND_AWARE);
    // Both are non-negative: the clock starts at boot.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    BootInstant(Duration::new(seconds, nanos))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SUSPEND_AWARE: ClockId = ClockId::Boottime;
/// Elsewhere the monotonic clock is the one that goes on during sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SUSPEND_AWARE: ClockId = ClockId::Monotonic;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_and_its_arithmetic_saturates() {
        let earlier = Clock::default().now();
        let later = earlier + Duration::from_millis(5);
        assert_eq!(later - earlier, Duration::from_millis(5));
        assert_eq!(earlier - later, Duration::ZERO);
        assert_eq!(
            (later + Duration::MAX) - BootInstant::default(),
            Duration::MAX
        );
        assert!(Clock::default().now() >= earlier);
    }
}
