use std::fmt;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Element, Value, calendar};
use crate::xml::{Reader, Start, Writer, XmlError};

/// An `xsd:dateTime`, kept as it was sent. vSphere sends UTC with up to nine fraction digits.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct DateTime(Box<str>);

impl DateTime {
    /// The text, such as `2026-11-22T22:19:03.123456Z`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The moment, with nanoseconds; `None` when the text is no `xsd:dateTime` or lies before 1970. A time without a zone is
    /// taken as UTC.
    pub fn to_system_time(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(calendar::since_epoch(&self.0)?)
    }
}

impl From<SystemTime> for DateTime {
    /// In UTC with microseconds. A moment before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = calendar::date(since_epoch.as_secs() / 86_400);
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
    ($type:ty, $name:literal, $variant:ident, |$reader:ident, $text:ident| $read:expr, |$value:ident, $writer:ident| $write:expr) => {
        impl Element for $type {
            const NAME: &'static str = $name;

            fn decode($reader: &mut Reader<'_>, _: &Start<'_>) -> Result<Self, XmlError> {
                let $text = $reader.text()?;
                $read
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

text_element!(
    bool,
    "boolean",
    Bool,
    |r, t| parse(r, &t, "boolean", |t| match t {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }),
    |v, w| w.display(v)
);
text_element!(i8, "byte", Byte, |r, t| parse(r, &t, "byte", |t| t.parse().ok()), |v, w| w.display(v));
text_element!(i16, "short", Short, |r, t| parse(r, &t, "short", |t| t.parse().ok()), |v, w| w.display(v));
text_element!(i32, "int", Int, |r, t| parse(r, &t, "int", |t| t.parse().ok()), |v, w| w.display(v));
text_element!(i64, "long", Long, |r, t| parse(r, &t, "long", |t| t.parse().ok()), |v, w| w.display(v));
text_element!(f32, "float", Float, |r, t| parse(r, &t, "float", parse_float), |v, w| write_float(*v, w));
text_element!(f64, "double", Double, |r, t| parse(r, &t, "double", parse_float), |v, w| write_float(*v, w));
text_element!(String, "string", String, |_r, t| Ok(t.into_owned()), |v, w| w.text(v));
text_element!(DateTime, "dateTime", DateTime, |_r, t| Ok(DateTime(t.trim().into())), |v, w| w.text(&v.0));
text_element!(
    Binary,
    "base64Binary",
    Binary,
    |r, t| {
        let compact: String = t.split_ascii_whitespace().collect();
        // The text is not shown: some fields of this type are secrets.
        STANDARD.decode(compact).map(Binary).map_err(|e| r.bad_value(format!("no xsd:base64Binary: {e}")))
    },
    |v, w| w.raw(&v.to_base64())
);

fn parse<T>(
    reader: &Reader<'_>,
    text: &str,
    type_name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, XmlError> {
    // Blanks around a value are allowed, and nobody sends them.
    parse(text).or_else(|| parse(text.trim())).ok_or_else(|| {
        let shown = if text.len() < 80 { text } else { "(long text)" };
        reader.bad_value(format!("\"{shown}\" is no xsd:{type_name}"))
    })
}

/// XML Schema knows three words where Rust would take others, such as `infinity`.
fn parse_float<T: std::str::FromStr + From<f32>>(text: &str) -> Option<T> {
    match text {
        "INF" => Some(f32::INFINITY.into()),
        "-INF" => Some(f32::NEG_INFINITY.into()),
        "NaN" => Some(f32::NAN.into()),
        other if other.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) => {
            other.parse().ok()
        }
        _ => None,
    }
}

/// As XML Schema writes it: `INF`, where Rust says `inf`.
pub(super) fn write_float(value: impl fmt::Display + Into<f64> + Copy, writer: &mut Writer) {
    let wide: f64 = value.into();
    if wide.is_infinite() {
        writer.raw(if wide > 0.0 { "INF" } else { "-INF" });
    } else {
        writer.display(value);
    }
}
