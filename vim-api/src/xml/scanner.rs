use super::attributes::trim_start;
use super::name::{self, is_same};
use super::{XmlError, XmlErrorKind};

/// Cuts a document into tokens and sees to it that tags match. It copies nothing.
///
/// Written for what stands in SOAP envelopes, and strict: what is not well-formed is an error at once. All it cuts at are
/// ASCII characters, so every piece is text again.
pub(super) struct Scanner<'a> {
    input: &'a str,
    at: usize,
    /// Names of the elements that are open, as written.
    open: Vec<&'a str>,
}

pub(super) enum Token<'a> {
    /// A start tag: the byte offset of its `<`, its name without the prefix, and what stands behind the name. The end of an
    /// empty one (`<a/>`) is no token.
    Start { at: usize, local: &'a str, attributes: &'a str, empty: bool },
    /// The end tag of the element that was opened last.
    End,
    /// Text without references.
    Text(&'a str),
    /// The name in `&name;`.
    Reference(&'a str),
    /// What stands in `<![CDATA[` and `]]>`.
    CData(&'a str),
    /// What stands in `<?xml` and `?>`.
    Declaration(&'a str),
    /// `<!DOCTYPE`; what follows is not looked at.
    Doctype,
    /// The document is over, and all elements were closed.
    Eof,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self { input, at: 0, open: Vec::new() }
    }

    /// The whole document.
    pub(super) fn text(&self) -> &'a str {
        self.input
    }

    /// Byte offset of the next token.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Token<'a>, XmlError> {
        loop {
            let rest = self.rest().as_bytes();
            match (rest.first(), rest.get(1)) {
                (Some(b'<'), Some(b'/')) => return self.end().map(|()| Token::End),
                (Some(b'<'), Some(b'!' | b'?')) => {
                    if let Some(token) = self.declaration()? {
                        return Ok(token);
                    }
                }
                (Some(b'<'), Some(_)) => return self.start(),
                (Some(b'<'), None) => return Err(self.cut("a tag")),
                (Some(b'&'), _) => return self.reference().map(Token::Reference),
                (Some(_), _) => return Ok(Token::Text(self.plain())),
                (None, _) if self.open.is_empty() => return Ok(Token::Eof),
                (None, _) => return Err(self.cut("an element")),
            }
        }
    }

    /// Text up to the next tag or reference; may be empty.
    #[inline]
    pub(super) fn plain(&mut self) -> &'a str {
        let rest = self.rest();
        let length = memchr::memchr2(b'<', b'&', rest.as_bytes()).unwrap_or(rest.len());
        self.take(length)
    }

    /// Whether the end tag of the open element stands here, which is passed over then.
    #[inline]
    pub(super) fn try_end(&mut self) -> bool {
        let Some(name) = self.open.last() else { return false };
        let rest = self.rest();
        let length = name.len() + "</>".len();
        // Not a name's end may be within a character, and then it is not this one.
        let is_end = rest.starts_with("</")
            && rest.as_bytes().get(length - 1) == Some(&b'>')
            && rest.get(2..length - 1).is_some_and(|found| is_same(found, name));
        if is_end {
            self.at += length;
            self.open.pop();
        }
        is_end
    }

    #[inline]
    fn start(&mut self) -> Result<Token<'a>, XmlError> {
        let (at, rest) = (self.at, self.rest());
        let (length, has_colon) = name::measure(&rest[1..]);
        let name_end = 1 + length;
        let name = &rest[1..name_end];
        let parts = name::parts(name, has_colon);
        let behind = &rest[name_end..];
        if behind.as_bytes().first() == Some(&b'>') {
            let Some((_, local)) = parts else { return Err(self.nameless()) };
            self.at += name_end + 1;
            self.open.push(name);
            return Ok(Token::Start { at, local, attributes: "", empty: false });
        }
        let Some(length) = tag_length(behind.as_bytes()) else { return Err(self.cut("a tag")) };
        let Some((_, local)) = parts else { return Err(self.nameless()) };
        self.at += name_end + length + 1;
        let (attributes, empty) = match behind[..length].strip_suffix('/') {
            Some(attributes) => (attributes, true),
            None => (&behind[..length], false),
        };
        if !empty {
            self.open.push(name);
        }
        Ok(Token::Start { at, local, attributes, empty })
    }

    #[inline]
    fn end(&mut self) -> Result<(), XmlError> {
        if self.try_end() { Ok(()) } else { self.odd_end() }
    }

    /// An end tag that is not just `</name>`.
    #[cold]
    fn odd_end(&mut self) -> Result<(), XmlError> {
        let rest = self.rest();
        let Some(length) = rest.find('>') else { return Err(self.cut("an end tag")) };
        let found = rest[2..length].trim_end_matches(super::attributes::is_space);
        match self.open.last() {
            Some(name) if *name == found => {
                self.at += length + 1;
                self.open.pop();
                Ok(())
            }
            Some(name) => {
                let detail = format!("</{}> where </{}> was expected", short(found), short(name));
                Err(self.malformed(detail))
            }
            None => Err(self.malformed(format!("</{}> closes nothing", short(found)))),
        }
    }

    fn reference(&mut self) -> Result<&'a str, XmlError> {
        let rest = self.rest();
        let length =
            rest.bytes().skip(1).position(|b| matches!(b, b';' | b'<' | b'&' | b' ' | b'\t' | b'\n' | b'\r'));
        match length {
            Some(length) if rest.as_bytes()[length + 1] == b';' => {
                self.at += length + 2;
                Ok(&rest[1..=length])
            }
            Some(_) => Err(self.malformed("an & without ;")),
            None => Err(self.cut("a reference")),
        }
    }

    /// What begins with `<!` or `<?`. `None` for what says nothing: comments and processing instructions.
    #[cold]
    fn declaration(&mut self) -> Result<Option<Token<'a>>, XmlError> {
        let rest = self.rest();
        if let Some(text) = rest.strip_prefix("<!--") {
            let Some(length) = text.find("--") else { return Err(self.cut("a comment")) };
            return match text.as_bytes().get(length + 2) {
                Some(b'>') => {
                    self.at += "<!---->".len() + length;
                    Ok(None)
                }
                Some(_) => Err(self.malformed("-- in a comment")),
                None => Err(self.cut("a comment")),
            };
        }
        if let Some(text) = rest.strip_prefix("<![CDATA[") {
            let Some(length) = text.find("]]>") else { return Err(self.cut("a CDATA section")) };
            self.at += "<![CDATA[]]>".len() + length;
            return Ok(Some(Token::CData(&text[..length])));
        }
        if let Some(text) = rest.strip_prefix("<?") {
            let Some(length) = text.find("?>") else { return Err(self.cut("a processing instruction")) };
            let text = &text[..length];
            let target = &text[..name::measure(text).0];
            let content = &text[target.len()..];
            let is_apart = content.is_empty() || trim_start(content).len() < content.len();
            if target.is_empty() || !is_apart {
                return Err(self.malformed("a processing instruction without a proper name"));
            }
            if target.eq_ignore_ascii_case("xml") {
                if self.at > 0 || target != "xml" {
                    return Err(self.malformed("an XML declaration that is not at the start"));
                }
                self.at += "<??>".len() + length;
                return Ok(Some(Token::Declaration(content)));
            }
            self.at += "<??>".len() + length;
            return Ok(None);
        }
        let doctype = "<!DOCTYPE";
        if rest.as_bytes().get(..doctype.len()).is_some_and(|b| b.eq_ignore_ascii_case(doctype.as_bytes())) {
            return Ok(Some(Token::Doctype));
        }
        let is_cut = ["<!--", "<![CDATA[", doctype].iter().any(|whole| whole.starts_with(rest));
        Err(if is_cut { self.cut("a declaration") } else { self.malformed("an unknown declaration") })
    }

    #[inline]
    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or("")
    }

    #[inline]
    fn take(&mut self, length: usize) -> &'a str {
        let from = self.at;
        self.at += length;
        self.input.get(from..self.at).unwrap_or("")
    }

    #[cold]
    fn nameless(&self) -> XmlError {
        self.malformed("a tag without a proper name")
    }

    #[cold]
    fn cut(&self, what: &str) -> XmlError {
        let detail = format!("it ends within {what}; {} elements are open", self.open.len());
        XmlError::new(XmlErrorKind::Truncated, self.at, detail)
    }

    #[cold]
    fn malformed(&self, detail: impl Into<String>) -> XmlError {
        XmlError::new(XmlErrorKind::Malformed, self.at, detail)
    }
}

/// Bytes before the `>` that ends a tag: one in quotes does not.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr3(b'>', b'"', b'\'', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'>' => return Some(at),
            quote => {
                at += 1;
                at += memchr::memchr(*quote, bytes.get(at..)?)? + 1;
            }
        }
    }
}

/// Names in an error text are cut short: they are as long as the sender likes.
fn short(name: &str) -> &str {
    name.char_indices().nth(60).map_or(name, |(at, _)| &name[..at])
}
