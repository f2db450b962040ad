//! What `cargo xtask field-tables` wrote, read back.

use std::collections::BTreeMap;

/// All types of one API version by their wire names.
#[derive(Default)]
pub struct Table {
    pub types: BTreeMap<&'static str, Type>,
    pub enums: BTreeMap<&'static str, Vec<&'static str>>,
    pub methods: BTreeMap<&'static str, Vec<&'static str>>,
    subtypes: BTreeMap<&'static str, Vec<&'static str>>,
}

pub struct Type {
    pub base: Option<&'static str>,
    pub own: Vec<Field>,
}

#[derive(Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub often: Often,
    pub ty: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Often {
    Once,
    AtMostOnce,
    Any,
}

impl Table {
    pub fn read(text: &'static str) -> Self {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            match kind {
                "type" => {
                    let base = words.next().filter(|base| *base != "-");
                    table.types.insert(name, Type { base, own: words.map(field).collect() });
                    table.subtypes.entry(base.unwrap_or_default()).or_default().push(name);
                }
                "enum" => drop(table.enums.insert(name, words.collect())),
                "method" => drop(table.methods.insert(name, words.collect())),
                other => panic!("{other} starts no line of a table"),
            }
        }
        table
    }

    /// The fields of a type as they travel, those of the root first.
    pub fn fields(&self, name: &str) -> Vec<Field> {
        let ty = &self.types[name];
        let mut fields = ty.base.map_or_else(Vec::new, |base| self.fields(base));
        fields.extend(&ty.own);
        fields
    }

    /// The types that extend this one directly.
    pub fn subtypes(&self, name: &str) -> &[&'static str] {
        self.subtypes.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whatever an `ArrayOf…` can hold. The schema declares an array only where it uses one; servers make any.
    pub fn item_types(&self) -> impl Iterator<Item = &'static str> {
        let named = self.types.keys().chain(self.enums.keys()).copied();
        named.chain(super::documents::BUILTIN).chain(["anyType", "ManagedObjectReference"])
    }
}

fn field(text: &'static str) -> Field {
    let (name, ty) = text.split_once(':').unwrap();
    let (name, often) = match name.as_bytes().last() {
        Some(b'?') => (&name[..name.len() - 1], Often::AtMostOnce),
        Some(b'*') => (&name[..name.len() - 1], Often::Any),
        _ => (name, Often::Once),
    };
    Field { name, often, ty }
}
