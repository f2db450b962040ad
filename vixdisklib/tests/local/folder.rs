//! A folder of this machine with disks in it. Nothing here knows the simulator, so a real VDDK could do it all.

use std::path::Path;

use tempfile::TempDir;
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, CreateSpec, Disk, DiskType, OpenOptions, Sectors,
};

use super::super::setup::library;

/// 8 MiB and a tail of 3 sectors.
pub(crate) const SECTORS: u64 = (8 << 11) + 3;

/// The types that every library makes on a file system of this machine.
pub(crate) const HOSTED: [DiskType; 4] =
    [DiskType::MonolithicSparse, DiskType::MonolithicFlat, DiskType::SplitSparse, DiskType::SplitFlat];

/// Bytes that differ from sector to sector.
pub(crate) fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 512) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

pub(crate) struct Folder {
    pub(crate) root: TempDir,
    pub(crate) connection: Connection,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let connection = library().connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
        Folder { root: tempfile::tempdir().unwrap(), connection }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes a disk of [`SECTORS`] and gives its path.
    pub(crate) fn create(&self, name: &str, disk_type: DiskType) -> String {
        let path = self.path(name);
        self.connection.create(&path, &CreateSpec::new(disk_type, Sectors(SECTORS)), |_| {}).unwrap();
        path
    }

    pub(crate) fn open(&self, path: &str, options: OpenOptions) -> Disk {
        self.connection.open(path, options).unwrap()
    }

    pub(crate) fn write(&self, path: &str, start: u64, bytes: &[u8]) {
        let disk = self.open(path, OpenOptions::read_write());
        disk.write(Sectors(start), bytes).unwrap();
        disk.close().unwrap();
    }

    /// The whole content of a disk.
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let disk = self.open(path, OpenOptions::read_only());
        let mut bytes = vec![0xEE; disk.capacity().bytes().unwrap() as usize];
        disk.read(Sectors::ZERO, &mut bytes).unwrap();
        disk.close().unwrap();
        bytes
    }

    /// The names of all files, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }
}
