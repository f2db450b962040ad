use std::fmt;

/// What a server sent for an object beyond the fields that this crate knows. Kept so that it can be written back.
#[derive(Clone, Default)]
pub struct Extra(Option<Box<Inner>>);

#[derive(Clone, Default)]
struct Inner {
    type_name: Option<Box<str>>,
    elements: Vec<RawElement>,
}

/// An element that this crate has no field for. `Debug` tells its name and size and not its content: nothing says
/// whether that is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RawElement {
    name: Box<str>,
    xml: Box<str>,
}

impl Extra {
    /// The name of the object's type, when this crate does not know it or did not expect it here.
    pub fn type_name(&self) -> Option<&str> {
        self.0.as_ref()?.type_name.as_deref()
    }

    /// The unknown elements in the order in which they came.
    pub fn elements(&self) -> &[RawElement] {
        self.0.as_ref().map_or(&[], |inner| &inner.elements)
    }

    /// Whether there is nothing beyond what is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn set_type_name(&mut self, name: &str) {
        self.0.get_or_insert_default().type_name = Some(name.into());
    }

    pub(crate) fn push(&mut self, name: &str, xml: String) {
        self.0.get_or_insert_default().elements.push(RawElement { name: name.into(), xml: xml.into() });
    }
}

impl RawElement {
    /// The element's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole element as XML: without prefixes on names, `xsi` and `xsd` as prefixes of types.
    pub fn xml(&self) -> &str {
        &self.xml
    }
}

impl fmt::Debug for RawElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}> ({} bytes of XML)", self.name, self.xml.len())
    }
}
