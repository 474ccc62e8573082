//! Delays between attempts.

use std::time::Duration;

/// The largest part of a delay that jitter takes away.
const JITTER: f64 = 0.2;

/// An endless series of growing delays. Jitter only shortens them, by up to a fifth, so that `max` is never exceeded
/// and callers that failed together do not come back together.
pub(crate) struct Backoff<R = fn() -> f64> {
    base: Duration,
    factor: f64,
    max: Duration,
    next: Duration,
    /// Gives a number in `0.0..1.0`.
    random: R,
}

impl Backoff {
    /// The first delay is `base`, each next one `factor` times the one before, up to `max`.
    pub(crate) fn new(base: Duration, factor: f64, max: Duration) -> Self {
        Self::with_random(base, factor, max, fastrand::f64)
    }
}

impl<R> Backoff<R> {
    /// With another source of randomness; it must give numbers in `0.0..1.0`.
    pub(crate) fn with_random(base: Duration, factor: f64, max: Duration, random: R) -> Self {
        let base = base.min(max);
        Self {
            base,
            factor,
            max,
            next: base,
            random,
        }
    }

    /// Starts again from the first delay.
    pub(crate) fn reset(&mut self) {
        self.next = self.base;
    }
}

impl<R: FnMut() -> f64> Iterator for Backoff<R> {
    type Item = Duration;

    /// Never `None`.
    fn next(&mut self) -> Option<Duration> {
        let delay = self.next;
        // try_from: a factor so large that the product does not fit means the maximum.
        let grown = Duration::try_from_secs_f64(delay.as_secs_f64() * self.factor);
        self.next = grown.map_or(self.max, |grown| grown.min(self.max));
        Some(delay - delay.mul_f64(JITTER * (self.random)()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn delays_double_up_to_the_maximum_and_stay_there() {
        let backoff = Backoff::with_random(MS(200), 2.0, MS(25_600), || 0.0);
        let expected = [
            200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 25_600, 25_600,
        ]
        .map(MS);
        assert_eq!(backoff.take(10).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn jitter_shortens_a_delay_by_at_most_a_fifth_and_does_not_slow_the_growth() {
        let mut randoms = [0.0, 0.5, 1.0, 0.25].into_iter();
        let backoff =
            Backoff::with_random(MS(100), 2.0, MS(10_000), move || randoms.next().unwrap());
        assert_eq!(
            backoff.take(4).collect::<Vec<_>>(),
            [100, 180, 320, 760].map(MS)
        );
    }

    #[test]
    fn random_delays_stay_within_their_bounds() {
        let ideal = Backoff::with_random(MS(25), 1.7, MS(2_000), || 0.0);
        for (delay, ideal) in Backoff::new(MS(25), 1.7, MS(2_000)).zip(ideal).take(1_000) {
            assert!(
                delay <= ideal && delay >= ideal.mul_f64(0.8),
                "{delay:?} of {ideal:?}"
            );
        }
    }

    #[test]
    fn after_a_reset_delays_start_again() {
        let mut backoff = Backoff::with_random(MS(100), 3.0, MS(1_000), || 0.0);
        assert_eq!(
            backoff.by_ref().take(4).collect::<Vec<_>>(),
            [100, 300, 900, 1_000].map(MS)
        );
        backoff.reset();
        assert_eq!(backoff.next(), Some(MS(100)));
    }

    #[test]
    fn extreme_numbers_do_not_panic() {
        let mut backoff = Backoff::with_random(Duration::MAX, f64::MAX, Duration::MAX, || 0.0);
        backoff.next();
        assert_eq!(backoff.next(), Some(Duration::MAX));
        let mut never = Backoff::with_random(Duration::ZERO, 2.0, MS(1), || 0.0);
        assert_eq!(never.nth(9), Some(Duration::ZERO));
        let mut capped = Backoff::with_random(MS(500), 2.0, MS(100), || 0.0);
        assert_eq!(capped.next(), Some(MS(100)));
    }
}
