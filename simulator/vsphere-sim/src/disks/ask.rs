//! What the manager tells of a disk.

use std::fmt::Write as _;
use std::sync::Arc;

use sim_store::{Access, Disk, LinkInfo, LinkKind, Provisioning};
use vim_api::dynamic::Value;
use vim_api::types as t;

use super::open;
use crate::fault::{Outcome, from_store};
use crate::files;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// `QueryVirtualDiskUuid`, in the form of the descriptor.
pub(super) fn uuid(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let uuid = open(&disk, Access::ReadOnly)?.uuid().map_err(|error| from_store(&error, &disk.text))?;
    Ok(Answer::one(call, &uuid.to_string()))
}

/// `QueryVirtualDiskGeometry`, as the descriptor has it.
pub(super) fn geometry(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let opened = open(&disk, Access::ReadOnly)?;
    let number = |key: &str| -> Outcome<i64> {
        let text = opened.metadata(key).map_err(|error| from_store(&error, &disk.text))?;
        Ok(text.parse().unwrap_or_default())
    };
    let small = |key: &str| number(key).map(|number| i32::try_from(number).unwrap_or_default());
    let dimensions = t::HostDiskDimensionsChs {
        cylinder: number("geometry.cylinders")?,
        head: small("geometry.heads")?,
        sector: small("geometry.sectors")?,
        ..Default::default()
    };
    Ok(Answer::one(call, &dimensions))
}

/// `QueryVirtualDiskFragmentation`: in percent, and here always 0, since files of the simulator have no blocks of VMFS.
pub(super) fn fragmentation(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    open(&disk, Access::ReadOnly)?;
    Ok(Answer::one(call, &0_i32))
}

/// `QueryVirtualDiskInfo_Task`, which the published API does not have and govmomi calls: a disk's format and parent, and
/// those of its parents if that is asked for.
pub(super) fn info(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let disk = files::named(shared, call, "name", "datacenter")?;
    let parents: bool = call.optional("includeParents")?.unwrap_or(false);
    let work = move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.fail_early()?;
        let opened = open(&disk, Access::ReadOnly)?;
        let links = opened.links();
        let shown = if parents { links.len() } else { 1 };
        let mut xml = String::new();
        for (at, link) in links.iter().enumerate().take(shown) {
            let parent = links.get(at + 1).and_then(|parent| path_of(shared, parent));
            let Some(name) = path_of(shared, link) else { continue };
            // Writing to a String cannot fail.
            let _ = write!(
                xml,
                "<VirtualDiskInfo><unit><name>{}</name></unit><diskType>{}</diskType>{}</VirtualDiskInfo>",
                escaped(&name),
                format(&opened, link),
                parent.map_or(String::new(), |parent| format!("<parent>{}</parent>", escaped(&parent)))
            );
        }
        let type_name = "ArrayOfVirtualDiskInfo".into();
        Ok(Some(Value::Unknown { type_name, xml: xml.into() }))
    };
    Ok(tasks::start_apart(shared, call, user, "VirtualDiskManager.queryVirtualDiskInfo", Box::new(work)))
}

fn path_of(shared: &Shared, link: &LinkInfo) -> Option<String> {
    shared.read(|world| world.path_of(&link.descriptor)).map(|path| path.to_string())
}

fn format(disk: &Disk, link: &LinkInfo) -> &'static str {
    let extent = link.extent.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (link.kind == LinkKind::Flat, disk.provisioning()) {
        (true, Provisioning::Thin) => "thin",
        (true, Provisioning::LazyThick) => "preallocated",
        (true, Provisioning::EagerThick) => "eagerZeroedThick",
        (false, _) if extent.ends_with("-sesparse.vmdk") => "seSparse",
        (false, _) => "delta",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
