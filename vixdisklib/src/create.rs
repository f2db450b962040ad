//! What a new disk shall be.

use crate::disk::Adapter;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::bindings;
use crate::units::Sectors;
use crate::version::Version;

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskType {
    /// One file, which grows as it is written to.
    MonolithicSparse,
    /// A descriptor and one file of the disk's size.
    MonolithicFlat,
    /// A descriptor, and a growing file for each 2 GB.
    SplitSparse,
    /// A descriptor, and a file of full size for each 2 GB.
    SplitFlat,
    /// As ESXi stores thick disks.
    VmfsFlat,
    /// Compressed, for transport: only cloning makes one, and it can only be read.
    StreamOptimized,
    /// As ESXi stores thin disks.
    VmfsThin,
    /// As ESXi stores snapshots.
    VmfsSparse,
}

/// The virtual hardware that a disk is made for: the number in a machine's `vmx-13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareVersion(pub u16);

/// A disk to be made, or the form that a clone shall have. From [`CreateSpec::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateSpec {
    disk_type: DiskType,
    adapter: Adapter,
    hardware_version: HardwareVersion,
    capacity: Sectors,
    sector_bytes: Option<(u32, u32)>,
}

impl DiskType {
    pub(crate) fn raw(self) -> bindings::VddkDiskType {
        match self {
            DiskType::MonolithicSparse => bindings::VDDK_DISK_MONOLITHIC_SPARSE,
            DiskType::MonolithicFlat => bindings::VDDK_DISK_MONOLITHIC_FLAT,
            DiskType::SplitSparse => bindings::VDDK_DISK_SPLIT_SPARSE,
            DiskType::SplitFlat => bindings::VDDK_DISK_SPLIT_FLAT,
            DiskType::VmfsFlat => bindings::VDDK_DISK_VMFS_FLAT,
            DiskType::StreamOptimized => bindings::VDDK_DISK_STREAM_OPTIMIZED,
            DiskType::VmfsThin => bindings::VDDK_DISK_VMFS_THIN,
            DiskType::VmfsSparse => bindings::VDDK_DISK_VMFS_SPARSE,
        }
    }
}

impl HardwareVersion {
    /// Workstation 4.
    pub const WORKSTATION_4: HardwareVersion = HardwareVersion(3);
    /// Workstation 5 and ESX 3.
    pub const WORKSTATION_5: HardwareVersion = HardwareVersion(4);
    /// Workstation 6.
    pub const WORKSTATION_6: HardwareVersion = HardwareVersion(6);
    /// ESX 4.
    pub const ESX_4: HardwareVersion = HardwareVersion(7);
    /// ESXi 5.0.
    pub const ESX_5_0: HardwareVersion = HardwareVersion(8);
    /// ESXi 5.1.
    pub const ESX_5_1: HardwareVersion = HardwareVersion(9);
    /// ESXi 5.5; the newest that every library from 6.5 on knows.
    pub const ESX_5_5: HardwareVersion = HardwareVersion(10);
    /// ESXi 6.0, from VDDK 6.7 on.
    pub const ESX_6_0: HardwareVersion = HardwareVersion(11);
    /// ESXi 6.5, from VDDK 6.7 on; the newest that libraries up to 9.0 have a name for.
    pub const ESX_6_5: HardwareVersion = HardwareVersion(13);
}

impl CreateSpec {
    /// A disk of this type and capacity, for an LSI Logic controller and the hardware of ESXi 5.5, with sectors of 512 bytes.
    #[must_use]
    pub fn new(disk_type: DiskType, capacity: Sectors) -> CreateSpec {
        CreateSpec {
            disk_type,
            adapter: Adapter::LsiLogic,
            hardware_version: HardwareVersion::ESX_5_5,
            capacity,
            sector_bytes: None,
        }
    }

    /// The controller. [`Adapter::Other`] is for what the library reports; it is refused when a disk is made.
    #[must_use]
    pub fn adapter(mut self, adapter: Adapter) -> CreateSpec {
        self.adapter = adapter;
        self
    }

    /// The virtual hardware.
    #[must_use]
    pub fn hardware_version(mut self, version: HardwareVersion) -> CreateSpec {
        self.hardware_version = version;
        self
    }

    /// The logical and the physical sector size in bytes, from VDDK 7.0 on. Capacities are counted in 512 bytes all the same.
    #[must_use]
    pub fn sector_bytes(mut self, logical: u32, physical: u32) -> CreateSpec {
        self.sector_bytes = Some((logical, physical));
        self
    }

    /// The structure for the library, all of its bytes set: older ones read less of it.
    pub(crate) fn raw(
        &self,
        operation: &'static str,
        version: Version,
    ) -> Result<bindings::VddkCreateParams> {
        let adapter_type = match self.adapter {
            Adapter::Ide => bindings::VDDK_ADAPTER_IDE,
            Adapter::BusLogic => bindings::VDDK_ADAPTER_SCSI_BUSLOGIC,
            Adapter::LsiLogic => bindings::VDDK_ADAPTER_SCSI_LSILOGIC,
            Adapter::Other(number) => {
                let text = format!("a disk cannot be made for the unknown controller {number}");
                return Err(Error::new(ErrorKind::InvalidArgument, operation, text));
            }
        };
        if self.capacity == Sectors::ZERO {
            return Err(Error::new(ErrorKind::InvalidArgument, operation, "a disk without sectors"));
        }
        if self.sector_bytes.is_some() && !version.has_sector_sizes() {
            let text = format!("VDDK {version} does not know of sector sizes");
            return Err(Error::new(ErrorKind::Unsupported, operation, text)
                .with_advice("use VDDK 7.0 or newer, or sectors of 512 bytes"));
        }
        let (logical_sector_bytes, physical_sector_bytes) = self.sector_bytes.unwrap_or((0, 0));
        Ok(bindings::VddkCreateParams {
            disk_type: self.disk_type.raw(),
            adapter_type,
            hardware_version: self.hardware_version.0,
            capacity: self.capacity.0,
            logical_sector_bytes,
            physical_sector_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { major: 6, minor: 7, patch: 0 };

    #[test]
    fn what_a_library_does_not_know_is_refused_before_the_call() {
        let spec = CreateSpec::new(DiskType::VmfsThin, Sectors(8));
        let raw = spec.raw("create", OLD).unwrap();
        assert_eq!((raw.disk_type, raw.adapter_type, raw.hardware_version, raw.capacity), (7, 3, 10, 8));
        assert_eq!((raw.logical_sector_bytes, raw.physical_sector_bytes), (0, 0));
        let kind = |spec: CreateSpec, version| spec.raw("create", version).err().unwrap().kind();
        assert_eq!(kind(spec.sector_bytes(4096, 4096), OLD), ErrorKind::Unsupported);
        assert!(spec.sector_bytes(512, 4096).raw("create", Version { major: 7, ..OLD }).is_ok());
        assert_eq!(kind(spec.adapter(Adapter::Other(256)), OLD), ErrorKind::InvalidArgument);
        assert_eq!(kind(CreateSpec::new(DiskType::SplitFlat, Sectors(0)), OLD), ErrorKind::InvalidArgument);
    }
}
