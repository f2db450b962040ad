//! What Windows' Volume Shadow Copy Service leaves beside a snapshot.

use std::fs;

use crate::chain::{self, host_of};
use crate::fault::Outcome;
use crate::inventory::vss_manifest;
use crate::machine::Machine;
use crate::world::Shared;

/// The documents of the archive; a real guest has one for each of its writers.
const DOCUMENTS: [(&str, &str); 2] = [
    ("backup.xml", "<BACKUP_COMPONENTS version=\"1.2\" bootableSystemStateBackup=\"no\"/>"),
    ("writer0.xml", "<WRITER_METADATA version=\"1.1\"/>"),
];

/// Whether the machine's guest has the service.
pub(super) fn is_in(machine: &Machine) -> bool {
    machine.config.guest_id.starts_with("win")
}

/// Writes the manifest of a snapshot, which goes with it.
pub(super) fn write_manifest(shared: &Shared, machine: &Machine, number: u32) -> Outcome<()> {
    let Some(path) = vss_manifest(machine, number) else { return Ok(()) };
    fs::write(host_of(shared, &path)?, archive()).map_err(|error| chain::unwritable(machine, &error))
}

/// A ZIP archive in which nothing is compressed (APPNOTE 4.3.7, 4.3.12, 4.3.16).
fn archive() -> Vec<u8> {
    let (mut files, mut list) = (Vec::new(), Vec::new());
    for (name, text) in DOCUMENTS {
        let mut sum = flate2::Crc::new();
        sum.update(text.as_bytes());
        let length = text.len() as u32;
        // Version 1.0, no flags, stored, the first moment that the format has.
        let mut common = [10_u16, 0, 0, 0, 0x21].map(u16::to_le_bytes).concat();
        common.extend([sum.sum(), length, length].map(u32::to_le_bytes).concat());
        common.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
        let at = (files.len() as u32).to_le_bytes();
        files.extend([b"PK\x03\x04", &common[..], name.as_bytes(), text.as_bytes()].concat());
        let no_comment_disk_or_attributes = [0; 10];
        list.extend(
            [b"PK\x01\x02\x0a\0", &common[..], &no_comment_disk_or_attributes, &at, name.as_bytes()].concat(),
        );
    }
    let count = (DOCUMENTS.len() as u16).to_le_bytes();
    let (length, begin) = ((list.len() as u32).to_le_bytes(), (files.len() as u32).to_le_bytes());
    files.extend(list);
    files.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &begin, &[0, 0]].concat());
    files
}
