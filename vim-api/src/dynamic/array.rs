use std::fmt;

use super::poly::decode_declared;
use super::{Element, TypeInfo, Value, registry};
use crate::moref::MoRef;
use crate::xml::{Reader, XmlError};

/// The items of an `ArrayOf…`.
#[derive(Clone, Default)]
pub struct Array {
    item_name: Box<str>,
    items: Vec<Value>,
}

impl Array {
    pub(super) fn new(item_name: &str, items: Vec<Value>) -> Self {
        Self { item_name: item_name.into(), items }
    }

    /// Wire name of the items' declared type, which is also their element name.
    pub fn item_name(&self) -> &str {
        &self.item_name
    }

    /// The items.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// The items.
    pub fn into_items(self) -> Vec<Value> {
        self.items
    }

    /// Wire name of the array's own type. Only built-in types are capitalised in it:
    /// `ArrayOfvslmInfrastructureObjectPolicy` keeps its small letter.
    pub(super) fn type_name(&self) -> String {
        let known = BUILTIN.iter().find(|(_, item)| *item == &*self.item_name);
        format!("ArrayOf{}", known.map_or(&*self.item_name, |(capitalised, _)| capitalised))
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.items).finish()
    }
}

/// What the items of an `ArrayOf…` are declared to be.
pub(super) enum Items {
    Any,
    Builtin(&'static str),
    Reference,
    Object(&'static TypeInfo),
    Enum(Box<str>),
}

impl Items {
    /// By the name behind `ArrayOf`; `None` for what this crate does not know.
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some((_, builtin)) = BUILTIN.iter().find(|(capitalised, _)| *capitalised == name) {
            return Some(if *builtin == Value::NAME { Self::Any } else { Self::Builtin(builtin) });
        }
        if let Some(info) = registry::type_info(name) {
            return Some(Self::Object(info));
        }
        if name == "ManagedObjectReference" {
            return Some(Self::Reference);
        }
        registry::is_enum(name).then(|| Self::Enum(name.into()))
    }

    /// Reads the items that are the children of the current element. An item of an unknown type is taken as one of the
    /// declared type with its further elements kept, as in a field.
    pub(super) fn decode(&self, reader: &mut Reader<'_>) -> Result<Array, XmlError> {
        let mut items = Vec::new();
        while let Some(start) = reader.next_child()? {
            if start.is_nil() {
                reader.skip()?;
                items.push(Value::Null);
                continue;
            }
            items.push(match (self, start.xsi_type().cloned()) {
                (Self::Any, _) => Value::decode(reader, &start)?,
                (Self::Object(declared), _) => Value::Object(decode_declared(declared, reader, &start)?),
                (Self::Reference, _) => Value::MoRef(MoRef::decode(reader, &start)?),
                (Self::Builtin(_) | Self::Enum(_), Some(sent)) => {
                    Value::decode_named(&sent.local, sent.space, reader, &start)?
                }
                (Self::Builtin(name), None) => Value::decode_builtin(name, reader, &start)?,
                (Self::Enum(name), None) => {
                    Value::Enum { type_name: name.clone(), value: reader.text()?.into() }
                }
            });
        }
        let item_name = match self {
            Self::Any => Value::NAME,
            Self::Builtin(name) => name,
            Self::Reference => MoRef::<crate::mo::ManagedObject>::NAME,
            Self::Object(info) => info.name,
            Self::Enum(name) => name,
        };
        Ok(Array::new(item_name, items))
    }
}

/// Built-in types as they stand behind `ArrayOf`, and as the array's elements are called.
const BUILTIN: &[(&str, &str)] = &[
    ("AnyType", "anyType"),
    ("Boolean", "boolean"),
    ("Byte", "byte"),
    ("Short", "short"),
    ("Int", "int"),
    ("Long", "long"),
    ("Float", "float"),
    ("Double", "double"),
    ("String", "string"),
    ("AnyURI", "anyURI"),
    ("DateTime", "dateTime"),
    ("Base64Binary", "base64Binary"),
];
