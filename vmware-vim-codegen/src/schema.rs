//! Runs xsd-parser's reader and interpreter and reduces what they give to the few shapes vSphere schemas consist of.
//!
//! Two habits of the interpreter matter here. It flattens the content of an extension, base elements first, but keeps
//! the base's name: a type's own elements are the ones after the base's. And identifiers carry the number of the
//! schema file they came from, so that they are compared by namespace, name and kind only.

mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;

use xsd_parser::config::{InterpreterConfig, ParserConfig, Schema as Input};
use xsd_parser::models::meta::{
    Base, ComplexMeta, ElementMetaVariant, ElementMode, MetaType, MetaTypeVariant, MetaTypes,
};
use xsd_parser::models::schema::{MaxOccurs, NamespaceId};
use xsd_parser::{IdentType, TypeIdent, exec_interpreter, exec_parser};

use crate::error::{Error, ErrorKind, Result};

/// Wire name of the one type with simple content: a reference to a managed object.
pub(crate) const MOREF: &str = "ManagedObjectReference";

const XSD: &str = "http://www.w3.org/2001/XMLSchema";

/// Where the schema comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file whose includes are beside it.
    File(PathBuf),
    /// A document whose includes have absolute locations.
    Text(String),
}

/// Everything that one namespace defines.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) complex: BTreeMap<String, Complex>,
    pub(crate) enums: BTreeMap<String, Vec<String>>,
    pub(crate) elements: BTreeMap<String, Declared>,
}

/// A complex type with a sequence of elements.
#[derive(Debug)]
pub(crate) struct Complex {
    pub(crate) base: Option<String>,
    pub(crate) own: Vec<Element>,
}

/// An element of a sequence.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) ty: RawType,
    pub(crate) optional: bool,
    pub(crate) many: bool,
}

/// The type of an element, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawType {
    /// A type of XML Schema itself.
    Xsd(String),
    /// A type of the service's namespace, or of the one that it imports.
    Named(String),
}

/// A global element.
#[derive(Debug)]
pub(crate) enum Declared {
    /// `<element name= type=>`.
    Named(RawType),
    /// `<element name=><complexType>…`.
    Inline(Vec<Element>),
}

/// Reads the schema and returns what it defines in the namespace `service_ns`, over types of the namespace `imported`.
pub(crate) fn read(source: Source, service_ns: &str, imported: Option<&str>) -> Result<Schema> {
    let input = match source {
        Source::File(path) => Input::File(path),
        Source::Text(text) => Input::NamedSchema("embedded".into(), text),
    };
    let schemas = exec_parser(ParserConfig { schemas: vec![input], ..ParserConfig::default() })
        .map_err(|e| refused("the XML schema cannot be read", e))?;
    let member_counts = written::member_counts(&schemas, service_ns)?;
    let meta = exec_interpreter(InterpreterConfig::default(), &schemas)
        .map_err(|e| refused("the XML schema contradicts itself", e))?;
    let schema = Reader::new(&meta, service_ns, imported)?.read()?;
    schema.lost_nothing(&member_counts)?;
    Ok(schema)
}

/// xsd-parser's errors are neither small nor guaranteed to be `Send`, so only their text is kept.
fn refused(message: &str, error: xsd_parser::Error) -> Error {
    use xsd_parser::{Error as Top, InterpreterError as Inner};
    let kind = match &error {
        Top::InterpreterError(Inner::UnknownType(_)) => ErrorKind::Dangling,
        Top::InterpreterError(Inner::AmbiguousType(_) | Inner::TypeAlreadyDefined(_)) => ErrorKind::Duplicate,
        Top::InterpreterError(Inner::CircularDependency(_)) => ErrorKind::Cycle,
        _ => ErrorKind::Schema,
    };
    Error::new(kind, message).with_source(error.to_string())
}

impl Schema {
    /// Given two elements or values of one name, the interpreter makes one of them, even if one is inherited.
    fn lost_nothing(&self, member_counts: &BTreeMap<String, usize>) -> Result<()> {
        let elements = self.complex.iter().map(|(name, complex)| (name, complex.own.len()));
        let values = self.enums.iter().map(|(name, values)| (name, values.len()));
        for (name, count) in elements.chain(values) {
            if member_counts.get(name).is_some_and(|written| *written != count) {
                let message =
                    format!("{name:?} repeats one of its elements or values, or an inherited element");
                return Err(Error::new(ErrorKind::Duplicate, message));
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    meta: &'a MetaTypes,
    service: NamespaceId,
    imported: Option<NamespaceId>,
    xsd: NamespaceId,
}

impl<'a> Reader<'a> {
    fn new(meta: &'a MetaTypes, service_ns: &str, imported: Option<&str>) -> Result<Self> {
        let find = |wanted: &str| {
            let found = meta
                .modules
                .values()
                .find(|m| m.namespace.as_ref().is_some_and(|ns| ns.0.as_ref() == wanted.as_bytes()));
            found.map(|m| m.namespace_id).ok_or_else(|| {
                Error::new(
                    ErrorKind::Schema,
                    format!("the schema defines nothing in the namespace {wanted:?}"),
                )
            })
        };
        let imported = imported.map(find).transpose()?;
        Ok(Self { meta, service: find(service_ns)?, imported, xsd: find(XSD)? })
    }

    fn read(&self) -> Result<Schema> {
        let mut schema = Schema::default();
        for (ident, item) in self.meta.items.iter().filter(|(ident, _)| ident.ns == self.service) {
            let name = ident.name.as_str().to_owned();
            let new = match (ident.type_, &item.variant) {
                (IdentType::Type, _) if name == MOREF => true,
                (IdentType::Type, MetaTypeVariant::ComplexType(complex)) => {
                    let complex = self.complex(&name, complex)?;
                    schema.complex.insert(name.clone(), complex).is_none()
                }
                (IdentType::Type, MetaTypeVariant::Enumeration(meta)) => {
                    let values = meta.variants.iter().map(|v| v.ident.name.as_str().to_owned()).collect();
                    schema.enums.insert(name.clone(), values).is_none()
                }
                (IdentType::Element, _) => {
                    let declared = self.declared(&name, ident, item)?;
                    schema.elements.insert(name.clone(), declared).is_none()
                }
                // Content of the items above; it is reached through them.
                (IdentType::ElementType, _) | (IdentType::Type, _) if ident.name.is_generated() => true,
                (IdentType::ElementType, _) => true,
                _ => return Err(unsupported(&name, "is neither a sequence of elements nor an enumeration")),
            };
            if !new {
                return Err(Error::new(ErrorKind::Duplicate, format!("{name:?} is defined twice")));
            }
        }
        Ok(schema)
    }

    fn declared(&self, name: &str, ident: &TypeIdent, item: &MetaType) -> Result<Declared> {
        let (ident, item) = match &item.variant {
            MetaTypeVariant::Reference(reference) if reference.type_.type_ == IdentType::ElementType => {
                let target = self.meta.items.get(&reference.type_);
                (&reference.type_, target.ok_or_else(|| dangling(name, &reference.type_))?)
            }
            MetaTypeVariant::Reference(reference) => {
                return Ok(Declared::Named(self.raw(name, &reference.type_)?));
            }
            _ => (ident, item),
        };
        match &item.variant {
            MetaTypeVariant::ComplexType(complex) => {
                Ok(Declared::Inline(self.flat(ident.name.as_str(), complex)?))
            }
            _ => Err(unsupported(name, "is an element whose inline type is not a sequence")),
        }
    }

    fn complex(&self, name: &str, complex: &ComplexMeta) -> Result<Complex> {
        let mut own = self.flat(name, complex)?;
        let base = match &complex.base {
            Base::None => None,
            Base::Restriction(_) => return Err(unsupported(name, "restricts another type")),
            Base::Extension(base) => {
                let RawType::Named(base_name) = self.raw(name, base)? else {
                    return Err(unsupported(name, "extends a type of XML Schema"));
                };
                let inherited = match self.meta.items.get(base).map(|item| &item.variant) {
                    Some(MetaTypeVariant::ComplexType(base)) => self.flat(&base_name, base)?,
                    Some(_) => return Err(unsupported(name, "extends a type that is not a sequence")),
                    None => return Err(dangling(name, base)),
                };
                let begins =
                    own.len() >= inherited.len() && own.iter().zip(&inherited).all(|(a, b)| a.name == b.name);
                if !begins {
                    return Err(unsupported(name, "does not begin with the elements of the type it extends"));
                }
                own.drain(..inherited.len());
                Some(base_name)
            }
        };
        Ok(Complex { base, own })
    }

    /// The elements of a type including the inherited ones.
    fn flat(&self, name: &str, complex: &ComplexMeta) -> Result<Vec<Element>> {
        if complex.is_mixed || complex.is_dynamic || !complex.attributes.is_empty() {
            return Err(unsupported(name, "has attributes, mixed content or is abstract"));
        }
        let Some(content) = &complex.content else { return Ok(Vec::new()) };
        let Some(MetaTypeVariant::Sequence(group)) = self.meta.get_variant(content) else {
            return Err(unsupported(name, "has content other than a sequence"));
        };
        if complex.min_occurs > 1 || complex.max_occurs != MaxOccurs::Bounded(1) {
            return Err(unsupported(name, "repeats its sequence"));
        }
        group
            .elements
            .iter()
            .map(|element| {
                let ElementMetaVariant::Type { type_, mode: ElementMode::Element } = &element.variant else {
                    return Err(unsupported(name, "contains something that is not a named element"));
                };
                let element_name = element.ident.name.as_str();
                let many = match element.max_occurs {
                    MaxOccurs::Bounded(1) => false,
                    MaxOccurs::Unbounded => true,
                    MaxOccurs::Bounded(_) => {
                        return Err(unsupported(name, "limits how often an element repeats"));
                    }
                };
                Ok(Element {
                    name: element_name.to_owned(),
                    ty: self.raw(&format!("{name}.{element_name}"), type_)?,
                    optional: element.min_occurs == 0,
                    many,
                })
            })
            .collect()
    }

    fn raw(&self, user: &str, ident: &TypeIdent) -> Result<RawType> {
        let name = ident.name.as_str().to_owned();
        if ident.type_ != IdentType::Type || ident.name.is_generated() {
            return Err(unsupported(user, "has an inline type"));
        }
        match ident.ns {
            ns if ns == self.xsd => Ok(RawType::Xsd(name)),
            ns if ns == self.service || Some(ns) == self.imported => Ok(RawType::Named(name)),
            _ => Err(unsupported(user, "uses a type of a third namespace")),
        }
    }
}

fn unsupported(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{name:?} {what}; vSphere schemas have no such thing"))
}

fn dangling(user: &str, ident: &TypeIdent) -> Error {
    Error::new(
        ErrorKind::Dangling,
        format!("{user:?} refers to {:?}, which is not defined", ident.name.as_str()),
    )
}
