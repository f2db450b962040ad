//! What each name means: the schema knows types by name only, the sidecar writes them as text.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Card, Model, TypeRef};
use crate::schema::{Complex, Declared, MOREF, RawType, Schema};
use crate::sidecar::{Flag, Sidecar};
use crate::wsdl::Wsdl;

/// Wire names by what they stand for. The sets are disjoint.
pub(super) struct Names<'a> {
    pub(super) data: BTreeSet<&'a str>,
    enums: BTreeSet<&'a str>,
    managed: BTreeSet<&'a str>,
    /// Data types that extend `MethodFault`, and itself.
    faults: BTreeSet<&'a str>,
    /// Name of an `ArrayOf…` wrapper to the type of its elements.
    arrays: BTreeMap<&'a str, &'a RawType>,
    /// The managed type of the service's tasks.
    pub(super) task: String,
}

impl<'a> Names<'a> {
    /// The names of the schema and the sidecar, over those of the model, which it imports.
    pub(super) fn new(
        schema: &'a Schema,
        wsdl: &Wsdl,
        sidecar: Option<&'a Sidecar>,
        model: &'a Model,
    ) -> Result<Self> {
        let requests = request_types(schema, wsdl);
        let own = schema.enums.keys().map(String::as_str);
        let stated = sidecar.iter().flat_map(|s| s.managed.keys()).map(String::as_str);
        let mut names = Self {
            data: BTreeSet::new(),
            enums: own.chain(model.enums.keys().map(String::as_str)).collect(),
            managed: stated.chain(model.managed.keys().map(String::as_str)).collect(),
            faults: BTreeSet::new(),
            arrays: BTreeMap::new(),
            task: task_type(&wsdl.service_ns, model),
        };
        for (name, complex) in &schema.complex {
            if let Some(element) = array_element(name, complex) {
                names.arrays.insert(name, element);
            } else if !requests.contains(name.as_str()) {
                names.data.insert(name);
            }
        }
        if let Some(name) = names.data.iter().find(|name| model.types.contains_key(**name)) {
            return Err(Error::new(ErrorKind::Duplicate, format!("{name:?} is a type of two services")));
        }
        names.data.extend(model.types.keys().map(String::as_str));
        let base = |name: &str| match schema.complex.get(name) {
            Some(complex) => complex.base.as_deref(),
            None => model.types.get(name)?.base.as_deref(),
        };
        for name in &names.data {
            let ancestry = std::iter::successors(Some(*name), |name| base(name));
            // Bounded, since cycles are only found later.
            if ancestry.take(names.data.len() + 1).any(|n| n == "MethodFault") {
                names.faults.insert(name);
            }
        }
        let clash =
            names.enums.intersection(&names.data).chain(names.managed.intersection(&names.data)).next();
        if let Some(name) = clash.or_else(|| names.managed.intersection(&names.enums).next()) {
            return Err(Error::new(ErrorKind::Duplicate, format!("{name:?} names two kinds of type")));
        }
        Ok(names)
    }

    /// The type a schema element has.
    pub(super) fn in_schema(&self, user: &str, raw: &RawType) -> Result<TypeRef> {
        let name = match raw {
            RawType::Xsd(name) => return xsd_type(user, name),
            RawType::Named(name) => name.as_str(),
        };
        if name == MOREF {
            return Ok(TypeRef::MoRef(None));
        }
        if self.data.contains(name) {
            return Ok(TypeRef::Data(name.to_owned()));
        }
        if self.enums.contains(name) {
            return Ok(TypeRef::Enum(name.to_owned()));
        }
        match self.arrays.get(name) {
            Some(RawType::Named(inner)) if self.arrays.contains_key(inner.as_str()) => {
                Err(Error::new(ErrorKind::Unsupported, format!("{user:?} is an array of arrays")))
            }
            Some(element) => Ok(TypeRef::ArrayOf(Box::new(self.in_schema(user, element)?))),
            None => {
                let message = format!("{user:?} refers to {name:?}, which is not a data type");
                Err(Error::new(ErrorKind::Dangling, message))
            }
        }
    }

    /// The type and cardinality the sidecar states, in the form they have on the wire.
    pub(super) fn in_sidecar(&self, user: &str, text: &str, flags: &[Flag]) -> Result<(TypeRef, Card)> {
        let (name, many) = text.strip_suffix("[]").map_or((text, false), |name| (name, true));
        let ty = if flags.contains(&Flag::Link) {
            // A link is the key of the object it points to.
            TypeRef::String
        } else if let Some(name) = name.strip_prefix("xsd:") {
            xsd_type(user, name)?
        } else if self.managed.contains(name) {
            TypeRef::MoRef(Some(name.to_owned()))
        } else if self.faults.contains(name) {
            // Faults never travel bare: they are wrapped together with their message.
            self.in_schema(user, &RawType::Named("LocalizedMethodFault".into()))?
        } else if self.data.contains(name) {
            TypeRef::Data(name.to_owned())
        } else if self.enums.contains(name) {
            TypeRef::Enum(name.to_owned())
        } else {
            let message = format!("the sidecar gives {user:?} the type {name:?}, which is not defined");
            return Err(Error::new(ErrorKind::Dangling, message));
        };
        Ok((ty, card(flags.contains(&Flag::Optional), many)))
    }

    /// Adds the sidecar's knowledge to a type of the schema, which it must not contradict.
    pub(super) fn refine(
        &self,
        user: &str,
        (ty, card): (TypeRef, Card),
        text: &str,
        flags: &[Flag],
    ) -> Result<TypeRef> {
        let (stated, stated_card) = self.in_sidecar(user, text, flags)?;
        let same_count = (card == Card::Many) == (stated_card == Card::Many);
        match (ty, stated) {
            (TypeRef::MoRef(None), stated @ TypeRef::MoRef(_)) if same_count => Ok(stated),
            (ty, stated) if ty == stated && same_count => Ok(ty),
            (ty, _) => Err(Error::new(
                ErrorKind::Contradiction,
                format!("{user:?} is {ty:?} ({card:?}) in the schema, but the sidecar says {text:?}"),
            )),
        }
    }

    pub(super) fn is_managed(&self, name: &str) -> bool {
        self.managed.contains(name)
    }
}

/// `maxOccurs` decides before `minOccurs`: an optional array is just an array.
pub(super) fn card(optional: bool, many: bool) -> Card {
    match (optional, many) {
        (_, true) => Card::Many,
        (true, false) => Card::Optional,
        (false, false) => Card::Required,
    }
}

/// `Task`; at a service beside, `urn:vslm`, `VslmTask`.
fn task_type(service_ns: &str, model: &Model) -> String {
    let mut letters = service_ns.trim_start_matches("urn:").chars();
    let capital = letters.next().filter(|_| !model.services.is_empty());
    capital.map_or_else(|| "Task".into(), |first| format!("{}{}Task", first.to_uppercase(), letters.as_str()))
}

fn request_types<'a>(schema: &'a Schema, wsdl: &Wsdl) -> BTreeSet<&'a str> {
    wsdl.operations
        .iter()
        .filter_map(|operation| match schema.elements.get(&operation.input) {
            Some(Declared::Named(RawType::Named(name))) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

fn array_element<'a>(name: &str, complex: &'a Complex) -> Option<&'a RawType> {
    match complex.own.as_slice() {
        [only] if name.starts_with("ArrayOf") && complex.base.is_none() && only.many => Some(&only.ty),
        _ => None,
    }
}

fn xsd_type(user: &str, name: &str) -> Result<TypeRef> {
    Ok(match name {
        "boolean" => TypeRef::Bool,
        "byte" => TypeRef::Byte,
        "short" => TypeRef::Short,
        "int" => TypeRef::Int,
        "long" => TypeRef::Long,
        "float" => TypeRef::Float,
        "double" => TypeRef::Double,
        "string" => TypeRef::String,
        "dateTime" => TypeRef::DateTime,
        "base64Binary" => TypeRef::Binary,
        "anyURI" => TypeRef::Uri,
        "anyType" => TypeRef::AnyType,
        _ => {
            let message = format!("{user:?} is an xsd:{name}; vSphere schemas have no such thing");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
