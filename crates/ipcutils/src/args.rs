//! What the tools' options share: parsers of values, and groups of options.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::builder::{OsStringValueParser, TypedValueParser};
use libipc::address::{Address, Kind, KindAddress, Proj};
use libipc::inventory::Pattern;
use libipc::mode::Mode;
use libipc::mq::{Create, Queue};
use libipc::text::printable;
use libipc::wait::Limit;
use libipc::{Error, ErrorKind};

use crate::app::Io;
use crate::columns::{self, Column};

/// What addresses look like, for help texts.
pub const ADDRESS_HELP: &str = "/name, key:N, id:N, ftok:PATH[:PROJ], private: or file:PATH";

/// What addresses of queues look like, for help texts.
pub const QUEUE_HELP: &str = "/name, key:N, id:N or ftok:PATH[:PROJ]";

/// What addresses of semaphores look like, for help texts.
pub const SEMAPHORE_HELP: &str = "/name, key:N, id:N, ftok:PATH[:PROJ] or private:";

/// What addresses of locks look like, for help texts.
pub const LOCK_HELP: &str = "/name or file:PATH; made if it is absent";

/// What addresses of rings look like, for help texts.
pub const RING_HELP: &str = "/name or file:PATH";

/// The largest type of a System V message.
pub const LAST_TYPE: u64 = i64::MAX as u64;

/// The last line of each help.
pub const AFTER_HELP: &str = "Addresses, durations and exit statuses: see ipcutils(7).";

/// An ADDRESS of a tool that knows the kind.
pub fn address() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|text: OsString| Address::parse(&text))
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

/// Columns that were chosen.
#[derive(Clone, Debug)]
pub struct Columns(pub Vec<&'static Column>);

/// COLUMN,...
pub fn columns(text: &str) -> Result<Columns, String> {
    let column = |word: &str| {
        let words = || columns::ALL.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        Column::find(word).ok_or_else(|| format!("{word:?} is no column: choose from {}", words()))
    };
    text.split(',').map(column).collect::<Result<_, _>>().map(Columns)
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
    bits.and_then(Mode::from_bits).ok_or_else(|| format!("{text:?} is no mode: an octal number up to 777"))
}

/// A number of bytes, with K, M, G or T for powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number = decimal(digits).and_then(|number| number.checked_mul(1 << shift));
    // Sizes and offsets of files are signed.
    number
        .filter(|&number| i64::try_from(number).is_ok())
        .ok_or_else(|| format!("{text:?} is no size: a number, with K, M, G or T for powers of 1024"))
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

/// A number of bytes for people: four digits at most, then K, M, G...
pub fn human_size(bytes: u64) -> String {
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
pub fn human_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// The seconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// A moment in seconds since the epoch as RFC 3339 has it, in UTC.
pub fn timestamp(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    // The civil calendar in eras of 400 years, each of which begins on a 1 March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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

/// How long to wait.
#[derive(clap::Args, Debug)]
pub struct Waiting {
    /// Do not wait: status 75 instead
    #[arg(short, long, conflicts_with = "timeout")]
    nonblock: bool,
    /// Wait no longer than this: 2, .5, 1m30s
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Status instead of 75 and 124
    #[arg(short = 'E', long, value_name = "CODE", value_parser = exit_status)]
    pub busy_status: Option<u8>,
}

impl Waiting {
    /// The same for the library.
    pub fn limit(&self) -> Limit {
        match self.timeout {
            _ if self.nonblock => Limit::Nonblock,
            Some(timeout) => Limit::Within(timeout),
            None => Limit::Forever,
        }
    }
}

/// How to make a queue.
#[derive(clap::Args, Debug)]
pub struct NewQueue {
    /// Create the queue if it is absent
    #[arg(short, long)]
    create: bool,
    /// POSIX: the number of messages it holds
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX))]
    max_messages: Option<u64>,
    /// POSIX: the largest message in bytes
    #[arg(long, value_name = "N", value_parser = positive_size)]
    message_size: Option<u64>,
    /// Its permissions, less the umask [default: 0600]
    #[arg(short, long, value_name = "OCTAL", value_parser = mode)]
    mode: Option<Mode>,
    /// Say if an existing queue has other limits
    #[arg(short, long)]
    verbose: bool,
}

impl NewQueue {
    /// Whether -c was given.
    pub fn is_asked_for(&self) -> bool {
        self.create
    }

    /// The same for the library; None if no queue is to be made.
    pub fn wanted(&self, exclusive: bool, private: bool, address: &Address) -> Result<Option<Create>, Error> {
        let NewQueue { mode, max_messages, message_size, .. } = *self;
        if self.create || exclusive || private {
            return Ok(Some(Create { exclusive, mode, max_messages, message_size }));
        }
        if mode.is_some() || max_messages.is_some() || message_size.is_some() {
            let what = "--mode, --max-messages and --message-size are for a new queue";
            return Err(Error::new(ErrorKind::Usage, address, what).mend("say -c to create it"));
        }
        Ok(None)
    }

    /// With -v, say that a queue which exists is not what was asked for.
    pub fn report_other_limits(&self, io: &Io<'_>, tool: &str, address: &Address, queue: &Queue) {
        let Queue::Posix(posix) = queue else { return };
        let has = posix.attributes();
        let differs = |asked: Option<u64>, has: i64| asked.is_some_and(|asked| i64::try_from(asked) != Ok(has));
        if self.verbose
            && (differs(self.max_messages, has.max_messages) || differs(self.message_size, has.message_size))
        {
            let (messages, size) = (has.max_messages, has.message_size);
            io.complain(format_args!("{tool}: {address}: exists already, with {messages} messages of {size} bytes"));
        }
    }
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
        for text in ["", "K", "-1", "+1", " 1", "1 ", "1k", "1KB", "0x10", "1.5K", "9223372036854775808", "8388608T"] {
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
            assert_eq!(human_size(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400 * 400, "400d")] {
            assert_eq!(human_age(Duration::from_secs(seconds)), text);
        }
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_577_622, "2026-11-25T03:33:42Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(timestamp(seconds), text);
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
