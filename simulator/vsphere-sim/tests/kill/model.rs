//! What there has to be, by what was acknowledged.

use std::collections::BTreeMap;

/// Bytes of a new disk.
pub(crate) const CAPACITY: usize = 1 << 20;

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }

    pub(crate) fn one<'a, T>(&mut self, of: impl Iterator<Item = &'a T>) -> Option<&'a T> {
        let all: Vec<_> = of.collect();
        if all.is_empty() { None } else { Some(all[self.below(all.len() as u64) as usize]) }
    }
}

/// Contents of disks, by their device keys.
pub(crate) type Disks = BTreeMap<i32, Vec<u8>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) parent: Option<String>,
    pub(crate) disks: Disks,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) disks: Disks,
    /// By name: names are used once.
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    pub(crate) current: Option<String>,
    /// Datastore path of the `.vmx`; known from the program.
    pub(crate) vmx: String,
    pub(crate) moref: String,
    /// Of its disks, by their device keys; known from the program.
    pub(crate) uuids: BTreeMap<i32, sim_store::DiskUuid>,
    pub(crate) consolidation: bool,
    /// It is a linked clone, or one has been made of it.
    pub(crate) linked: bool,
    /// A disk was moved by itself: not all of its files are in its folder, where one is looked for that is unregistered, and
    /// the folder of the disk stays when only the disk is removed.
    pub(crate) apart: bool,
    /// Change ids that have to be valid, with the key of their disk and what it held then.
    pub(crate) ids: Vec<(i32, String, Vec<u8>)>,
    /// Snapshots whose ids were looked up.
    pub(crate) looked_up: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// By name.
    pub(crate) machines: BTreeMap<String, Machine>,
    /// Out of the inventory, but there: by the `.vmx`, the names and machines.
    pub(crate) unregistered: BTreeMap<String, (String, Machine)>,
    /// Disks that no machine has, by datastore path.
    pub(crate) disks: BTreeMap<String, Vec<u8>>,
    /// Files that a user has put on the datastore, by datastore path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Counts names.
    pub(crate) last: u64,
}

impl Model {
    /// All change ids that have to be valid: the machine's id, the disk's key, the change id.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&str, i32, &str)> {
        self.machines.values().flat_map(|machine| {
            machine.ids.iter().map(|(key, id, _)| (machine.moref.as_str(), *key, id.as_str()))
        })
    }

    /// Keeps only these.
    pub(crate) fn forget_ids_but(&mut self, kept: &[(String, i32, String)]) {
        for machine in self.machines.values_mut() {
            let moref = &machine.moref;
            machine.ids.retain(|(key, id, _)| {
                kept.iter().any(|(of, at, known)| of == moref && at == key && known == id)
            });
        }
    }
}
