//! What the library says of volumes and systems.

use std::path::PathBuf;

use crate::ffi::{self, RawOsInfo, RawVolumeInfo, RawVolumeInfoEx};

/// What manages a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VolumeKind {
    /// Not known.
    Unknown,
    /// A partition of an MBR.
    Basic,
    /// A partition of a GPT.
    Gpt,
    /// A volume of Windows' dynamic disks; not mounted on Linux.
    Dynamic,
    /// A volume of Linux' LVM; not mounted.
    Lvm,
    /// A number that is in no header that we know.
    Other(i32),
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// What manages it.
    pub kind: VolumeKind,
    /// Whether it is mounted.
    pub is_mounted: bool,
    /// The folder under which its files are, while it is mounted.
    pub path: Option<PathBuf>,
    /// Where the guest has it, such as `C:\`. Always empty on Linux.
    pub guest_mount_points: Vec<String>,
}

/// A volume, with what its file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeInfoEx {
    /// What [`VolumeInfo`] has.
    pub volume: VolumeInfo,
    /// Bytes in a sector.
    pub bytes_per_sector: u32,
    /// The sizes, while it is mounted: before, Linux does not know them.
    pub sizes: Option<VolumeSizes>,
}

/// Sizes of a mounted volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeSizes {
    /// Bytes in the volume.
    pub capacity: u64,
    /// Bytes that are taken.
    pub used: u64,
    /// Bytes in a cluster, the unit in which the file system gives space to files.
    pub cluster: u32,
}

/// The family of an operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OsFamily {
    /// There is none.
    None,
    /// Windows.
    Windows,
    /// Another one.
    Other,
    /// A number that is in no header that we know.
    Unknown(i32),
}

/// The system on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OsInfo {
    /// Its family.
    pub family: OsFamily,
    /// Major and minor version, such as 10 and 0.
    pub version: (u32, u32),
    /// Whether it is a 64-bit system.
    pub is_64_bit: bool,
    /// Who made it.
    pub vendor: Option<String>,
    /// Which edition it is.
    pub edition: Option<String>,
    /// The folder that it is in.
    pub folder: Option<String>,
}

impl From<i32> for VolumeKind {
    fn from(kind: i32) -> VolumeKind {
        match kind {
            ffi::VOLUME_UNKNOWN => VolumeKind::Unknown,
            ffi::VOLUME_BASIC => VolumeKind::Basic,
            ffi::VOLUME_GPT => VolumeKind::Gpt,
            ffi::VOLUME_DYNAMIC => VolumeKind::Dynamic,
            ffi::VOLUME_LVM => VolumeKind::Lvm,
            other => VolumeKind::Other(other),
        }
    }
}

impl From<RawVolumeInfo> for VolumeInfo {
    fn from(raw: RawVolumeInfo) -> VolumeInfo {
        VolumeInfo {
            kind: raw.kind.into(),
            is_mounted: raw.is_mounted,
            path: raw.path,
            guest_mount_points: raw.guest_mount_points,
        }
    }
}

impl From<RawVolumeInfoEx> for VolumeInfoEx {
    fn from(raw: RawVolumeInfoEx) -> VolumeInfoEx {
        let sizes = VolumeSizes { capacity: raw.capacity, used: raw.used, cluster: raw.cluster_bytes };
        VolumeInfoEx {
            sizes: raw.volume.is_mounted.then_some(sizes),
            volume: raw.volume.into(),
            bytes_per_sector: raw.bytes_per_sector,
        }
    }
}

impl From<RawOsInfo> for OsInfo {
    fn from(raw: RawOsInfo) -> OsInfo {
        OsInfo {
            family: match raw.family {
                ffi::OS_NONE => OsFamily::None,
                ffi::OS_WINDOWS => OsFamily::Windows,
                ffi::OS_OTHER => OsFamily::Other,
                other => OsFamily::Unknown(other),
            },
            version: raw.version,
            is_64_bit: raw.is_64_bit,
            vendor: raw.vendor,
            edition: raw.edition,
            folder: raw.folder,
        }
    }
}
