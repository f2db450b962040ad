use std::borrow::Cow;

use super::attributes::{self, Attribute, Attributes};
use super::name::{self, is_same};
use super::scanner::{Scanner, Token};
use super::{NS_XSD, NS_XSI, Start, TypeName, TypeSpace, XmlError, XmlErrorKind};

mod capture;

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

/// More namespace declarations than this in force at one place are refused: each is looked at to resolve a prefix. Some
/// servers declare a prefix on every element, so it is above the usual depth.
const MAX_DECLARATIONS: usize = 512;

/// A pull parser over one document. See the [module docs](super).
///
/// It is driven by recursive descent: after [`next_child`](Self::next_child) has returned a tag, that element is the
/// current one, and must be consumed by [`text`](Self::text), [`skip`](Self::skip), [`capture`](Self::capture) or by
/// further calls of `next_child` until `None`. After the root element, [`finish`](Self::finish) looks at what follows it.
pub struct Reader<'a> {
    scanner: Scanner<'a>,
    limits: Limits,
    depth: usize,
    /// The current element was written `<a/>`: its end is due without a further token.
    empty: bool,
    /// The root element has begun.
    rooted: bool,
    /// A carriage return stands somewhere in the document.
    has_cr: bool,
    /// Prefix declarations in force, the innermost last.
    scopes: Vec<Scope<'a>>,
    /// The attributes of the tag that is being read; kept for its memory.
    attributes: Vec<Attribute<'a>>,
}

/// A prefix declaration.
struct Scope<'a> {
    /// Depth of the element that carries it.
    depth: usize,
    prefix: &'a str,
    space: Space,
}

/// The namespaces that make a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Xsi,
    Xsd,
    Other,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    ///
    /// # Errors
    /// When `input` is larger than the limit, is not UTF-8, or holds a NUL.
    pub fn new(input: &'a [u8], limits: Limits) -> Result<Self, XmlError> {
        if input.len() > limits.max_bytes {
            let detail = format!("{} bytes, at most {} are accepted", input.len(), limits.max_bytes);
            return Err(XmlError::new(XmlErrorKind::TooLarge, 0, detail));
        }
        // A byte order mark is no part of the text.
        let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
        // The fast check says only that something is wrong, the slow one what and where.
        let text = match simdutf8::basic::from_utf8(input) {
            Ok(text) => text,
            Err(_) => std::str::from_utf8(input).map_err(|e| not_utf8(&e))?,
        };
        // Nearly always neither is there, which one look at the whole tells.
        let odd = memchr::memchr2(0, b'\r', input);
        if let Some(at) = odd.and_then(|from| memchr::memchr(0, &input[from..]).map(|at| from + at)) {
            return Err(XmlError::new(XmlErrorKind::Malformed, at, "a NUL"));
        }
        Ok(Self {
            scanner: Scanner::new(text),
            limits,
            depth: 0,
            empty: false,
            rooted: false,
            has_cr: odd.is_some(),
            scopes: Vec::new(),
            attributes: Vec::new(),
        })
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
            match self.scanner.next()? {
                Token::Start { at, local, attributes, empty } => {
                    return self.enter(at, local, attributes, empty).map(Some);
                }
                Token::End => {
                    self.leave();
                    return Ok(None);
                }
                Token::Text(text) if self.depth > 0 || text.chars().all(attributes::is_space) => {}
                Token::Eof => return Ok(None),
                other => self.aside(&other)?,
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
            None if !self.rooted => Err(self.truncated()),
            None => Err(self.unexpected(format!("no <{local}>"))),
        }
    }

    /// The text of the current element, which ends with it. Line ends come as `\n`, however they were written.
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
        let plain = self.scanner.plain();
        let mut text = self.lines(plain);
        // Nearly always the end follows.
        if self.depth > 0 && self.scanner.try_end() {
            self.leave();
            return Ok(text);
        }
        loop {
            match self.scanner.next()? {
                Token::Text(more) => append(&mut text, self.lines(more)),
                Token::CData(more) => append(&mut text, self.lines(more)),
                Token::Reference(name) => text.to_mut().push(self.reference(name)?),
                Token::End => {
                    self.leave();
                    return Ok(text);
                }
                Token::Start { .. } => {
                    return Err(self.unexpected("an element where text was expected".into()));
                }
                other => self.aside(&other)?,
            }
        }
    }

    /// Passes over the rest of the current element.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    pub fn skip(&mut self) -> Result<(), XmlError> {
        let target = self.depth;
        while self.depth >= target && self.depth > 0 {
            self.next_child()?;
        }
        Ok(())
    }

    /// Makes sure that the root element was read to its end and that nothing but blanks and comments follows it.
    ///
    /// # Errors
    /// When something else follows, or elements are still open.
    pub fn finish(mut self) -> Result<(), XmlError> {
        if self.depth > 0 {
            return Err(self.unexpected(format!("{} elements were not read to their end", self.depth)));
        }
        match self.next_child()? {
            None if self.rooted => Ok(()),
            None => Err(self.truncated()),
            Some(start) => Err(self.unexpected(format!("the root element <{}> was not read", start.local))),
        }
    }

    /// A reader of `content` that was captured before: one element, in our own writing.
    ///
    /// # Errors
    /// See [`Reader::new`].
    pub fn fragment(content: &'a str, limits: Limits) -> Result<Self, XmlError> {
        let mut reader = Self::new(content.as_bytes(), limits)?;
        for (prefix, space) in [("xsi", Space::Xsi), ("xsd", Space::Xsd)] {
            reader.scopes.push(Scope { depth: 0, prefix, space });
        }
        Ok(reader)
    }

    /// The document from the start tag `start` to the current place, as it was sent: once the element was read to its end,
    /// the whole element, to the byte.
    pub fn since(&self, start: &Start<'a>) -> &'a str {
        self.scanner.text().get(start.at..self.position()).unwrap_or_default()
    }

    /// Byte offset of the next token, counted without a byte order mark.
    #[inline]
    pub fn position(&self) -> usize {
        self.scanner.position()
    }

    /// An error about a value at the current place.
    pub fn bad_value(&self, detail: impl Into<String>) -> XmlError {
        XmlError::new(XmlErrorKind::BadValue, self.position(), detail)
    }

    /// An error about an element that should not be here.
    pub fn unexpected(&self, detail: String) -> XmlError {
        XmlError::new(XmlErrorKind::Unexpected, self.position(), detail)
    }

    /// What is neither tag nor text, or stands outside of the root element.
    #[cold]
    fn aside(&self, token: &Token<'a>) -> Result<(), XmlError> {
        let refuse = |kind, detail: &str| Err(XmlError::new(kind, self.position(), detail));
        match token {
            Token::Declaration(content) => {
                for attribute in Attributes(content) {
                    let attribute = attribute.map_err(|e| e.at(self.position()))?;
                    if attribute.local == "encoding" && !is_utf8(attribute.value) {
                        return refuse(XmlErrorKind::Forbidden, "an encoding other than UTF-8");
                    }
                }
                Ok(())
            }
            Token::Doctype => refuse(XmlErrorKind::Forbidden, "a DOCTYPE"),
            Token::Reference(name) if self.depth > 0 => self.reference(name).map(|_| ()),
            Token::CData(_) if self.depth > 0 => Ok(()),
            Token::Eof => Err(self.truncated()),
            _ => refuse(XmlErrorKind::Malformed, "text outside of the root element"),
        }
    }

    #[inline]
    fn enter(
        &mut self,
        at: usize,
        local: &'a str,
        attributes: &'a str,
        empty: bool,
    ) -> Result<Start<'a>, XmlError> {
        if self.depth == 0 && std::mem::replace(&mut self.rooted, true) {
            return Err(XmlError::new(XmlErrorKind::Malformed, at, "a second root element"));
        }
        self.depth += 1;
        self.empty = empty;
        if self.depth > self.limits.max_depth {
            let detail = format!("more than {} levels deep", self.limits.max_depth);
            return Err(XmlError::new(XmlErrorKind::TooLarge, at, detail));
        }
        let mut start = Start { local, attributes, xsi_type: None, nil: false, at };
        if !attributes.is_empty() {
            let mut found = std::mem::take(&mut self.attributes);
            let read = attributes::split(attributes, &mut found)
                .and_then(|()| self.namespaces(&found, &mut start))
                .map_err(|e| e.at(at));
            self.attributes = found;
            read?;
        }
        Ok(start)
    }

    /// Declarations first: they hold for the tag that carries them, whatever the order.
    fn namespaces(&mut self, found: &[Attribute<'a>], start: &mut Start<'a>) -> Result<(), XmlError> {
        let mut prefixed = 0;
        for attribute in found {
            let prefix = match (attribute.prefix, attribute.local) {
                ("", "xmlns") => "",
                ("", _) => continue,
                ("xmlns", prefix) => prefix,
                _ => {
                    prefixed += 1;
                    continue;
                }
            };
            if self.scopes.len() == MAX_DECLARATIONS {
                let detail = format!("more than {MAX_DECLARATIONS} namespace declarations in force");
                return Err(XmlError::new(XmlErrorKind::TooLarge, 0, detail));
            }
            let space = match &*attributes::value(attribute.value)? {
                NS_XSI => Space::Xsi,
                NS_XSD => Space::Xsd,
                _ => Space::Other,
            };
            self.scopes.push(Scope { depth: self.depth, prefix, space });
        }
        if prefixed == 0 {
            return Ok(());
        }
        for attribute in found {
            if matches!(attribute.prefix, "" | "xmlns") || self.resolve(attribute.prefix)? != Space::Xsi {
                continue;
            }
            match attribute.local {
                "type" if start.xsi_type.is_some() => {
                    return Err(XmlError::new(XmlErrorKind::Malformed, 0, "two types on one tag"));
                }
                "type" => start.xsi_type = Some(self.type_name(attribute.value)?),
                "nil" => {
                    start.nil = matches!(attribute.value.trim_matches(attributes::is_space), "true" | "1");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn type_name(&self, raw: &'a str) -> Result<TypeName<'a>, XmlError> {
        let value = match attributes::value(raw)? {
            Cow::Borrowed(v) => Cow::Borrowed(v.trim_matches(attributes::is_space)),
            Cow::Owned(v) => Cow::Owned(v.trim_matches(attributes::is_space).to_owned()),
        };
        let Some((prefix, local)) = name::split(&value) else {
            return Err(XmlError::new(XmlErrorKind::Malformed, 0, "a type without a proper name"));
        };
        // Without a default namespace the API's own is meant: there is no other type without a prefix.
        let space = match self.resolve(prefix) {
            Ok(Space::Xsd) => TypeSpace::Xsd,
            // govmomi names a value's type so without declaring the prefix, and vCenter takes it.
            Err(_) if prefix == "xsd" => TypeSpace::Xsd,
            Err(e) if !prefix.is_empty() => return Err(e),
            _ => TypeSpace::Api,
        };
        let from = value.len() - local.len();
        let local = match value {
            Cow::Borrowed(v) => Cow::Borrowed(&v[from..]),
            Cow::Owned(v) => Cow::Owned(v[from..].to_owned()),
        };
        Ok(TypeName { space, local })
    }

    fn resolve(&self, prefix: &str) -> Result<Space, XmlError> {
        if let Some(scope) = self.scopes.iter().rev().find(|s| is_same(s.prefix, prefix)) {
            return Ok(scope.space);
        }
        if prefix == "xml" {
            return Ok(Space::Other);
        }
        Err(XmlError::new(XmlErrorKind::Malformed, 0, "a prefix that is not declared"))
    }

    #[inline]
    fn leave(&mut self) {
        while self.scopes.last().is_some_and(|s| s.depth >= self.depth && s.depth > 0) {
            self.scopes.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Text as XML wants it taken: a line ends with `\n`.
    #[inline]
    fn lines(&self, text: &'a str) -> Cow<'a, str> {
        if self.has_cr && text.contains('\r') {
            return Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"));
        }
        Cow::Borrowed(text)
    }

    fn reference(&self, name: &str) -> Result<char, XmlError> {
        attributes::reference(name).ok_or_else(|| {
            XmlError::new(XmlErrorKind::Forbidden, self.position(), attributes::unknown_reference(name))
        })
    }

    #[cold]
    fn truncated(&self) -> XmlError {
        XmlError::new(XmlErrorKind::Truncated, self.position(), "it ends before it has begun")
    }
}

#[inline]
fn append<'a>(text: &mut Cow<'a, str>, piece: Cow<'a, str>) {
    if text.is_empty() {
        *text = piece;
    } else {
        text.to_mut().push_str(&piece);
    }
}

fn is_utf8(name: &str) -> bool {
    ["UTF-8", "UTF8", "US-ASCII"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn not_utf8(e: &std::str::Utf8Error) -> XmlError {
    // Without a length the last character is incomplete, not wrong.
    let kind = if e.error_len().is_some() { XmlErrorKind::Malformed } else { XmlErrorKind::Truncated };
    XmlError::new(kind, e.valid_up_to(), "not UTF-8")
}
