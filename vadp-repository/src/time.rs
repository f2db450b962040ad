//! Times as the format stores them: microseconds since 1970, see docs/repository-format.md, "Encoding".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MICROS_OF_A_DAY: i64 = 86_400_000_000;

/// Rounds down to microseconds. Times that the format cannot hold (292,000 years away) become the nearest that it can.
pub(crate) fn to_micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => {
            let micros = before.duration().as_nanos().div_ceil(1000);
            i64::try_from(micros).map_or(i64::MIN, |micros| -micros)
        }
    }
}

/// Days since 1970-01-01, UTC.
pub(crate) fn day(time: SystemTime) -> i64 {
    to_micros(time).div_euclid(MICROS_OF_A_DAY)
}

/// The beginning of a day.
pub(crate) fn from_day(day: i64) -> SystemTime {
    from_micros(day.saturating_mul(MICROS_OF_A_DAY))
}

pub(crate) fn from_micros(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let time = match micros < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    // A platform whose clock cannot express a hostile time gets the epoch instead of a panic.
    time.unwrap_or(UNIX_EPOCH)
}
