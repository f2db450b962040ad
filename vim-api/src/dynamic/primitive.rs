use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Element, Value};
use crate::xml::{Reader, Start, Writer, XmlError};

/// An `xsd:dateTime`, kept as it was sent. vSphere sends UTC with up to nine fraction digits.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct DateTime(Box<str>);

impl DateTime {
    /// The text, such as `2026-11-22T22:19:03.123456Z`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The moment, with nanoseconds; `None` when the text is no `xsd:dateTime` or lies before 1970.
    pub fn to_system_time(&self) -> Option<SystemTime> {
        parse_date_time(&self.0).map(|since_epoch| SystemTime::UNIX_EPOCH + since_epoch)
    }
}

impl From<SystemTime> for DateTime {
    /// In UTC with microseconds. A moment before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = civil_from_days(since_epoch.as_secs() / 86_400);
        let second = since_epoch.as_secs() % 86_400;
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            since_epoch.subsec_micros()
        );
        Self(text.into())
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An `xsd:base64Binary`, decoded.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Vec<u8>);

impl Binary {
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

/// Implements [`Element`] for a type with a plain text form.
macro_rules! text_element {
    ($type:ty, $name:literal, $variant:ident, $parse:expr, |$value:ident, $writer:ident| $write:expr) => {
        impl Element for $type {
            const NAME: &'static str = $name;

            fn decode(reader: &mut Reader<'_>, _: &Start<'_>) -> Result<Self, XmlError> {
                let text = reader.text()?;
                let parse: fn(Cow<'_, str>) -> Option<$type> = $parse;
                // Formatting the error needs the text, which the parser may have taken.
                let shown = if text.len() < 80 { text.clone() } else { Cow::Borrowed("(long text)") };
                parse(text).ok_or_else(|| reader.bad_value(format!("\"{shown}\" is no xsd:{}", $name)))
            }

            fn encode(&self, name: &str, $writer: &mut Writer) {
                let $value = self;
                $writer.open(name);
                $write;
                $writer.close(name);
            }

            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn from_value(value: Value) -> Result<Self, Value> {
                match value {
                    Value::$variant(v) => Ok(v),
                    other => Err(other),
                }
            }
        }
    };
}

text_element!(bool, "boolean", Bool, |t| match t.trim() {
    "true" | "1" => Some(true),
    "false" | "0" => Some(false),
    _ => None,
}, |v, w| w.display(v));
text_element!(i8, "byte", Byte, |t| t.trim().parse().ok(), |v, w| w.display(v));
text_element!(i16, "short", Short, |t| t.trim().parse().ok(), |v, w| w.display(v));
text_element!(i32, "int", Int, |t| t.trim().parse().ok(), |v, w| w.display(v));
text_element!(i64, "long", Long, |t| t.trim().parse().ok(), |v, w| w.display(v));
text_element!(f32, "float", Float, |t| parse_float(&t).map(|v| v as f32), |v, w| write_float(f64::from(*v), w));
text_element!(f64, "double", Double, |t| parse_float(&t), |v, w| write_float(*v, w));
text_element!(String, "string", String, |t| Some(t.into_owned()), |v, w| w.text(v));
text_element!(DateTime, "dateTime", DateTime, |t| Some(DateTime(t.trim().into())), |v, w| w.text(&v.0));
text_element!(Binary, "base64Binary", Binary, |t| {
    let compact: String = t.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok().map(Binary)
}, |v, w| w.raw(&v.to_base64()));

/// XML Schema writes infinity as `INF`, which Rust does not.
fn parse_float(text: &str) -> Option<f64> {
    match text.trim() {
        "INF" => Some(f64::INFINITY),
        "-INF" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        other => other.parse().ok(),
    }
}

fn write_float(value: f64, writer: &mut Writer) {
    if value.is_infinite() {
        writer.raw(if value > 0.0 { "INF" } else { "-INF" });
    } else {
        writer.display(value);
    }
}

/// Time since 1970 of `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm|)`; without a zone it is taken as UTC.
fn parse_date_time(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let year: i64 = parts.next()?.parse().ok().filter(|y| (1970..=9999).contains(y))?;
    let month: i64 = parts.next()?.parse().ok().filter(|m| (1..=12).contains(m))?;
    let day: i64 = parts.next()?.parse().ok().filter(|d| (1..=31).contains(d))?;
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        None => (time, 0),
        Some(at) if &time[at..] == "Z" => (&time[..at], 0),
        Some(at) => {
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            let seconds = hours.parse::<i64>().ok()?.checked_mul(3600)? + minutes.parse::<i64>().ok()?.checked_mul(60)?;
            (&time[..at], if time[at..].starts_with('-') { -seconds } else { seconds })
        }
    };
    let mut parts = clock.splitn(3, ':');
    let hour: i64 = parts.next()?.parse().ok().filter(|h| (0..=24).contains(h))?;
    let minute: i64 = parts.next()?.parse().ok().filter(|m| (0..=59).contains(m))?;
    let (second, fraction) = match parts.next()?.split_once('.') {
        Some((second, fraction)) => (second.to_owned(), format!("{fraction:0<9}")),
        None => (clock.rsplit(':').next()?.to_owned(), "0".to_owned()),
    };
    let second: i64 = second.parse().ok().filter(|s| (0..=60).contains(s))?;
    let nanos: u32 = fraction.get(..fraction.len().min(9))?.parse().ok()?;
    let total = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(total).ok().map(|seconds| Duration::new(seconds, nanos))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that the leap day is
/// the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

fn civil_from_days(days: u64) -> (i64, i64, i64) {
    let days = i64::try_from(days).unwrap_or(0);
    // Start at an estimate that is never too late, then step.
    let mut year = 1970 + days / 366;
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_from_civil(year, month + 1, 1) <= days {
        month += 1;
    }
    (year, month, days - days_from_civil(year, month, 1) + 1)
}
