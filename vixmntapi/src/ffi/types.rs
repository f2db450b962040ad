//! The structures of VixMntapi, and their sizes and offsets, asserted at compile time against the measured tables
//! (sections 3.9 and 6.2 of the fact sheet). Names of types and fields are ours.

use std::ffi::{c_char, c_int};
use std::mem::{align_of, offset_of, size_of};

use vixdisklib::ffi::bindings::VddkBool;

/// The interface without the extended volume information.
pub const LEVEL_BASIC: (u32, u32) = (1, 0);
/// The interface with it.
pub const LEVEL_EXTENDED: (u32, u32) = (1, 1);

/// Result codes that steer the program; every other one is in the error table of `vixdisklib`.
pub const E_INVALID_ARG: u64 = 3;
/// The volume is mounted already.
pub const E_VOLUME_ALREADY_MOUNTED: u64 = 24305;
/// The volume is not mounted.
pub const E_VOLUME_NOT_MOUNTED: u64 = 24304;

/// Values of [`MntOsInfo::family`].
pub const OS_NONE: c_int = 0;
/// As above.
pub const OS_WINDOWS: c_int = 1;
/// As above.
pub const OS_OTHER: c_int = 255;

/// Values of [`MntVolumeInfo::kind`].
pub const VOLUME_UNKNOWN: c_int = 0;
/// As above: a partition of an MBR.
pub const VOLUME_BASIC: c_int = 1;
/// As above: a partition of a GPT.
pub const VOLUME_GPT: c_int = 2;
/// As above: a volume of Windows' dynamic disks.
pub const VOLUME_DYNAMIC: c_int = 3;
/// As above: a volume of Linux' LVM.
pub const VOLUME_LVM: c_int = 4;

/// What a disk set handle points to; never looked into.
#[repr(C)]
pub struct MntDiskSetObject {
    _private: [u8; 0],
}

/// What a volume handle points to; never looked into.
#[repr(C)]
pub struct MntVolumeObject {
    _private: [u8; 0],
}

/// An open disk set.
pub type MntDiskSet = *mut MntDiskSetObject;
/// A volume of an open disk set.
pub type MntVolume = *mut MntVolumeObject;

/// Where an open disk set can be seen.
#[repr(C)]
pub struct MntDiskSetInfo {
    /// The flags that it was opened with.
    pub open_flags: u32,
    /// The path of a flat file of the disk's bytes; or null.
    pub mount_path: *mut c_char,
}

/// The operating system on a disk set.
#[repr(C)]
pub struct MntOsInfo {
    /// One of the `OS_` constants.
    pub family: c_int,
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Whether it is a 64-bit system.
    pub is_64_bit: VddkBool,
    /// Who made it; or null.
    pub vendor: *mut c_char,
    /// Which edition it is; or null.
    pub edition: *mut c_char,
    /// The folder that it is in; or null.
    pub folder: *mut c_char,
}

/// A volume.
#[repr(C)]
pub struct MntVolumeInfo {
    /// One of the `VOLUME_` constants.
    pub kind: c_int,
    /// Whether it is mounted.
    pub is_mounted: VddkBool,
    /// Where it is mounted; or null.
    pub symbolic_link: *mut c_char,
    /// How many guest mount points follow.
    pub guest_mount_point_count: usize,
    /// The first of them. As many as the count says lie one behind the other, perhaps none.
    pub guest_mount_points: [*mut c_char; 1],
}

/// A volume, with its sizes.
#[repr(C)]
pub struct MntVolumeInfoEx {
    /// Bytes in a sector.
    pub bytes_per_sector: u32,
    /// Bytes in the volume; while it is mounted.
    pub capacity: u64,
    /// Bytes that are taken; while it is mounted.
    pub used: u64,
    /// Bytes in a cluster; while it is mounted.
    pub cluster_bytes: u32,
    /// One of the `VOLUME_` constants.
    pub kind: c_int,
    /// Whether it is mounted.
    pub is_mounted: VddkBool,
    /// Where it is mounted; or null.
    pub symbolic_link: *mut c_char,
    /// As in [`MntVolumeInfo`].
    pub guest_mount_point_count: usize,
    /// As in [`MntVolumeInfo`].
    pub guest_mount_points: [*mut c_char; 1],
}

macro_rules! layout {
    ($type:ty, $size:literal, { $($field:ident @ $offset:literal),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == $size && align_of::<$type>() == 8);
            $(assert!(offset_of!($type, $field) == $offset);)*
        };
    };
}

layout!(MntDiskSetInfo, 16, { open_flags @ 0, mount_path @ 8 });
layout!(MntOsInfo, 40, {
    family @ 0, major @ 4, minor @ 8, is_64_bit @ 12, vendor @ 16, edition @ 24, folder @ 32,
});
// The sheet gives 32 and 64 bytes and a tail: the list of mount points begins within them, with its first element.
layout!(MntVolumeInfo, 32, {
    kind @ 0, is_mounted @ 4, symbolic_link @ 8, guest_mount_point_count @ 16, guest_mount_points @ 24,
});
layout!(MntVolumeInfoEx, 64, {
    bytes_per_sector @ 0, capacity @ 8, used @ 16, cluster_bytes @ 24, kind @ 28, is_mounted @ 32, symbolic_link @ 40,
    guest_mount_point_count @ 48, guest_mount_points @ 56,
});
