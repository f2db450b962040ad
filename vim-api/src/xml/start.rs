use std::borrow::Cow;

use super::XmlError;
use super::attributes::{self, Attributes};

/// A start tag.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    pub(super) local: &'a str,
    /// Checked when the tag was read.
    pub(super) attributes: &'a str,
    pub(super) xsi_type: Option<TypeName<'a>>,
    pub(super) nil: bool,
    /// Byte offset of the tag's `<`.
    pub(super) at: usize,
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

impl<'a> Start<'a> {
    /// Element name without its prefix.
    #[inline]
    pub fn local(&self) -> &'a str {
        self.local
    }

    /// `xsi:type`, if the tag has one.
    #[inline]
    pub fn xsi_type(&self) -> Option<&TypeName<'a>> {
        self.xsi_type.as_ref()
    }

    /// Whether the tag says `xsi:nil="true"`.
    #[inline]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// An attribute without a prefix, such as the `type` of a managed object reference.
    ///
    /// # Errors
    /// When the attribute's value is malformed.
    pub fn attribute(&self, name: &str) -> Result<Option<Cow<'a, str>>, XmlError> {
        self.attribute_where(|prefix, local| prefix.is_empty() && local == name)
    }

    /// An attribute by its local name, whatever its prefix: for documents that qualify their attributes, such as OVF's
    /// `ovf:href`.
    ///
    /// # Errors
    /// When the attribute's value is malformed.
    pub fn attribute_local(&self, name: &str) -> Result<Option<Cow<'a, str>>, XmlError> {
        self.attribute_where(|prefix, local| prefix != "xmlns" && local == name)
    }

    fn attribute_where(&self, wanted: impl Fn(&str, &str) -> bool) -> Result<Option<Cow<'a, str>>, XmlError> {
        for attribute in Attributes(self.attributes) {
            let attribute = attribute?;
            if wanted(attribute.prefix, attribute.local) {
                return attributes::value(attribute.value).map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::xml::{Limits, Reader};

    #[test]
    fn attributes_by_their_local_names() {
        let xml = b"<a xmlns:o='urn:o' xmlns:id='urn:x' o:id='one &amp; more' other='two'/>";
        let mut reader = Reader::new(xml, Limits::default()).unwrap();
        let start = reader.next_child().unwrap().unwrap();
        assert_eq!(start.attribute("id").unwrap(), None);
        assert_eq!(start.attribute_local("id").unwrap().as_deref(), Some("one & more"));
        assert_eq!(start.attribute_local("other").unwrap().as_deref(), Some("two"));
        assert_eq!(start.attribute_local("absent").unwrap(), None);
    }
}
