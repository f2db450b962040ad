//! `xsd:dateTime` and the Gregorian calendar.

use std::time::Duration;

const DAY: i64 = 86_400;

/// Time since 1970 of `YYYY-MM-DDThh:mm:ss[.fraction][Z|±hh:mm]`; without a zone it is taken as UTC.
///
/// `None` for what is not written so, for days and hours that do not exist, and for moments before 1970. The second 60 is
/// taken as the one after it. Fractions beyond the ninth digit are dropped.
pub(super) fn since_epoch(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        None => (time, 0),
        Some(at) => (time.get(..at)?, zone(time.get(at..)?)?),
    };
    let (clock, nanos) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, nanoseconds(fraction)?),
        None => (clock, 0),
    };
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let is_midnight = (hour, minute, second, nanos) == (24, 0, 0, 0);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if !is_midnight && (hour > 23 || minute > 59 || second > 60) {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok().map(|seconds| Duration::new(seconds, nanos))
}

/// Year, month and day of the day that many days after 1970-01-01.
pub(super) fn date(days_since_epoch: u64) -> (u64, u64, u64) {
    // A cycle of 400 years has 146,097 days. Counted from March, the leap day is the last of its year; 719,468 days lie
    // between the first of March of the year 0 and 1970.
    let day = days_since_epoch + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let in_month = day - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, in_month)
}

/// Days since 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds east of UTC of `Z` or `±hh:mm`.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let [hours, minutes] = fields(rest, ':', [2, 2])?;
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(9)];
    let missing = u32::try_from(9 - digits.len()).ok()?;
    Some(digits.parse::<u32>().ok()? * 10_u32.pow(missing))
}

/// Numbers of so many digits each, with a separator between them and nothing else.
fn fields<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut out = [0; N];
    let mut parts = text.split(separator);
    for (field, length) in out.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length)?;
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *field = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}
