use std::fmt::Write as _;

use zeroize::Zeroize;

use super::Service;
use crate::version::ApiVersion;

/// Writes elements for one API version: a field that is newer is left out, as a server of that version would not
/// know it.
///
/// The buffer is wiped when the writer is dropped unfinished; a request may hold a password.
pub struct Writer {
    buffer: String,
    version: ApiVersion,
    answers: bool,
    /// The service whose namespace unprefixed names have here.
    in_force: Service,
    /// The one that the elements to come belong to.
    wanted: Service,
    depth: usize,
    /// What was in force outside of the element at each depth that changed it.
    changed: Vec<(usize, Service)>,
}

impl Writer {
    /// An empty writer for `version`, of what will stand in a message of the vSphere API.
    pub fn new(version: ApiVersion) -> Self {
        Self::of(Service::Vim25, version)
    }

    /// An empty writer for `version`, of what will stand in a message of `service`.
    pub fn of(service: Service, version: ApiVersion) -> Self {
        Self {
            buffer: String::new(),
            version,
            answers: false,
            in_force: service,
            wanted: service,
            depth: 0,
            changed: Vec::new(),
        }
    }

    /// An empty writer of what a server answers to a client of `version`: an object whose type is newer is written as one
    /// of the nearest type that it extends and that the client knows. What a client sends is never changed like that.
    pub fn of_answer(service: Service, version: ApiVersion) -> Self {
        let mut writer = Self::of(service, version);
        writer.answers = true;
        writer
    }

    /// Writes elements of `service`: where another one's namespace is in force, each declares its own.
    pub(crate) fn within(&mut self, service: Service, write: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.wanted, service);
        write(self);
        self.wanted = outer;
    }

    /// The version that is written for.
    pub fn version(&self) -> ApiVersion {
        self.version
    }

    /// Whether objects are written as older types where theirs are too new.
    pub(crate) fn is_answer(&self) -> bool {
        self.answers
    }

    /// What was written.
    pub fn finish(mut self) -> String {
        std::mem::take(&mut self.buffer)
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    #[inline]
    fn begin(&mut self, name: &str) {
        self.buffer.push('<');
        self.buffer.push_str(name);
        self.depth += 1;
        if self.wanted != self.in_force {
            self.changed.push((self.depth, self.in_force));
            self.in_force = self.wanted;
            self.buffer.push_str(" xmlns=\"");
            self.buffer.push_str(self.wanted.namespace());
            self.buffer.push('"');
        }
    }

    /// `<name>`.
    pub fn open(&mut self, name: &str) {
        self.begin(name);
        self.buffer.push('>');
    }

    /// `<name xsi:type="type_name">`; `xsd` puts the built-in prefix before the type.
    pub fn open_typed(&mut self, name: &str, xsd: bool, type_name: &str) {
        self.begin(name);
        self.buffer.push_str(if xsd { " xsi:type=\"xsd:" } else { " xsi:type=\"" });
        escape_attribute(type_name, &mut self.buffer);
        self.buffer.push_str("\">");
    }

    /// The same with a type of `service`.
    pub(crate) fn open_object(&mut self, name: &str, service: Service, type_name: &str) {
        if service == self.wanted {
            return self.open_typed(name, false, type_name);
        }
        self.begin(name);
        self.buffer.push_str(" xmlns:of=\"");
        self.buffer.push_str(service.namespace());
        self.buffer.push_str("\" xsi:type=\"of:");
        escape_attribute(type_name, &mut self.buffer);
        self.buffer.push_str("\">");
    }

    /// `<name attribute="value" ..>`.
    pub fn open_with(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.begin(name);
        for (key, value) in attributes {
            self.buffer.push(' ');
            self.buffer.push_str(key);
            self.buffer.push_str("=\"");
            escape_attribute(value, &mut self.buffer);
            self.buffer.push('"');
        }
        self.buffer.push('>');
    }

    /// `</name>`.
    pub fn close(&mut self, name: &str) {
        self.buffer.push_str("</");
        self.buffer.push_str(name);
        self.buffer.push('>');
        if let Some((_, outer)) = self.changed.pop_if(|(depth, _)| *depth == self.depth) {
            self.in_force = outer;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Text, escaped.
    pub fn text(&mut self, text: &str) {
        escape_text(text, &mut self.buffer);
    }

    /// A value that needs no escaping, such as a number.
    pub fn display(&mut self, value: impl std::fmt::Display) {
        // Writing into a String cannot fail.
        let _ = write!(self.buffer, "{value}");
    }

    /// XML that a [`Reader`](super::Reader) captured.
    pub fn raw(&mut self, xml: &str) {
        self.buffer.push_str(xml);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

pub(crate) fn escape_text(text: &str, out: &mut String) {
    escape(text, out, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\r' => Some("&#13;"),
        _ => None,
    });
}

pub(crate) fn escape_attribute(text: &str, out: &mut String) {
    escape(text, out, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '"' => Some("&quot;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        '\t' => Some("&#9;"),
        _ => None,
    });
}

/// Characters that XML 1.0 cannot hold at all become U+FFFD: a stray control byte in a VM's name must not make the
/// whole request unreadable.
fn escape(text: &str, out: &mut String, replace: impl Fn(char) -> Option<&'static str>) {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let forbidden = (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
        let replacement = if forbidden { Some("\u{fffd}") } else { replace(c) };
        if let Some(replacement) = replacement {
            out.push_str(&text[from..at]);
            out.push_str(replacement);
            from = at + c.len_utf8();
        }
    }
    out.push_str(&text[from..]);
}
