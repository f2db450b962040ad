//! The files that machines which are on have open.
//!
//! As on a real host, the data of a live top link is locked: nobody else reads or writes it. The links below are open
//! for reading, so they can be read and not changed, and so can those that disks in other folders are built over. The other files of the machine are its own to write. [K, uncertain:
//! which of the text files a host lets others write while the machine runs.]

use sim_store::{Access, DatastorePath, Disk, LinkInfo, Scope, sharing};

use crate::machine::{DiskState, Machine, Power};
use crate::world::{Shared, World};

/// Whether a machine that is on keeps others from reading the file, or one within the folder.
pub(crate) fn is_unreadable(shared: &Shared, path: &DatastorePath) -> bool {
    let near = |disk: &DiskState| {
        let folder = disk.path.parent();
        is_within(&folder, path) || folder == path.parent()
    };
    let tops = shared.read(|world| open_disks(world, path.datastore(), near));
    tops.iter().any(|disk| {
        let links = links(shared, disk, Scope::TopLink);
        let locked =
            links.iter().flat_map(|link| beside(disk, &[Some(&link.extent), link.change_track.as_ref()]));
        locked.into_iter().any(|file| is_within(&file, path))
    })
}

/// Whether a machine that is on keeps others from writing, moving or deleting the file, or one within the folder.
pub(crate) fn is_unwritable(shared: &Shared, path: &DatastorePath) -> bool {
    let (own, disks) = shared.read(|world| {
        let own = running(world, path.datastore())
            .filter_map(Machine::vmx)
            .flat_map(|vmx| Machine::text_files(&vmx))
            .any(|file| is_within(&file, path));
        (own, open_disks(world, path.datastore(), |_| true))
    });
    own || is_shared(shared, path)
        || disks.iter().any(|disk| {
            // The descriptor is the machine's even if it cannot be opened any more.
            is_within(disk, path)
                || links(shared, disk, Scope::WholeChain).iter().any(|link| {
                    let files = [Some(&link.descriptor), Some(&link.extent), link.change_track.as_ref()];
                    beside(disk, &files).iter().any(|file| is_within(file, path))
                })
        })
}

/// Whether disks in other folders need the file, or one within the folder: as parents of linked clones, on or off.
fn is_shared(shared: &Shared, path: &DatastorePath) -> bool {
    let host = shared.read(|world| world.resolve(path));
    let needed = host.and_then(|host| sharing::needed_elsewhere(&host));
    // What cannot be looked at is for those to complain about who want it.
    needed.is_ok_and(|needed| !needed.is_empty())
}

fn running<'w>(world: &'w World, datastore: &'w str) -> impl Iterator<Item = &'w Machine> {
    let on = |machine: &&Machine| machine.power == Power::On;
    let at_home = move |machine: &&Machine| machine.vmx().is_some_and(|vmx| vmx.datastore() == datastore);
    world.machines().filter(on).filter(at_home)
}

/// The live top links of machines that are on. A disk need not be on the datastore that its machine is on.
fn open_disks(world: &World, datastore: &str, wanted: impl Fn(&DiskState) -> bool) -> Vec<DatastorePath> {
    let on = world.machines().filter(|machine| machine.power == Power::On);
    let disks = on.flat_map(Machine::disks);
    let there = disks.filter(|disk| disk.path.datastore() == datastore && wanted(disk));
    there.map(|disk| disk.path).collect()
}

/// The links of a disk that are in its folder; none if it is gone or broken, which is for others to say. Those in other
/// folders are shared, and cannot be written anyway.
fn links(shared: &Shared, disk: &DatastorePath, scope: Scope) -> Vec<LinkInfo> {
    let Ok(host) = shared.read(|world| world.resolve(disk)) else { return Vec::new() };
    let opened = Disk::open(&host, Access::ReadOnly, scope);
    let mut links = opened.map(|disk| disk.links()).unwrap_or_default();
    links.retain(|link| link.descriptor.parent() == host.parent());
    if scope == Scope::TopLink {
        links.truncate(1);
    }
    links
}

/// Files in the folder of a disk, as datastore paths.
fn beside(disk: &DatastorePath, files: &[Option<&std::path::PathBuf>]) -> Vec<DatastorePath> {
    let names = files.iter().flatten().filter_map(|file| file.file_name()?.to_str());
    names.filter_map(|name| disk.sibling(name).ok()).collect()
}

/// Whether `file` is `path`, or below it.
fn is_within(file: &DatastorePath, path: &DatastorePath) -> bool {
    file.datastore() == path.datastore() && std::path::Path::new(file.relative()).starts_with(path.relative())
}
