use std::borrow::Cow;

use quick_xml::events::Event;

use super::{NS_XSD, NS_XSI, XmlError, XmlErrorKind};

/// Bounds on what a document may make the reader do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deepest nesting of elements. A vSphere reply nests some 60 deep at most (a chain of 32 snapshots).
    pub max_depth: usize,
    /// Largest document in bytes.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 256, max_bytes: 512 << 20 }
    }
}

/// The namespace of an `xsi:type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeSpace {
    /// A built-in type of XML Schema.
    Xsd,
    /// Any other: the API's own types.
    Api,
}

/// The value of an `xsi:type`, with its prefix resolved.
#[derive(Debug, Clone)]
pub struct TypeName<'a> {
    /// Where the type comes from.
    pub space: TypeSpace,
    /// Its local name.
    pub local: Cow<'a, str>,
}

/// A start tag.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    local: &'a str,
    attributes: &'a str,
    xsi_type: Option<TypeName<'a>>,
    nil: bool,
}

impl<'a> Start<'a> {
    /// Element name without its prefix.
    pub fn local(&self) -> &'a str {
        self.local
    }

    /// `xsi:type`, if the tag has one.
    pub fn xsi_type(&self) -> Option<&TypeName<'a>> {
        self.xsi_type.as_ref()
    }

    /// Whether the tag says `xsi:nil="true"`.
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// An attribute without a prefix, such as the `type` of a managed object reference.
    ///
    /// # Errors
    /// When the tag's attributes are malformed.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'a, str>>, XmlError> {
        for attribute in Attributes(self.attributes) {
            let (key, raw) = attribute?;
            if key == name {
                return unescape(raw).map(Some);
            }
        }
        Ok(None)
    }
}

/// A pull parser over one document. See the [module docs](super).
///
/// It is driven by recursive descent: after [`next_child`](Self::next_child) has returned a tag, that element is the
/// current one, and must be consumed by [`text`](Self::text), [`skip`](Self::skip), [`capture`](Self::capture) or by
/// further calls of `next_child` until `None`.
pub struct Reader<'a> {
    inner: quick_xml::Reader<&'a [u8]>,
    input: &'a str,
    limits: Limits,
    depth: usize,
    /// The current element was written `<a/>`: its end is due without a further token.
    empty: bool,
    /// Prefix declarations in force: depth of the declaring element, prefix, is it xsi, is it xsd.
    scopes: Vec<Scope<'a>>,
}

#[derive(Clone)]
struct Scope<'a> {
    depth: usize,
    prefix: &'a str,
    uri: Cow<'a, str>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    ///
    /// # Errors
    /// When `input` is larger than the limit or not UTF-8.
    pub fn new(input: &'a [u8], limits: Limits) -> Result<Self, XmlError> {
        if input.len() > limits.max_bytes {
            let detail = format!("{} bytes, at most {} are accepted", input.len(), limits.max_bytes);
            return Err(XmlError::new(XmlErrorKind::TooLarge, 0, detail));
        }
        let text = std::str::from_utf8(input)
            .map_err(|e| XmlError::new(XmlErrorKind::Malformed, e.valid_up_to(), "not UTF-8"))?;
        let mut inner = quick_xml::Reader::from_str(text);
        inner.config_mut().check_comments = false;
        Ok(Self { inner, input: text, limits, depth: 0, empty: false, scopes: Vec::new() })
    }

    /// The next child of the current element, or `None` at its end. Text between the children is passed over.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    #[inline]
    pub fn next_child(&mut self) -> Result<Option<Start<'a>>, XmlError> {
        if self.empty {
            self.empty = false;
            self.leave();
            return Ok(None);
        }
        loop {
            match self.inner.read_event() {
                Ok(Event::Start(tag)) => {
                    let end = self.position() - 1;
                    return self.enter(end - tag.len(), end, tag.name().0.len()).map(Some);
                }
                Ok(Event::Empty(tag)) => {
                    let end = self.position() - 2;
                    self.empty = true;
                    return self.enter(end - tag.len(), end, tag.name().0.len()).map(Some);
                }
                Ok(Event::End(_)) => {
                    self.leave();
                    return Ok(None);
                }
                Ok(Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {}
                Ok(Event::GeneralRef(r)) => {
                    self.entity(&r)?;
                }
                Ok(Event::DocType(_)) => return Err(self.doctype()),
                Ok(Event::Eof) if self.depth == 0 => return Ok(None),
                Ok(Event::Eof) => return Err(self.truncated()),
                Err(e) => return Err(self.syntax(&e)),
            }
        }
    }

    /// Like [`next_child`](Self::next_child), for a child that has to be there under that name.
    ///
    /// # Errors
    /// Also when there is none, or one of another name.
    pub fn expect_child(&mut self, local: &str) -> Result<Start<'a>, XmlError> {
        match self.next_child()? {
            Some(start) if start.local == local => Ok(start),
            Some(start) => Err(self.unexpected(format!("<{}> where <{local}> was expected", start.local))),
            None => Err(self.unexpected(format!("no <{local}>"))),
        }
    }

    /// The text of the current element, which ends with it.
    ///
    /// # Errors
    /// Also when the element has a child element.
    #[inline]
    pub fn text(&mut self) -> Result<Cow<'a, str>, XmlError> {
        if self.empty {
            self.empty = false;
            self.leave();
            return Ok(Cow::Borrowed(""));
        }
        let mut text = Cow::Borrowed("");
        loop {
            let before = self.position();
            match self.inner.read_event() {
                Ok(Event::Text(_)) => {
                    let piece = self.slice(before, self.position());
                    append(&mut text, piece);
                }
                Ok(Event::CData(data)) => {
                    let end = self.position() - 3;
                    let piece = self.slice(end - data.len(), end);
                    append(&mut text, piece);
                }
                Ok(Event::GeneralRef(r)) => {
                    let c = self.entity(&r)?;
                    text.to_mut().push(c);
                }
                Ok(Event::End(_)) => {
                    self.leave();
                    return Ok(text);
                }
                Ok(Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {}
                Ok(Event::Start(_) | Event::Empty(_)) => {
                    return Err(self.unexpected("an element where text was expected".into()));
                }
                Ok(Event::DocType(_)) => return Err(self.doctype()),
                Ok(Event::Eof) => return Err(self.truncated()),
                Err(e) => return Err(self.syntax(&e)),
            }
        }
    }

    /// Passes over the rest of the current element.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    pub fn skip(&mut self) -> Result<(), XmlError> {
        let target = self.depth;
        while self.depth >= target {
            self.next_child()?;
        }
        Ok(())
    }

    /// The current element with all it holds, as XML of our own writing: names without prefixes, `xsi:type` under the
    /// prefixes `xsi` and `xsd`, everything else as text. What is captured can be written into any envelope of ours.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    pub fn capture(&mut self, start: &Start<'a>) -> Result<String, XmlError> {
        let mut out = String::new();
        self.capture_into(start, &mut out)?;
        Ok(out)
    }

    /// Like [`capture`](Self::capture), without the element's own tags.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    pub fn capture_content(&mut self) -> Result<String, XmlError> {
        let mut out = String::new();
        self.content_into(&mut out)?;
        Ok(out)
    }

    /// A reader of `content` that was captured before: one element, in our own writing.
    ///
    /// # Errors
    /// See [`Reader::new`].
    pub fn fragment(content: &'a str, limits: Limits) -> Result<Self, XmlError> {
        let mut reader = Self::new(content.as_bytes(), limits)?;
        for (prefix, uri) in [("xsi", NS_XSI), ("xsd", NS_XSD)] {
            reader.scopes.push(Scope { depth: 0, prefix, uri: Cow::Borrowed(uri) });
        }
        Ok(reader)
    }

    /// Byte offset of the next token.
    pub fn position(&self) -> usize {
        usize::try_from(self.inner.buffer_position()).unwrap_or(usize::MAX)
    }

    /// An error about a value at the current place.
    pub fn bad_value(&self, detail: impl Into<String>) -> XmlError {
        XmlError::new(XmlErrorKind::BadValue, self.position(), detail)
    }

    /// An error about an element that should not be here.
    pub fn unexpected(&self, detail: String) -> XmlError {
        XmlError::new(XmlErrorKind::Unexpected, self.position(), detail)
    }

    fn enter(&mut self, from: usize, to: usize, name_len: usize) -> Result<Start<'a>, XmlError> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            let detail = format!("more than {} levels deep", self.limits.max_depth);
            return Err(XmlError::new(XmlErrorKind::TooLarge, from, detail));
        }
        let name = self.slice(from, from + name_len);
        let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
        let attributes = self.slice(from + name_len, to);
        let mut start = Start { local, attributes, xsi_type: None, nil: false };
        if !attributes.is_empty() {
            self.attributes(&mut start)?;
        }
        Ok(start)
    }

    /// Declarations first: they hold for the tag that carries them, whatever the order.
    fn attributes(&mut self, start: &mut Start<'a>) -> Result<(), XmlError> {
        let at = self.position();
        let relocate = |e: XmlError| e.at(at);
        for attribute in Attributes(start.attributes) {
            let (key, raw) = attribute.map_err(relocate)?;
            if let Some(rest) = key.strip_prefix("xmlns") {
                let prefix = match rest.strip_prefix(':') {
                    Some(prefix) => prefix,
                    None if rest.is_empty() => "",
                    None => continue,
                };
                let uri = unescape(raw).map_err(relocate)?;
                self.scopes.push(Scope { depth: self.depth, prefix, uri });
            }
        }
        for attribute in Attributes(start.attributes) {
            let (key, raw) = attribute.map_err(relocate)?;
            let Some((prefix, local)) = key.split_once(':') else { continue };
            if prefix == "xmlns" || self.resolve(prefix) != Some(NS_XSI) {
                continue;
            }
            match local {
                "type" => start.xsi_type = Some(self.type_name(raw)?),
                "nil" => start.nil = matches!(raw, "true" | "1"),
                _ => {}
            }
        }
        Ok(())
    }

    fn type_name(&self, raw: &'a str) -> Result<TypeName<'a>, XmlError> {
        let value = match unescape(raw)? {
            Cow::Borrowed(v) => Cow::Borrowed(v.trim()),
            Cow::Owned(v) => Cow::Owned(v.trim().to_owned()),
        };
        let Some(colon) = value.find(':') else {
            return Ok(TypeName { space: TypeSpace::Api, local: value });
        };
        let prefix = &value[..colon];
        let Some(uri) = self.resolve(prefix) else {
            let detail = format!("the prefix of the type \"{value}\" is not declared");
            return Err(XmlError::new(XmlErrorKind::Malformed, self.position(), detail));
        };
        let space = if uri == NS_XSD { TypeSpace::Xsd } else { TypeSpace::Api };
        let local = match value {
            Cow::Borrowed(v) => Cow::Borrowed(&v[colon + 1..]),
            Cow::Owned(v) => Cow::Owned(v[colon + 1..].to_owned()),
        };
        Ok(TypeName { space, local })
    }

    fn resolve(&self, prefix: &str) -> Option<&str> {
        self.scopes.iter().rev().find(|s| s.prefix == prefix).map(|s| &*s.uri)
    }

    #[inline]
    fn leave(&mut self) {
        while self.scopes.last().is_some_and(|s| s.depth >= self.depth && s.depth > 0) {
            self.scopes.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn capture_into(&mut self, start: &Start<'a>, out: &mut String) -> Result<(), XmlError> {
        out.push('<');
        out.push_str(start.local);
        if let Some(t) = &start.xsi_type {
            out.push_str(" xsi:type=\"");
            if t.space == TypeSpace::Xsd {
                out.push_str("xsd:");
            }
            super::writer::escape_attribute(&t.local, out);
            out.push('"');
        }
        for attribute in Attributes(start.attributes) {
            let (key, raw) = attribute?;
            if !key.contains(':') && key != "xmlns" {
                out.push(' ');
                out.push_str(key);
                out.push_str("=\"");
                super::writer::escape_attribute(&unescape(raw)?, out);
                out.push('"');
            }
        }
        out.push('>');
        self.content_into(out)?;
        out.push_str("</");
        out.push_str(start.local);
        out.push('>');
        Ok(())
    }

    fn content_into(&mut self, out: &mut String) -> Result<(), XmlError> {
        if self.empty {
            self.empty = false;
            self.leave();
            return Ok(());
        }
        loop {
            let before = self.position();
            match self.inner.read_event() {
                Ok(Event::Start(tag)) => {
                    let end = self.position() - 1;
                    let start = self.enter(end - tag.len(), end, tag.name().0.len())?;
                    self.capture_into(&start, out)?;
                }
                Ok(Event::Empty(tag)) => {
                    let end = self.position() - 2;
                    self.empty = true;
                    let start = self.enter(end - tag.len(), end, tag.name().0.len())?;
                    self.capture_into(&start, out)?;
                }
                Ok(Event::End(_)) => {
                    self.leave();
                    return Ok(());
                }
                Ok(Event::Text(_)) => super::writer::escape_text(self.slice(before, self.position()), out),
                Ok(Event::CData(data)) => {
                    let end = self.position() - 3;
                    super::writer::escape_text(self.slice(end - data.len(), end), out);
                }
                Ok(Event::GeneralRef(r)) => {
                    let mut buffer = [0; 4];
                    let c = self.entity(&r)?;
                    super::writer::escape_text(c.encode_utf8(&mut buffer), out);
                }
                Ok(Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {}
                Ok(Event::DocType(_)) => return Err(self.doctype()),
                Ok(Event::Eof) => return Err(self.truncated()),
                Err(e) => return Err(self.syntax(&e)),
            }
        }
    }

    #[inline]
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.input.get(from..to).unwrap_or("")
    }

    fn entity(&self, name: &str) -> Result<char, XmlError> {
        resolve_entity(name).ok_or_else(|| {
            XmlError::new(XmlErrorKind::Forbidden, self.position(), format!("the entity &{name};"))
        })
    }

    fn doctype(&self) -> XmlError {
        XmlError::new(XmlErrorKind::Forbidden, self.position(), "a DOCTYPE")
    }

    fn truncated(&self) -> XmlError {
        XmlError::new(XmlErrorKind::Truncated, self.position(), format!("{} elements are open", self.depth))
    }

    fn syntax(&self, e: &quick_xml::Error) -> XmlError {
        let at = usize::try_from(self.inner.error_position()).unwrap_or(usize::MAX);
        let kind = match e {
            quick_xml::Error::Syntax(_) if at >= self.input.len() => XmlErrorKind::Truncated,
            _ => XmlErrorKind::Malformed,
        };
        XmlError::new(kind, at, e.to_string())
    }
}

fn append<'a>(text: &mut Cow<'a, str>, piece: &'a str) {
    if text.is_empty() {
        *text = Cow::Borrowed(piece);
    } else {
        text.to_mut().push_str(piece);
    }
}

fn resolve_entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')
        }
    }
}

fn unescape(raw: &str) -> Result<Cow<'_, str>, XmlError> {
    if !raw.contains('&') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, tail) = after
            .split_once(';')
            .ok_or_else(|| XmlError::new(XmlErrorKind::Malformed, 0, "an & without ; in an attribute"))?;
        let c = resolve_entity(name)
            .ok_or_else(|| XmlError::new(XmlErrorKind::Forbidden, 0, format!("the entity &{name};")))?;
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The attributes of a tag: names as written, values as written.
struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(&'a str, &'a str), XmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start();
        if rest.is_empty() {
            return None;
        }
        let parsed = (|| {
            let (key, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, tail) = after[1..].split_once(quote)?;
            Some((key.trim_end(), value, tail))
        })();
        match parsed {
            Some((key, value, tail)) => {
                self.0 = tail;
                Some(Ok((key, value)))
            }
            None => {
                self.0 = "";
                Some(Err(XmlError::new(XmlErrorKind::Malformed, 0, "a malformed attribute")))
            }
        }
    }
}
