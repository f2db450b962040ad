//! Prebuilt ways through the inventory for filters of one's own.
//!
//! A PropertyCollector goes from object to object along the references in their properties. Each function gives the
//! `selectSet` of an [`ObjectSpec`](crate::types::ObjectSpec); [`Client::list`](crate::Client::list) and
//! [`Client::updates`](crate::Client::updates) need none.
//!
//! ```no_run
//! # async fn example(vc: vim_api::Client) -> Result<(), vim_api::Error> {
//! use vim_api::{mo, traversal, types::*};
//!
//! let everything = PropertyFilterSpec {
//!     prop_set: vec![PropertySpec {
//!         r#type: "ManagedEntity".into(),
//!         path_set: vec!["name".into(), "overallStatus".into()],
//!         ..PropertySpec::default()
//!     }],
//!     object_set: vec![ObjectSpec {
//!         obj: vc.content().root_folder.cast(),
//!         select_set: traversal::whole_inventory(),
//!         ..ObjectSpec::default()
//!     }],
//!     ..PropertyFilterSpec::default()
//! };
//! let objects = vc.retrieve::<mo::ManagedEntity>(everything).await?;
//! # Ok(())
//! # }
//! ```

use crate::dynamic::Poly;
use crate::types::{SelectionSpec, TraversalSpec};

/// From a type of object along one of its properties, and which steps may follow.
///
/// A step may follow when what this one leads to can have it; more would do no harm on a server, but one that does not look
/// at the types of steps, such as govmomi's simulator, would walk from a machine to its pool and back for ever.
struct Step {
    from: &'static str,
    path: &'static str,
    then: &'static [&'static str],
}

const fn step(from: &'static str, path: &'static str, then: &'static [&'static str]) -> Step {
    Step { from, path, then }
}

const BELOW_FOLDER: &[&str] = &[
    "Folder.childEntity",
    "Datacenter.vmFolder",
    "Datacenter.hostFolder",
    "Datacenter.datastoreFolder",
    "Datacenter.networkFolder",
    "ComputeResource.host",
    "ComputeResource.resourcePool",
];
const BELOW_POOL: &[&str] = &["ResourcePool.resourcePool", "ResourcePool.vm"];

/// From each kind of container, and those that extend it, to what lies in it. A machine in a vApp has no folder; it is
/// reached through the vApp, which is a resource pool.
const DOWN: [Step; 9] = [
    step("Folder", "childEntity", BELOW_FOLDER),
    step("Datacenter", "vmFolder", BELOW_FOLDER),
    step("Datacenter", "hostFolder", BELOW_FOLDER),
    step("Datacenter", "datastoreFolder", BELOW_FOLDER),
    step("Datacenter", "networkFolder", BELOW_FOLDER),
    step("ComputeResource", "host", &[]),
    step("ComputeResource", "resourcePool", BELOW_POOL),
    step("ResourcePool", "resourcePool", BELOW_POOL),
    step("ResourcePool", "vm", &[]),
];

/// From an object to what it lies in.
const UP: [Step; 2] = [
    step("ManagedEntity", "parent", &["ManagedEntity.parent"]),
    step("VirtualMachine", "parentVApp", &["ManagedEntity.parent"]),
];

/// From the root folder, or any container, to everything below it at any depth: folders, datacenters, clusters, hosts,
/// resource pools, vApps, machines, datastores, networks. The PropertyCollector gives an object that is reached on two ways
/// once.
pub fn whole_inventory() -> Vec<Poly<SelectionSpec>> {
    every(&DOWN, true)
}

/// From a container to what lies directly in it.
pub fn children() -> Vec<Poly<SelectionSpec>> {
    every(&DOWN, false)
}

/// From an object to all that it lies in, up to the root folder.
pub fn ancestors() -> Vec<Poly<SelectionSpec>> {
    every(&UP, true)
}

fn every(steps: &[Step], deep: bool) -> Vec<Poly<SelectionSpec>> {
    let named = |name: &str| SelectionSpec { name: Some(name.to_owned()), ..SelectionSpec::default() };
    let traversal = |step: &Step| {
        let then = if deep { step.then } else { &[] };
        Poly::new(TraversalSpec {
            base: named(&format!("{}.{}", step.from, step.path)),
            r#type: step.from.into(),
            path: step.path.into(),
            skip: Some(false),
            select_set: then.iter().map(|name| Poly::new(named(name))).collect(),
        })
    };
    steps.iter().map(traversal).collect()
}
