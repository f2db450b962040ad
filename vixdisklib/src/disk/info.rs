//! What the library says of a disk.

use crate::ffi::{RawInfo, bindings};
use crate::units::Sectors;

/// Properties of an open disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskInfo {
    /// Size in sectors of 512 bytes, whatever the sector sizes below say.
    pub capacity: Sectors,
    /// The geometry that the guest's BIOS sees.
    pub bios_geometry: Geometry,
    /// The geometry of the disk.
    pub physical_geometry: Geometry,
    /// The controller that the disk was made for.
    pub adapter: Adapter,
    /// Files in the chain: the base and its deltas.
    pub links: u32,
    /// The parent's file, when there is one.
    pub parent: Option<String>,
    /// The disk's own id, such as `60 00 C2 9...`.
    pub uuid: Option<String>,
    /// Logical sector size in bytes, from VDDK 7.0 on. Requests to a disk with 4096 must be multiples of 8 sectors.
    pub logical_sector_bytes: Option<u32>,
    /// Physical sector size in bytes, from VDDK 7.0 on.
    pub physical_sector_bytes: Option<u32>,
}

/// Cylinders, heads and sectors per track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u32,
    /// Heads.
    pub heads: u32,
    /// Sectors per track.
    pub sectors: u32,
}

/// The controller that a disk was made for. SATA, NVMe and paravirtual disks call themselves LSI Logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adapter {
    /// IDE.
    Ide,
    /// SCSI, BusLogic.
    BusLogic,
    /// SCSI, LSI Logic.
    LsiLogic,
    /// Unknown to the library, or to this crate; the library's number.
    Other(u32),
}

impl DiskInfo {
    pub(super) fn from_raw(raw: RawInfo) -> DiskInfo {
        // Zero stands for the usual 512.
        let size = |bytes: u32| if bytes == 0 { 512 } else { bytes };
        DiskInfo {
            capacity: Sectors(raw.capacity),
            bios_geometry: Geometry::from_raw(raw.bios_geometry),
            physical_geometry: Geometry::from_raw(raw.physical_geometry),
            adapter: match raw.adapter_type {
                bindings::VDDK_ADAPTER_IDE => Adapter::Ide,
                bindings::VDDK_ADAPTER_SCSI_BUSLOGIC => Adapter::BusLogic,
                bindings::VDDK_ADAPTER_SCSI_LSILOGIC => Adapter::LsiLogic,
                other => Adapter::Other(other),
            },
            links: u32::try_from(raw.links).unwrap_or(0),
            parent: raw.parent_hint,
            uuid: raw.uuid,
            logical_sector_bytes: raw.sector_bytes.map(|(logical, _)| size(logical)),
            physical_sector_bytes: raw.sector_bytes.map(|(_, physical)| size(physical)),
        }
    }
}

impl Geometry {
    fn from_raw(raw: bindings::VddkGeometry) -> Geometry {
        Geometry { cylinders: raw.cylinders, heads: raw.heads, sectors: raw.sectors }
    }
}
