//! Durations as people write them.

use std::time::Duration;

const EXPECTED: &str = "a number of seconds, or numbers with units such as 250ms, 5s, 1m30s";

/// Reads `5`, `0.5`, `250ms`, `1m30s`: seconds where there is no unit.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    read(text.trim()).ok_or_else(|| format!("`{text}` is no duration; expected {EXPECTED}"))
}

/// A number of seconds.
#[cfg(feature = "serde")]
pub(super) fn seconds(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("`{seconds}` is no duration; expected {EXPECTED}"))
}

fn read(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let number;
        let unit;
        (number, rest) = split(rest, |c| c.is_ascii_digit() || c == '.');
        (unit, rest) = split(rest, |c| c.is_ascii_alphabetic());
        let unit = match unit {
            "us" => 0.000_001,
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            // Only a number that is all there is.
            "" if number.len() == text.len() => 1.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// The longest beginning made of such characters, and the rest.
fn split(text: &str, of: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !of(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("5", 5_000),
            ("0.25", 250),
            (".5", 500),
            ("250ms", 250),
            ("5s", 5_000),
            (" 1.5s ", 1_500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h1m1s1ms", 3_661_001),
            ("150ms", 150),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("10us"), Ok(Duration::from_micros(10)));
    }

    #[test]
    fn what_is_no_duration_is_refused_and_named() {
        for text in [
            "",
            " ",
            "s",
            "-5s",
            "+5",
            "5 s",
            "5x",
            "5S",
            "1.2.3s",
            ".",
            "1e3",
            "inf",
            "NaN",
            "5s5",
            "5ss",
            "1d",
            "99999999999999999999999h",
            "5s\u{b5}",
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(
                wrong.contains(&format!("`{text}`")) && wrong.contains("1m30s"),
                "{wrong}"
            );
        }
    }
}
