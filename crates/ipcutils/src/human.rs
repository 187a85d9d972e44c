//! Sizes, ages and moments for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number of bytes for people: up to four digits, else with K, M, G...
pub fn size(bytes: u64) -> String {
    if bytes < 10_000 {
        return bytes.to_string();
    }
    let mut size = bytes as f64;
    for unit in ["K", "M", "G", "T", "P", "E"] {
        size /= 1024.0;
        if size < 999.5 || unit == "E" {
            return if size < 9.95 { format!("{size:.1}{unit}") } else { format!("{size:.0}{unit}") };
        }
    }
    bytes.to_string()
}

/// A duration for people, in its largest unit.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// A moment in the form of RFC 3339, in UTC, without fractions of a second. A moment
/// beyond the calendar becomes its first or its last.
pub fn timestamp(moment: SystemTime) -> String {
    let seconds = match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = before.as_secs() + u64::from(before.subsec_nanos() > 0);
            i64::try_from(whole).map_or(i64::MIN, |seconds| -seconds)
        }
    };
    let moment = jiff::Timestamp::from_second(seconds);
    moment.unwrap_or(if seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX }).to_string()
}

/// This moment in the same form, with milliseconds.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_ages_and_moments_for_people() {
        for (bytes, text) in [
            (0, "0"),
            (9999, "9999"),
            (10_240, "10K"),
            (10_000, "9.8K"),
            (1_048_575, "1.0M"),
            (5 << 30, "5.0G"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400 * 400, "400d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_577_622, "2026-11-25T03:33:42Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_nanos(1)), "1969-12-31T23:59:59Z");
        assert!(timestamp(UNIX_EPOCH + Duration::from_secs(i64::MAX as u64)).starts_with("9999-12-30"));
    }
}
