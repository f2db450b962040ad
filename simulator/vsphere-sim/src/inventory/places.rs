//! Datacenters by their inventory paths, and the datastores that each has: how file services name places.

use sim_store::Datastore;
use vim_api::MoRef;

use super::tree::{Entity, Kind};
use crate::world::World;

/// The one datacenter of a host that is no vCenter's.
pub(crate) const HOST_DATACENTER: &str = "ha-datacenter";

impl World {
    /// All datacenters with their inventory paths, such as `F0/DC0`.
    pub(crate) fn datacenters(&self) -> Vec<(String, MoRef)> {
        let tree = &self.stored.tree;
        let all = tree.iter().filter(|entity| matches!(entity.kind, Kind::Datacenter));
        let path_of = |datacenter: &Entity| {
            let below_root = tree.upwards(&datacenter.id).filter(|entity| entity.parent.is_some());
            let mut names: Vec<&str> = below_root.map(|entity| entity.name.as_str()).collect();
            names.reverse();
            names.join("/")
        };
        let mut found: Vec<_> = all.map(|entity| (path_of(entity), entity.reference())).collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
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
    pub(crate) fn datastores_in(&self, datacenter: &MoRef) -> impl Iterator<Item = (&Entity, &Datastore)> {
        let tree = &self.stored.tree;
        tree.datastores().filter(move |(entity, _)| {
            tree.datacenter_of(&entity.id).is_some_and(|home| home.id == datacenter.value())
        })
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
