use super::super::attributes::{self, Attributes};
use super::super::scanner::Token;
use super::super::writer::{escape_attribute, escape_text};
use super::super::{Start, TypeSpace, XmlError};
use super::Reader;

impl<'a> Reader<'a> {
    /// The current element with all it holds, as XML of our own writing: names without prefixes, `xsi:type` and `xsi:nil`
    /// under the prefixes `xsi` and `xsd`, other attributes with a prefix left out, everything else as text. What is
    /// captured can be written into any envelope of ours.
    ///
    /// # Errors
    /// On malformed, forbidden, too deep or truncated XML.
    pub fn capture(&mut self, start: &Start<'a>) -> Result<String, XmlError> {
        let mut out = String::new();
        self.element_into(start, &mut out)?;
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

    fn element_into(&mut self, start: &Start<'a>, out: &mut String) -> Result<(), XmlError> {
        out.push('<');
        out.push_str(start.local);
        if let Some(sent) = &start.xsi_type {
            out.push_str(" xsi:type=\"");
            if sent.space == TypeSpace::Xsd {
                out.push_str("xsd:");
            }
            escape_attribute(&sent.local, out);
            out.push('"');
        }
        if start.nil {
            out.push_str(" xsi:nil=\"true\"");
        }
        for attribute in Attributes(start.attributes) {
            let attribute = attribute?;
            if attribute.prefix.is_empty() && attribute.local != "xmlns" {
                out.push(' ');
                out.push_str(attribute.local);
                out.push_str("=\"");
                escape_attribute(&attributes::value(attribute.value)?, out);
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

    /// Goes as deep as the elements do, which the reader's limit bounds.
    fn content_into(&mut self, out: &mut String) -> Result<(), XmlError> {
        if self.empty {
            self.empty = false;
            self.leave();
            return Ok(());
        }
        loop {
            match self.scanner.next()? {
                Token::Start { at, local, attributes, empty } => {
                    let start = self.enter(at, local, attributes, empty)?;
                    self.element_into(&start, out)?;
                }
                Token::End => {
                    self.leave();
                    return Ok(());
                }
                Token::Text(text) | Token::CData(text) => escape_text(&self.lines(text), out),
                Token::Reference(name) => {
                    let mut buffer = [0; 4];
                    escape_text(self.reference(name)?.encode_utf8(&mut buffer), out);
                }
                other => self.aside(&other)?,
            }
        }
    }
}
