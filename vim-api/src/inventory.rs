//! A live copy of the inventory's tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::client::Client;
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::updates::{Change, Changes, Updates};

/// The names and parents of everything in the inventory, kept up to date: folders, datacenters, clusters, hosts, pools,
/// datastores, networks and machines that the session may see.
///
/// The tree is built from each object's `parent`, so one that was moved is found at its new place with the update that
/// says so. Call [`next`](Self::next) in a loop; what it returns is in the tree already.
#[derive(Debug)]
pub struct Inventory {
    root: MoRef<mo::ManagedEntity>,
    updates: Updates<mo::ManagedEntity>,
    nodes: HashMap<MoRef<mo::ManagedEntity>, InventoryNode>,
    children: HashMap<MoRef<mo::ManagedEntity>, BTreeMap<String, Vec<MoRef<mo::ManagedEntity>>>>,
}

/// One object of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryNode {
    /// Its name as the server has it: `/`, `\` and `%` are escaped as `%2f`, `%5c` and `%25`.
    pub name: String,
    /// What it lies in. `None` for the root folder, and for what lies in something that the session may not see.
    pub parent: Option<MoRef<mo::ManagedEntity>>,
}

impl Client {
    /// A live copy of the whole inventory. Nothing is sent before the first [`Inventory::next`].
    pub fn inventory(&self) -> Inventory {
        let root: MoRef<mo::ManagedEntity> = self.content().root_folder.cast();
        Inventory {
            updates: Updates::with_root(self, &root.cast(), &["name", "parent"]),
            root,
            nodes: HashMap::new(),
            children: HashMap::new(),
        }
    }
}

impl Inventory {
    /// Waits for something to happen, as [`Updates::next`] does, and takes it into the tree.
    ///
    /// # Errors
    /// As [`Updates::next`]; also when the server sends a name or parent of another type than the schema says.
    pub async fn next(&mut self) -> Result<Changes<mo::ManagedEntity>, Error> {
        let told = self.updates.next().await?;
        for change in &told.changes {
            match change {
                Change::Enter(object) | Change::Modify { object, .. } => self.place(object)?,
                Change::Leave(object) => self.remove(object),
            }
        }
        Ok(told)
    }

    /// Whether the whole tree has come in.
    pub fn is_in_sync(&self) -> bool {
        self.updates.is_in_sync()
    }

    /// The root folder.
    pub fn root(&self) -> &MoRef<mo::ManagedEntity> {
        &self.root
    }

    /// Number of objects in the tree, the root folder included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing has come in yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An object by its reference.
    pub fn get(&self, object: &MoRef<mo::ManagedEntity>) -> Option<&InventoryNode> {
        self.nodes.get(object)
    }

    /// What lies directly in `object`, sorted by name.
    pub fn children(
        &self,
        object: &MoRef<mo::ManagedEntity>,
    ) -> impl Iterator<Item = &MoRef<mo::ManagedEntity>> {
        self.children.get(object).into_iter().flat_map(|names| names.values().flatten())
    }

    /// The inventory path of an object, such as `/DC0/vm/web-01`; `/` for the root folder. `None` when it is not known, or
    /// does not hang together with the root folder.
    pub fn path(&self, object: &MoRef<mo::ManagedEntity>) -> Option<String> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut at = object;
        while *at != self.root {
            // A server that says that a folder lies in itself must not hang us.
            if !seen.insert(at) {
                return None;
            }
            let node = self.nodes.get(at)?;
            names.push(node.name.as_str());
            at = node.parent.as_ref()?;
        }
        names.reverse();
        Some(format!("/{}", names.join("/")))
    }

    fn place(&mut self, object: &MoRef<mo::ManagedEntity>) -> Result<(), Error> {
        self.remove(object);
        // It may have left by a later change of the same list.
        let Some(known) = self.updates.get(object) else { return Ok(()) };
        let name: String = known.get("name")?.unwrap_or_default();
        let parent: Option<MoRef<mo::ManagedEntity>> = known.get("parent")?;
        if let Some(parent) = &parent {
            let siblings = self.children.entry(parent.clone()).or_default();
            siblings.entry(name.clone()).or_default().push(object.clone());
        }
        self.nodes.insert(object.clone(), InventoryNode { name, parent });
        Ok(())
    }

    fn remove(&mut self, object: &MoRef<mo::ManagedEntity>) {
        let Some(InventoryNode { name, parent: Some(parent) }) = self.nodes.remove(object) else { return };
        let Some(siblings) = self.children.get_mut(&parent) else { return };
        if let Some(same_name) = siblings.get_mut(&name) {
            same_name.retain(|sibling| sibling != object);
            if same_name.is_empty() {
                siblings.remove(&name);
            }
        }
        if siblings.is_empty() {
            self.children.remove(&parent);
        }
    }
}
