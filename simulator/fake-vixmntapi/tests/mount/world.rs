//! A kit with both fake libraries, and disks with files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fake_vixmntapi::{Outstanding, outstanding};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use sim_store::guest::DiskCursor;
use sim_store::guest::image::{FileRecord, ImagePlan, Manifest, populate};
use sim_store::{Disk, DiskSpec, Sha256};
use tempfile::TempDir;
use vixdisklib::{ConnectOptions, ConnectParams, Connection, Library, LibraryOptions};
use vixmntapi::{MountApi, MountOptions};

pub(crate) const MIB: u64 = 1 << 20;

/// The one kit and the one place for a disk set of this process: tests take turns.
pub(crate) struct World {
    pub(crate) mounting: Arc<MountApi>,
    pub(crate) folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) fn kit() -> &'static Path {
    static KIT: OnceLock<TempDir> = OnceLock::new();
    KIT.get_or_init(|| {
        let kit = tempfile::tempdir().unwrap();
        fake_vddk::install(kit.path()).unwrap();
        kit
    })
    .path()
}

/// Where the libraries keep their files.
pub(crate) fn temporary() -> PathBuf {
    kit().join("tmp")
}

pub(crate) fn library() -> Arc<Library> {
    Library::open(LibraryOptions::new(kit()).in_process().temp_directory(temporary())).unwrap()
}

impl World {
    pub(crate) fn new() -> World {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mounting = MountApi::open(&library(), MountOptions::new().assume_ready(true)).unwrap();
        World { mounting, folder: tempfile::tempdir().unwrap(), _alone: alone }
    }

    pub(crate) fn connect(&self) -> Connection {
        library().connect(&ConnectParams::local(), ConnectOptions::new()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A disk with a GPT and one FAT32 partition, as the simulator's guests have it.
    pub(crate) fn gpt_disk(&self) -> (String, Manifest) {
        let path = self.path("gpt.vmdk");
        let disk = Disk::create(&path, &DiskSpec::thin(64 * MIB)).unwrap();
        let plan = ImagePlan { seed: 11, files: 40, bytes_total: 2 * MIB, label: "guest".to_owned() };
        let mut cursor = DiskCursor::new(&disk);
        let manifest = populate(&mut cursor, &plan).unwrap();
        cursor.finish().unwrap();
        (path, manifest)
    }

    /// A disk of 16 MiB with an MBR: FAT with these files, LVM, swap, and a Linux partition of noise.
    pub(crate) fn mbr_disk(&self, files: &[(&str, &[u8])]) -> String {
        let path = self.path("mbr.vmdk");
        let disk = Disk::create(&path, &DiskSpec::thin(16 * MIB)).unwrap();
        disk.write_at(
            0,
            &mbr(&[(0x06, 2048, 16384), (0x8e, 18432, 2048), (0x82, 20480, 2048), (0x83, 22528, 2048)]),
        )
        .unwrap();
        disk.write_at(MIB, &fat(8 * MIB, files)).unwrap();
        let noise: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
        disk.write_at(22528 * 512, &noise).unwrap();
        path
    }

    /// Nothing may be left over: neither handles in the library nor files of it.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(outstanding(kit()), Some(Outstanding::default()));
        let left: Vec<_> = fs::read_dir(temporary())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".conf") && name != "vixmntapi.lock")
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

/// A boot sector with a table of kinds, first sectors and lengths.
pub(crate) fn mbr(entries: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    for (slot, (kind, start, length)) in sector[446..510].chunks_exact_mut(16).zip(entries) {
        slot[4] = *kind;
        slot[8..12].copy_from_slice(&start.to_le_bytes());
        slot[12..].copy_from_slice(&length.to_le_bytes());
    }
    sector
}

/// A FAT volume.
pub(crate) fn fat(length: u64, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = Cursor::new(vec![0; length as usize]);
    fatfs::format_volume(&mut image, FormatVolumeOptions::new()).unwrap();
    {
        let system = FileSystem::new(&mut image, FsOptions::new()).unwrap();
        let root = system.root_dir();
        for (path, bytes) in files {
            for (end, _) in path.match_indices('/') {
                root.create_dir(&path[..end]).unwrap();
            }
            root.create_file(path).unwrap().write_all(bytes).unwrap();
        }
    }
    image.into_inner()
}

/// Every file below a folder, as a manifest has them.
pub(crate) fn tree(folder: &Path) -> BTreeMap<String, FileRecord> {
    let mut found = BTreeMap::new();
    walk(folder, "", &mut found);
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, FileRecord>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            found.insert(path, FileRecord { size: bytes.len() as u64, sha256: Sha256::of(&bytes) });
        }
    }
}
