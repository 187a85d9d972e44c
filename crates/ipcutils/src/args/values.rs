//! Parsers of values. They are strict: no number wraps, and nothing is taken for
//! something else.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use libipc::address::{Address, Kind, KindAddress, Proj};
use libipc::inventory::Pattern;
use libipc::mode::Mode;
use libipc::text::printable;

use crate::show::{Column, Columns};

/// The largest type of a System V message.
pub const LAST_TYPE: u64 = i64::MAX as u64;

/// The ADDRESS of an object of this kind. One that such an object cannot have is
/// refused before anything is opened.
pub fn address(kind: Kind) -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(move |text: OsString| kind.parse(&text))
}

/// KIND:ADDRESS.
pub fn kind_address() -> impl TypedValueParser<Value = KindAddress> {
    OsStringValueParser::new().try_map(|text: OsString| KindAddress::parse(&text))
}

/// A kind of object.
pub fn kind(word: &str) -> Result<Kind, String> {
    let words = || Kind::ALL.map(Kind::as_str).join(", ");
    Kind::from_bytes(word.as_bytes()).ok_or_else(|| format!("{word:?} is no kind: one of {}", words()))
}

/// A pattern of the shell.
pub fn pattern() -> impl TypedValueParser<Value = Pattern> {
    OsStringValueParser::new().try_map(|text: OsString| Pattern::new(&text).ok_or("a pattern has no NUL"))
}

/// COLUMN,...
pub fn columns(text: &str) -> Result<Columns, String> {
    let column = |word: &str| {
        let words = || Column::ALL.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        Column::find(word).ok_or_else(|| format!("{word:?} is no column: choose from {}", words()))
    };
    text.split(',').map(column).collect::<Result<_, _>>().map(Columns)
}

/// COLUMN or -COLUMN: true for the largest first.
pub fn sort_key(text: &str) -> Result<(&'static Column, bool), String> {
    let (word, reverse) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
    columns(word).and_then(|columns| match columns.0[..] {
        [column] => Ok((column, reverse)),
        _ => Err("one column sorts".to_owned()),
    })
}

/// PROJ of ftok(3).
pub fn proj() -> impl TypedValueParser<Value = Proj> {
    OsStringValueParser::new().try_map(|text: OsString| {
        let refused = || format!("{}: PROJ is a number from 1 to 255 or one character", printable(&text));
        Proj::parse(&text).ok_or_else(refused)
    })
}

/// Permission bits in octal.
pub fn mode(text: &str) -> Result<Mode, String> {
    let octal = !text.is_empty() && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let bits = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    bits.and_then(Mode::exact).ok_or_else(|| format!("{text:?} is no mode: an octal number up to 777"))
}

/// A number of bytes, with K, M, G or T for powers of 1024: `4096`, `64K`, `64KiB`,
/// `1.5G`.
pub fn size(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" if unit.is_empty() => Some(0),
        "K" | "k" => Some(10),
        "M" | "m" => Some(20),
        "G" | "g" => Some(30),
        "T" | "t" => Some(40),
        _ => None,
    };
    // Sizes and offsets of files are signed.
    shift.and_then(|shift| scaled(number, shift)).filter(|&number| i64::try_from(number).is_ok()).ok_or_else(|| {
        format!("{text:?} is no size: a number, as 4096, or with K, M, G or T for powers of 1024, as 64K or 1.5G")
    })
}

/// A number times a power of two, which must be whole: there is no half byte.
fn scaled(number: &str, shift: u32) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // More digits would not fit; a whole result needs no more.
    if number.ends_with('.') || whole.is_empty() || part.len() > 18 {
        return None;
    }
    let ten = 10u128.pow(part.len() as u32);
    let digits = u128::from(decimal(whole)?) * ten + u128::from(if part.is_empty() { 0 } else { decimal(part)? });
    let product = digits.checked_mul(1 << shift)?;
    // 0.1G is as many whole bytes as are in it.
    if shift == 0 && product % ten != 0 { None } else { u64::try_from(product / ten).ok() }
}

/// A size of at least a byte.
pub fn positive_size(text: &str) -> Result<u64, String> {
    size(text).and_then(|size| if size > 0 { Ok(size) } else { Err("must be at least 1".to_owned()) })
}

/// The size of a ring: a page or more.
pub fn ring_size(text: &str) -> Result<u64, String> {
    let least = libipc::ring::SMALLEST;
    size(text).and_then(|size| if size >= least { Ok(size) } else { Err(format!("must be at least {least}")) })
}

/// A number in decimal digits within a range.
pub fn number<T: TryFrom<u64> + Copy>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = decimal(text).filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match (range.start(), range.end()) {
            (begin, &u64::MAX) => format!("{text:?} is no number from {begin} on"),
            (begin, end) => format!("{text:?} is no number from {begin} to {end}"),
        })
    }
}

/// Digits alone: from_str would take a plus sign.
fn decimal(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// A duration: `2`, `.5`, `500ms`, `1m30s`; seconds where no unit is given.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| format!("{text:?} is no duration: seconds, as 2 or .5, or with units, as 500ms or 1m30s"))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut last_unit = f64::INFINITY;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let next = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(next);
        let seconds = match unit {
            "d" => 86400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "" if rest == text => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        // Units go down, each once: 1m30s, not 30s1m.
        if seconds >= last_unit || !number.bytes().any(|c| c.is_ascii_digit()) {
            return None;
        }
        last_unit = seconds;
        let part = number.parse::<f64>().ok()? * seconds;
        total = total.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// A duration that is not 0.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|duration| if duration.is_zero() { Err("must be more than 0".into()) } else { Ok(duration) })
}

/// An exit status for `-E`.
pub fn exit_status(text: &str) -> Result<u8, String> {
    decimal(text)
        .and_then(|status| u8::try_from(status).ok())
        .ok_or_else(|| format!("{text:?} is no exit status: a number from 0 to 255"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m9_sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("2K"), Ok(2048));
        assert_eq!(size("1M"), Ok(1 << 20));
        assert_eq!(size("3G"), Ok(3 << 30));
        assert_eq!(size("1T"), Ok(1 << 40));
        for (text, bytes) in [("2k", 2048), ("64KiB", 65536), ("1MiB", 1 << 20), ("10m", 10 << 20), ("1g", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes));
        }
        assert_eq!(size("1.5K"), Ok(1536));
        assert_eq!(size("1.5G"), Ok(3 << 29));
        assert_eq!(size("0.5M"), Ok(1 << 19));
        assert_eq!(size("0.1K"), Ok(102));
        assert_eq!(size("4.0"), Ok(4));
        let (words, large) =
            (["", "K", "KiB", "-1", "+1", " 1", "1 ", "1KB", "1iB", "1 K", "0x10"], "9223372036854775808");
        for text in words.into_iter().chain([large, "8388608T", "1.5", ".5K", "1.K", "1.5.5K", "1e3", "9e9G"]) {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn m9_durations() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("0", ms(0)),
            ("2", ms(2000)),
            (".5", ms(500)),
            ("0.25", ms(250)),
            ("500ms", ms(500)),
            ("1m30s", ms(90_000)),
            ("1.5h", ms(5_400_000)),
            ("1d", ms(86_400_000)),
            ("2s", ms(2000)),
            ("2.", ms(2000)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text:?}");
        }
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1x",
            "s",
            "1 s",
            " 1",
            "1e3",
            "inf",
            "nan",
            "1s1s",
            "30s1m",
            "1m30",
            "1..5",
            "99999999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn m9_modes_and_statuses() {
        assert_eq!(mode("0640").map(Mode::bits), Ok(0o640));
        assert_eq!(mode("0").map(Mode::bits), Ok(0));
        for text in ["", "8", "1777", "0o600", "-1", "+600", "u=rw", "77777777777777"] {
            assert!(mode(text).is_err(), "{text:?}");
        }
        assert_eq!(exit_status("255"), Ok(255));
        for text in ["", "256", "-1", "+1", "1.0"] {
            assert!(exit_status(text).is_err(), "{text:?}");
        }
    }
}
