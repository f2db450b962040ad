//! Datacenters by their inventory paths, and the datastores that each has: how file services name places.
//!
//! Everything is read through nodes and their properties, so it holds for any shape that the inventory takes.

use vim_api::dynamic::Value;
use vim_api::{MoRef, mo};

use super::{ids, moref};
use crate::world::{DatastoreState, World};

/// The one datacenter of a host that is no vCenter's.
pub(crate) const HOST_DATACENTER: &str = "ha-datacenter";

impl World {
    /// All datacenters with their inventory paths, such as `F0/DC0`.
    pub(crate) fn datacenters(&self) -> Vec<(String, MoRef)> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), moref::<mo::Folder>(ids::ROOT).cast())];
        while let Some((path, container)) = open.pop() {
            for child in self.contents(&container) {
                let Some(name) = self.name_of(&child) else { continue };
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                match child.type_name() {
                    "Folder" => open.push((path, child)),
                    "Datacenter" => found.push((path, child)),
                    _ => {}
                }
            }
        }
        found.sort_by(|(one, _): &(String, _), (other, _)| one.cmp(other));
        found
    }

    /// The datacenter at an inventory path, with or without slashes around it. Characters may stand as their codes,
    /// as they do in the names that a server shows.
    pub(crate) fn datacenter_at(&self, path: &str) -> Option<MoRef> {
        let path = path.trim_matches('/');
        let same = |other: &str| other == path || percent_decoded(other) == percent_decoded(path);
        self.datacenters().into_iter().find(|(other, _)| same(other)).map(|(_, datacenter)| datacenter)
    }

    /// The datastores of a datacenter.
    pub(crate) fn datastores_of(&self, datacenter: &MoRef) -> impl Iterator<Item = &DatastoreState> {
        let listed = self.node(datacenter, None).and_then(|node| self.property(node, "datastore", None));
        let ids: Vec<String> = match listed {
            Some(Value::Array(array)) => array.items().iter().filter_map(id_of).collect(),
            _ => Vec::new(),
        };
        self.stored.datastores.iter().filter(move |datastore| ids.contains(&datastore.id))
    }

    fn name_of(&self, object: &MoRef) -> Option<String> {
        match self.property(self.node(object, None)?, "name", None)? {
            Value::String(name) => Some(name),
            _ => None,
        }
    }
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::MoRef(reference) => Some(reference.value().to_owned()),
        _ => None,
    }
}

/// The bytes that percent-encoded text stands for. A percent sign without two digits stands for itself.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match code {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs() {
        for (text, bytes) in [
            ("DC0", "DC0".as_bytes()),
            ("%44%430", b"DC0"),
            ("a%2Fb%2fc", b"a/b/c"),
            ("100%", b"100%"),
            ("%+1%4", b"%+1%4"),
            ("%252e", b"%2e"),
            ("%c3%bcbung", "übung".as_bytes()),
            ("%ff", b"\xff"),
        ] {
            assert_eq!(percent_decoded(text), bytes, "{text}");
        }
    }
}
