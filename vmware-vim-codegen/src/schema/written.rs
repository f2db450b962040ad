//! Looks at the schema as it is written, for the mistakes that the interpreter covers up: it takes the last of two
//! definitions of a name, and makes one element, or one value of an enumeration, of two.

use std::collections::{BTreeMap, BTreeSet};

use xsd_parser::models::schema::Schemas;
use xsd_parser::models::schema::xs::{
    ComplexBaseType, ComplexBaseTypeContent, ComplexContentContent, ExtensionTypeContent, Facet, GroupType,
    GroupTypeContent, RestrictionContent, SchemaContent, SimpleBaseType, SimpleBaseTypeContent,
};

use super::unsupported;
use crate::error::{Error, ErrorKind, Result};

/// By type of the namespace: the number of elements it adds to those it inherits, or of values it lists.
///
/// Fails if any name is defined twice.
pub(super) fn member_counts(schemas: &Schemas, service_ns: &str) -> Result<BTreeMap<String, usize>> {
    let mut seen = BTreeSet::new();
    let mut counts = BTreeMap::new();
    for (_, info) in schemas.schemas() {
        let namespace = info.schema.target_namespace.as_deref();
        for item in &info.schema.content {
            let (is_type, name) = match item {
                SchemaContent::ComplexType(item) => (true, item.name.as_deref()),
                SchemaContent::SimpleType(item) => (true, item.name.as_deref()),
                SchemaContent::Element(item) => (false, item.name.as_deref()),
                SchemaContent::Include(_) | SchemaContent::Import(_) | SchemaContent::Annotation(_) => {
                    continue;
                }
                _ => return Err(unsupported("the schema", "has something other than types and elements")),
            };
            let name =
                name.ok_or_else(|| Error::new(ErrorKind::Schema, "a global type or element has no name"))?;
            if !seen.insert((namespace, is_type, name)) {
                return Err(Error::new(ErrorKind::Duplicate, format!("{name:?} is defined twice")));
            }
            if namespace != Some(service_ns) {
                continue;
            }
            match item {
                SchemaContent::ComplexType(item) => counts.insert(name.to_owned(), elements(name, item)?),
                SchemaContent::SimpleType(item) => counts.insert(name.to_owned(), values(item)),
                _ => None,
            };
        }
    }
    Ok(counts)
}

fn elements(name: &str, complex: &ComplexBaseType) -> Result<usize> {
    let mut total = 0_usize;
    for content in &complex.content {
        total += match content {
            ComplexBaseTypeContent::Sequence(group) => in_sequence(name, group)?,
            ComplexBaseTypeContent::ComplexContent(content) => in_extension(name, &content.content)?,
            // Anything else is judged by what the interpreter makes of it.
            _ => 0,
        };
    }
    Ok(total)
}

fn in_extension(name: &str, contents: &[ComplexContentContent]) -> Result<usize> {
    let mut total = 0_usize;
    for content in contents {
        let ComplexContentContent::Extension(extension) = content else { continue };
        for content in &extension.content {
            if let ExtensionTypeContent::Sequence(group) = content {
                total += in_sequence(name, group)?;
            }
        }
    }
    Ok(total)
}

fn in_sequence(name: &str, group: &GroupType) -> Result<usize> {
    let mut total = 0_usize;
    for content in &group.content {
        match content {
            GroupTypeContent::Element(_) => total += 1,
            GroupTypeContent::Annotation(_) => {}
            _ => return Err(unsupported(name, "has a group inside of its sequence")),
        }
    }
    Ok(total)
}

fn values(simple: &SimpleBaseType) -> usize {
    let restrictions = simple.content.iter().filter_map(|content| match content {
        SimpleBaseTypeContent::Restriction(restriction) => Some(&restriction.content),
        _ => None,
    });
    restrictions.flatten().filter(|c| matches!(c, RestrictionContent::Facet(Facet::Enumeration(_)))).count()
}
