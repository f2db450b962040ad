//! Files that somebody made to do harm: what they say is refused, in bounded memory, and nothing else is read or written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::fs;
use std::sync::Arc;

use vmdk::{Create, Disk, ErrorKind, Folder, LocalFolder, MemoryFolder, OpenOptions, StreamReader, Variant};

fn descriptor(lines: &str) -> String {
    format!("# Disk DescriptorFile\nversion=1\nCID=00000001\ncreateType=\"custom\"\n{lines}\n")
}

fn open(files: &[(&str, &[u8])]) -> vmdk::Result<Disk> {
    let memory = MemoryFolder::new();
    for (name, content) in files {
        memory.insert(*name, *content);
    }
    Disk::open(&(Arc::new(memory) as Arc<dyn Folder>), files[0].0)
}

fn refused(files: &[(&str, &[u8])]) -> ErrorKind {
    match open(files) {
        Ok(_) => panic!("it was opened"),
        Err(error) => {
            assert!(error.file().is_some(), "{error} does not say which file");
            error.kind()
        }
    }
}

/// The header of a sparse file, with some of its fields changed.
fn sparse(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let memory = MemoryFolder::new();
    let folder: Arc<dyn Folder> = Arc::new(memory.clone());
    let disk = Create::new(Variant::MonolithicSparse, 1 << 20).create(&folder, "x.vmdk").unwrap();
    disk.write_all_at(&[1; 100_000], 0).unwrap();
    disk.close().unwrap();
    let mut bytes = memory.content("x.vmdk").unwrap();
    change(&mut bytes);
    bytes
}

#[test]
fn names_do_not_lead_out_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("disk");
    fs::create_dir(&inner).unwrap();
    fs::write(outer.path().join("secret"), [7; 4096]).unwrap();
    fs::write(inner.join("own"), [8; 4096]).unwrap();
    let absolute = outer.path().join("secret");
    std::os::unix::fs::symlink(&absolute, inner.join("link")).unwrap();
    std::os::unix::fs::symlink(inner.join("own"), inner.join("harmless")).unwrap();
    for (reference, kind) in [
        ("../secret", ErrorKind::OutsideFolder),
        ("a/../../secret", ErrorKind::OutsideFolder),
        ("..\\secret", ErrorKind::OutsideFolder),
        (absolute.to_str().unwrap(), ErrorKind::OutsideFolder),
        ("/dev/zero", ErrorKind::OutsideFolder),
        ("link", ErrorKind::Io),
        (".", ErrorKind::Malformed),
        ("missing", ErrorKind::NotFound),
    ] {
        fs::write(inner.join("x.vmdk"), descriptor(&format!("RW 8 FLAT \"{reference}\" 0"))).unwrap();
        let error =
            Disk::open_path(inner.join("x.vmdk")).err().unwrap_or_else(|| panic!("{reference} was opened"));
        assert_eq!(error.kind(), kind, "{reference}: {error}");
    }
    fs::write(inner.join("x.vmdk"), descriptor("RW 8 FLAT \"harmless\" 0")).unwrap();
    Disk::open_path(inner.join("x.vmdk")).unwrap();

    // Who asks for it twice gets it.
    fs::write(inner.join("x.vmdk"), descriptor("RW 8 FLAT \"../secret\" 0")).unwrap();
    let folder: Arc<dyn Folder> = Arc::new(LocalFolder::new(&inner).unwrap());
    let error = OpenOptions::new().follow_outside(true).open(&folder, "x.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io, "the folder was not asked: {error}");
    let disk = OpenOptions::new().follow_outside(true).open_path(inner.join("x.vmdk")).unwrap();
    let mut byte = [0];
    disk.read_exact_at(&mut byte, 4095).unwrap();
    assert_eq!(byte, [7]);
}

/// A pipe would be waited for, and a device read.
#[test]
fn only_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("device")).unwrap();
    for name in ["pipe", "device"] {
        fs::write(folder.path().join("x.vmdk"), descriptor(&format!("RW 8 FLAT \"{name}\" 0"))).unwrap();
        assert_eq!(Disk::open_path(folder.path().join("x.vmdk")).err().unwrap().kind(), ErrorKind::Io);
        assert_eq!(Disk::open_path(folder.path().join(name)).err().unwrap().kind(), ErrorKind::Io);
    }
}

#[test]
fn parents_that_lead_back_are_a_loop() {
    let own = descriptor("parentCID=00000001\nparentFileNameHint=\"a.vmdk\"\nRW 1 ZERO");
    assert_eq!(refused(&[("a.vmdk", own.as_bytes())]), ErrorKind::Malformed);
    let other = descriptor("parentCID=00000001\nparentFileNameHint=\"./b.vmdk\"\nRW 1 ZERO");
    assert_eq!(refused(&[("a.vmdk", other.as_bytes()), ("b.vmdk", own.as_bytes())]), ErrorKind::Malformed);
}

#[test]
fn a_chain_has_an_end() {
    let memory = MemoryFolder::new();
    for number in 0..300 {
        let text =
            descriptor(&format!("parentCID=00000001\nparentFileNameHint=\"{}.vmdk\"\nRW 1 ZERO", number + 1));
        memory.insert(format!("{number}.vmdk"), text);
    }
    let error = Disk::open(&(Arc::new(memory) as Arc<dyn Folder>), "0.vmdk").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
}

#[test]
fn extents_that_are_the_same_bytes_are_refused() {
    let grains = sparse(|_| {});
    let twice = descriptor("RW 2048 SPARSE \"s\"\nRW 2048 SPARSE \"s\"");
    assert_eq!(refused(&[("a.vmdk", twice.as_bytes()), ("s", &grains)]), ErrorKind::Malformed);
    let overlapping = descriptor("RW 8 FLAT \"f\" 0\nRW 8 FLAT \"f\" 7");
    assert_eq!(refused(&[("a.vmdk", overlapping.as_bytes()), ("f", &[0; 8192])]), ErrorKind::Malformed);
    // One file for several extents is how it is meant to be.
    let apart = descriptor("RW 8 FLAT \"f\" 8\nRW 8 FLAT \"f\" 0");
    let content: Vec<u8> = [[1; 4096], [2; 4096]].concat();
    let disk = open(&[("a.vmdk", apart.as_bytes()), ("f", &content)]).unwrap();
    let mut read = [0; 8192];
    disk.read_exact_at(&mut read, 0).unwrap();
    assert!(read[..4096] == [2; 4096] && read[4096..] == [1; 4096]);
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let huge = u64::MAX.to_le_bytes();
    let fields = [
        ("capacity", 12),
        ("grain", 20),
        ("descriptor", 28),
        ("its size", 36),
        ("copy", 48),
        ("overhead", 64),
    ];
    for (what, at) in fields {
        for value in
            [huge, (u64::MAX / 2).to_le_bytes(), (1_u64 << 52).to_le_bytes(), (1_u64 << 34).to_le_bytes()]
        {
            let bytes = sparse(|bytes| bytes[at..at + 8].copy_from_slice(&value));
            let kind = refused(&[("x.vmdk", &bytes)]);
            assert!(matches!(kind, ErrorKind::Malformed | ErrorKind::NotADisk), "{what}: {kind:?}");
        }
    }
    for (entries, kind) in
        [(0_u32, ErrorKind::Malformed), (513, ErrorKind::Malformed), (u32::MAX, ErrorKind::Malformed)]
    {
        let bytes = sparse(|bytes| bytes[44..48].copy_from_slice(&entries.to_le_bytes()));
        assert_eq!(refused(&[("x.vmdk", &bytes)]), kind);
    }
    for sectors in ["18446744073709551615", "18446744073709551616", "99999999999999999999", "-1", "0x10"] {
        let text = descriptor(&format!("RW {sectors} ZERO\nRW 1 ZERO"));
        assert_eq!(refused(&[("x.vmdk", text.as_bytes())]), ErrorKind::Malformed, "{sectors}");
    }
    // A tebibyte of zeros is nothing to be afraid of.
    let text = descriptor("RW 2147483648 ZERO");
    let disk = open(&[("x.vmdk", text.as_bytes())]).unwrap();
    assert_eq!(disk.map(0..disk.capacity()).count(), 1);
}

#[test]
fn what_the_header_does_not_allow_is_refused() {
    let with =
        |at: usize, value: u32| sparse(|bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes()));
    assert_eq!(refused(&[("x.vmdk", &with(4, 4))]), ErrorKind::Unsupported);
    assert_eq!(refused(&[("x.vmdk", &with(4, 0))]), ErrorKind::Unsupported);
    assert_eq!(refused(&[("x.vmdk", &with(8, 0x4_0003))]), ErrorKind::Unsupported);
    assert_eq!(refused(&[("x.vmdk", &with(8, 0x2_0003))]), ErrorKind::Malformed);
    assert_eq!(refused(&[("x.vmdk", &with(8, 0x1_0003))]), ErrorKind::Unsupported);
    let text_mode = sparse(|bytes| bytes[75] = 0x0A);
    assert_eq!(refused(&[("x.vmdk", &text_mode)]), ErrorKind::Malformed);
    let unfinished = sparse(|bytes| bytes[..4].copy_from_slice(b"kdmv"));
    assert_eq!(refused(&[("x.vmdk", &unfinished)]), ErrorKind::Unfinished);
}

/// Files of a disk that are none, and are mistaken for one.
#[test]
fn what_is_no_disk_is_named() {
    for content in [
        b"COWD".as_slice(),
        b"\xBE\xBA\xFE\xCA\0\0\0\0",
        b"\xA2\x72\x19\xF6",
        b"",
        b"MZ",
        b"QFI\xfb",
        &[0; 100_000],
    ] {
        assert_eq!(refused(&[("x.vmdk", content)]), ErrorKind::NotADisk, "{content:?}");
    }
    assert_eq!(StreamReader::new(b"KDMW".repeat(200).as_slice()).err().unwrap().kind(), ErrorKind::NotADisk);
}

#[test]
fn a_stream_announces_no_memory() {
    let mut bytes = sparse(|bytes| {
        bytes[8..12].copy_from_slice(&0x3_0001_u32.to_le_bytes());
        bytes[77] = 1;
    });
    // Tables of two gigabytes, of which nothing comes.
    bytes[64..72].copy_from_slice(&(1_u64 << 20).to_le_bytes());
    let error = StreamReader::new(bytes.as_slice()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unfinished, "{error}");
    bytes[64..72].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let error = StreamReader::new(bytes.as_slice()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}
