//! Where other readers and writers of these formats went wrong, each a test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/disks.rs"]
mod disks;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use disks::{content, folder};
use vmdk::{
    Create, Disk, ErrorKind, Folder, OpenOptions, ReadAt, State, StreamOptions, StreamWriter, Variant,
    Window, WriteAt,
};

/// Holes and read-only extents were dropped by others, and all that follows moved forwards.
#[test]
fn zero_and_read_only_extents_keep_their_place() {
    let (memory, folder) = folder();
    memory.insert("a", [1; 1024]);
    memory.insert("b", [2; 1024]);
    let text = "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType=\"custom\"\n\
                RW 2 ZERO\nRDONLY 2 FLAT \"a\" 0\nRW 1 ZERO\nRW 2 FLAT \"b\" 0\n";
    memory.insert("x.vmdk", text);
    let disk = OpenOptions::new().writable(true).open(&folder, "x.vmdk").unwrap();
    let expected = [vec![0; 1024], vec![1; 1024], vec![0; 512], vec![2; 1024]].concat();
    assert!(content(&disk) == expected);
    let spans: Vec<_> =
        disk.map(0..u64::MAX).map(Result::unwrap).map(|span| (span.length, span.state)).collect();
    assert_eq!(spans, [(1024, State::Zero), (1024, State::Data), (512, State::Zero), (1024, State::Data)]);
    assert_eq!(disk.write_all_at(&[9], 1024).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.write_all_at(&[9], 0).unwrap_err().kind(), ErrorKind::ReadOnly);
    disk.write_all_at(&[0; 1024], 0).unwrap();
    disk.write_all_at(&[9], 2560).unwrap();
    assert!(Disk::open(&folder, "x.vmdk").is_ok());
}

/// An extent without access is no zeros.
#[test]
fn what_may_not_be_read_is_not_read() {
    let (memory, folder) = folder();
    memory.insert("a", [1; 1024]);
    let text = "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"custom\"\nNOACCESS 2 FLAT \"a\" 0\n";
    memory.insert("x.vmdk", text);
    assert_eq!(Disk::open(&folder, "x.vmdk").err().unwrap().kind(), ErrorKind::Unsupported);
}

/// A renamed monolithic file still says its old name, which may be that of another disk beside it.
#[test]
fn the_stale_name_in_a_renamed_file_is_not_followed() {
    let (memory, folder) = folder();
    for (name, byte) in [("old.vmdk", 1), ("other.vmdk", 2)] {
        let disk = Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, name).unwrap();
        disk.write_all_at(&[byte; 4096], 0).unwrap();
        disk.close().unwrap();
    }
    memory.insert("renamed.vmdk", memory.content("old.vmdk").unwrap());
    memory.insert("old.vmdk", memory.content("other.vmdk").unwrap());
    assert_eq!(content(&Disk::open(&folder, "renamed.vmdk").unwrap())[0], 1);
    let disk = OpenOptions::new().writable(true).open(&folder, "renamed.vmdk").unwrap();
    disk.write_all_at(&[3], 0).unwrap();
    disk.close().unwrap();
    assert_eq!(content(&Disk::open(&folder, "old.vmdk").unwrap())[0], 2);
}

/// A file that is too short is not a disk with zeros at its end.
#[test]
fn a_flat_file_that_was_cut_is_refused() {
    let (memory, folder) = folder();
    Create::new(Variant::MonolithicFlat, 1 << 20).create(&folder, "x.vmdk").unwrap().close().unwrap();
    memory.insert("x-flat.vmdk", vec![0; (1 << 20) - 1]);
    let error = Disk::open(&folder, "x.vmdk").err().unwrap();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Malformed, Some("x-flat.vmdk")), "{error}");
}

/// Change tracking knows nothing of what is written here.
#[test]
fn a_write_ends_change_tracking() {
    let (memory, folder) = folder();
    Create::new(Variant::Vmfs, 1 << 20).create(&folder, "x.vmdk").unwrap().close().unwrap();
    let text = String::from_utf8(memory.content("x.vmdk").unwrap()).unwrap();
    let tracked = text.replace("version=1\n", "version=3\n").replace(
        "# The Disk Data Base",
        "# Change Tracking File\nchangeTrackPath=\"x-ctk.vmdk\"\n\n# The Disk Data Base",
    );
    memory.insert("x.vmdk", tracked);
    let read = |folder| Disk::open(folder, "x.vmdk").unwrap().links()[0].descriptor().clone();
    assert_eq!(read(&folder).change_track_path(), Some("x-ctk.vmdk"));
    let disk = OpenOptions::new().writable(true).open(&folder, "x.vmdk").unwrap();
    disk.write_all_at(&[1], 0).unwrap();
    disk.close().unwrap();
    let after = read(&folder);
    assert_eq!((after.change_track_path(), after.version()), (None, 1));
}

/// A version that somebody's product tracks changes with can be read and not written.
#[test]
fn a_sparse_file_of_version_three_is_read_only() {
    let (memory, folder) = folder();
    Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap().close().unwrap();
    let mut bytes = memory.content("x.vmdk").unwrap();
    bytes[4] = 3;
    memory.insert("x.vmdk", bytes);
    Disk::open(&folder, "x.vmdk").unwrap();
    let error = OpenOptions::new().writable(true).open(&folder, "x.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
}

/// Reads that end exactly where the disk does, of sizes that are no powers of two, through every format.
#[test]
fn reads_that_end_with_the_disk() {
    let capacity = 8292 * 512;
    let expected: Vec<u8> = (0..capacity).map(|at: usize| (at / 511) as u8).collect();
    for variant in [Variant::MonolithicSparse, Variant::SplitSparse, Variant::SplitFlat, Variant::Vmfs] {
        let (_, folder) = folder();
        let disk = Create::new(variant, capacity as u64).split(2048).create(&folder, "x.vmdk").unwrap();
        disk.write_all_at(&expected, 0).unwrap();
        for length in [1, 511, 512, 513, 4096, 66_000, capacity] {
            let mut bytes = vec![0; length];
            disk.read_exact_at(&mut bytes, (capacity - length) as u64).unwrap();
            assert!(bytes == expected[capacity - length..], "{variant:?}, {length} bytes");
        }
    }
}

/// A folder on a server: what is read is counted.
struct Remote {
    file: Arc<dyn ReadAt>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl ReadAt for Remote {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(buffer.len() as u64, Ordering::SeqCst);
        self.file.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

struct RemoteFolder(Arc<Remote>);

impl Folder for RemoteFolder {
    fn open(&self, _: &str) -> io::Result<Arc<dyn ReadAt>> {
        Ok(self.0.clone())
    }

    fn open_writable(&self, _: &str) -> io::Result<Arc<dyn WriteAt>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn WriteAt>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A disk within an OVA that is on a server is read by ranges, and its tables only where they are needed. What follows the member
/// in the archive is not taken for a part of it.
#[test]
fn a_disk_within_an_archive_is_read_by_ranges() {
    let mut writer = StreamWriter::new(Vec::new(), "x.vmdk", StreamOptions::new(64 << 20)).unwrap();
    for grain in 0..1024_u64 {
        writer.write_grain(grain * 65_536, &[grain as u8 | 1; 65_536]).unwrap();
    }
    let (stream, _) = writer.finish().unwrap();
    let size = stream.len() as u64;
    let archive = [vec![0xAA; 1536], stream, vec![0xBB; 4096]].concat();
    let member = Window::new(archive, 1536, size);
    let remote =
        Arc::new(Remote { file: Arc::new(member), requests: AtomicU64::new(0), bytes: AtomicU64::new(0) });
    let folder: Arc<dyn Folder> = Arc::new(RemoteFolder(remote.clone()));
    let disk = Disk::open(&folder, "x.vmdk").unwrap();
    let mut sector = [0; 512];
    for part in 0..8 {
        disk.read_exact_at(&mut sector, 40 * (1 << 20) + part * 512).unwrap();
        assert_eq!(sector, [(640_u64 as u8) | 1; 512]);
    }
    let (requests, bytes) = (remote.requests.load(Ordering::SeqCst), remote.bytes.load(Ordering::SeqCst));
    assert!(requests <= 12 && bytes <= 256 << 10, "{requests} requests for {bytes} bytes");
}
