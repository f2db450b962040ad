//! How a base disk takes its space, changed after it was made.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::descriptor::{Descriptor, LinkKind, Provisioning};
use crate::files::{self, FolderLock};
use crate::link::Link;
use crate::{Error, ErrorKind, Result, snapshot};

/// Gives a base disk without children another provisioning. Its bytes stay the same, and so does its content id.
///
/// # Errors
/// `Locked` if it is open for writing; `InUse` if it is a child or has children; those of opening it.
pub fn set_provisioning(path: &Path, provisioning: Provisioning) -> Result<()> {
    let link = Link::open(path, true)?;
    let held = FolderLock::exclusive(files::folder_of(path))?;
    if link.descriptor.kind != LinkKind::Flat || !snapshot::children(path)?.is_empty() {
        let what = "a disk with snapshots keeps its provisioning; remove its snapshots first";
        return Err(Error::new(ErrorKind::InUse, what).at(path));
    }
    let mut descriptor = Descriptor::load(path)?;
    if descriptor.provisioning == Provisioning::Thin && provisioning != Provisioning::Thin {
        let metadata = link.file().metadata();
        let metadata =
            metadata.map_err(|source| Error::io("a data file cannot be examined", source).at(path))?;
        let has = metadata.blocks() * 512;
        crate::disk::claim(path, descriptor.capacity().saturating_sub(has))?;
    }
    descriptor.provisioning = provisioning;
    match provisioning {
        Provisioning::Thin => descriptor.ddb.insert("thinProvisioned".to_owned(), "1".to_owned()),
        Provisioning::LazyThick | Provisioning::EagerThick => descriptor.ddb.remove("thinProvisioned"),
    };
    descriptor.store(path, &held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Disk, DiskSpec, Extent, Scope};

    #[test]
    fn inflated_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.vmdk");
        let disk = Disk::create(&path, &DiskSpec::thin(1 << 20)).unwrap();
        disk.write_at(4096, b"kept").unwrap();
        assert_eq!(set_provisioning(&path, Provisioning::EagerThick).unwrap_err().kind(), ErrorKind::Locked);
        drop(disk);
        let cid = Descriptor::load(&path).unwrap().cid;
        let look = || {
            let disk = Disk::open(&path, Access::ReadOnly, Scope::WholeChain).unwrap();
            let mut bytes = [0; 4];
            disk.read_at(4096, &mut bytes).unwrap();
            assert_eq!((&bytes, disk.links()[0].cid), (b"kept", cid));
            (
                disk.provisioning(),
                disk.allocated(0, 1 << 20).unwrap(),
                disk.metadata("thinProvisioned").is_ok(),
            )
        };
        set_provisioning(&path, Provisioning::EagerThick).unwrap();
        let whole = vec![Extent { offset: 0, length: 1 << 20 }];
        assert_eq!(look(), (Provisioning::EagerThick, whole, false));
        set_provisioning(&path, Provisioning::Thin).unwrap();
        let (provisioning, allocated, is_marked) = look();
        assert!(provisioning == Provisioning::Thin && is_marked && allocated[0].length < 1 << 20);

        let child = snapshot::create(&path).unwrap().child;
        for link in [&path, &child] {
            let refused = set_provisioning(link, Provisioning::LazyThick).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InUse);
        }
    }
}
