//! Narration: one plain line each, with the time since the start.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Prints a line with the time since the first one.
macro_rules! say {
    ($($arg:tt)*) => {
        $crate::say::line(&format!($($arg)*))
    };
}
pub(crate) use say;

pub(crate) fn line(text: &str) {
    let start = *START;
    println!("{:7.3} s  {text}", start.elapsed().as_secs_f64());
}

pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
