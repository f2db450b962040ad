use std::fmt;

/// Why a document was refused, and where.
#[derive(Debug, Clone)]
pub struct XmlError {
    kind: XmlErrorKind,
    offset: usize,
    detail: String,
}

/// What was wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum XmlErrorKind {
    /// Not well-formed: a tag without an end, a bad attribute, bytes that are not UTF-8.
    Malformed,
    /// Well-formed, and refused on principle: a `DOCTYPE`, an entity that is not predefined.
    Forbidden,
    /// Deeper or larger than the reader's [`Limits`](super::Limits).
    TooLarge,
    /// The document ended inside an element: the stream was cut.
    Truncated,
    /// A value that is not of its type, such as text where a number has to be.
    BadValue,
    /// Not the document that was expected, such as an HTML page instead of a SOAP envelope.
    Unexpected,
}

impl XmlError {
    pub(crate) fn new(kind: XmlErrorKind, offset: usize, detail: impl Into<String>) -> Self {
        Self { kind, offset, detail: detail.into() }
    }

    pub(crate) fn at(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// The class of the fault.
    pub fn kind(&self) -> XmlErrorKind {
        self.kind
    }

    /// Byte offset in the document near which it was noticed.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            XmlErrorKind::Malformed => "malformed XML",
            XmlErrorKind::Forbidden => "forbidden XML construct",
            XmlErrorKind::TooLarge => "XML beyond the limits",
            XmlErrorKind::Truncated => "XML ends too early",
            XmlErrorKind::BadValue => "bad value",
            XmlErrorKind::Unexpected => "unexpected XML",
        };
        write!(f, "{what} at byte {}: {}", self.offset, self.detail)
    }
}

impl std::error::Error for XmlError {}
