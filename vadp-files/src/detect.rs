//! What is on a volume, by the signatures of its format.

use crate::device::Device;
use crate::error::Result;
use crate::fields::Fields;
use crate::system::Kind;

/// A signature and the byte where it is.
type Signature = (u64, &'static [u8], Kind);

/// Those that stand alone. The first that fits counts: what wraps others comes before them.
const SIGNATURES: &[Signature] = &[
    (0, b"LUKS\xba\xbe", Kind::Luks),
    (3, b"-FVE-FS-", Kind::BitLocker),
    // BitLocker To Go wraps its data in what looks like FAT.
    (424, &[0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A], Kind::BitLocker),
    (3, b"NTFS    ", Kind::Ntfs),
    (3, b"EXFAT   ", Kind::ExFat),
    (3, b"ReFS\0\0\0\0", Kind::Refs),
    (0, b"XFSB", Kind::Xfs),
    (0x10040, b"_BHRfS_M", Kind::Btrfs),
    (32, b"NXSB", Kind::Apple),
    (1024, b"H+\0\x04", Kind::Apple),
    (1024, b"HX\0\x05", Kind::Apple),
    (4096 - 10, b"SWAPSPACE2", Kind::Swap),
    (8192 - 10, b"SWAPSPACE2", Kind::Swap),
    (16384 - 10, b"SWAPSPACE2", Kind::Swap),
    (65536 - 10, b"SWAPSPACE2", Kind::Swap),
    // Linux' software RAID, whose members may begin like the array: versions 1.2 and 1.1.
    (4096, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0], Kind::RaidMember),
    (0, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0], Kind::RaidMember),
    (0x438, &[0x53, 0xEF], Kind::Ext),
    (0x8001, b"CD001", Kind::Optical),
    (0x8001, b"BEA01", Kind::Optical),
];

/// The kind of a volume. A signature says what it claims to be, not that it is whole.
pub(crate) fn detect(device: &Device) -> Result<Kind> {
    let has = |at: u64, bytes: &[u8]| match at.checked_add(bytes.len() as u64) {
        Some(end) if end <= device.size() => Ok(device.block(at, bytes.len())? == bytes),
        _ => Ok(false),
    };
    for sector in 0..4 {
        if has(sector * 512, b"LABELONE")? && has(sector * 512 + 24, b"LVM2 001")? {
            return Ok(Kind::LvmMember);
        }
    }
    // Versions 1.0 and 0.90 of Linux' software RAID are at the end, and the file system of the array at the beginning.
    let end = device.size() & !4095;
    let old = (device.size() & !0xFFFF).saturating_sub(0x1_0000);
    let new = end.saturating_sub(8192);
    if has(new, &[0xFC, 0x4E, 0x2B, 0xA9, 1, 0, 0, 0])? || has(old, &[0xFC, 0x4E, 0x2B, 0xA9, 0, 0, 0, 0])? {
        return Ok(Kind::RaidMember);
    }
    for &(at, bytes, kind) in SIGNATURES {
        if has(at, bytes)? {
            return Ok(kind);
        }
    }
    for ring in 0..128 {
        let at = (128 << 10) + ring * 1024;
        if has(at, &[0x0C, 0xB1, 0xBA, 0, 0, 0, 0, 0])? {
            return Ok(Kind::Zfs);
        }
    }
    let first = device.block(0, device.size().min(4096) as usize)?;
    Ok(match first.iter().all(|&byte| byte == 0) {
        true => Kind::Empty,
        false if is_fat(&first) => Kind::Fat,
        false => Kind::Unknown,
    })
}

/// FAT has no signature; its parameters have to make sense together.
pub(crate) fn is_fat(boot: &[u8]) -> bool {
    let check = || -> Result<bool> {
        let (sector, cluster, fats) = (boot.le16(11)?, boot.byte(13)?, boot.byte(16)?);
        let sectors = if boot.le16(19)? != 0 { boot.le16(19)?.into() } else { boot.le32(32)? };
        Ok(matches!(boot.byte(0)?, 0xEB | 0xE9)
            && boot.part(510, 2)? == [0x55, 0xAA]
            && matches!(sector, 512 | 1024 | 2048 | 4096)
            && cluster.is_power_of_two()
            && (1..=4).contains(&fats)
            && boot.le16(14)? > 0
            && matches!(boot.byte(21)?, 0xF0 | 0xF8..)
            && sectors > 0
            && (boot.le16(22)? != 0 || boot.le32(36)? != 0))
    };
    check().unwrap_or(false)
}
