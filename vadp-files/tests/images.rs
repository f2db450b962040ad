//! File systems made by other people's programs (`images/make`), each with the same small tree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use vadp_files::{Disks, ErrorKind, Kind, NodeKind, Time, Tree, Volume};

/// 2026-03-01 12:34:56 UTC.
const WHEN: i64 = 1_772_368_496;

fn image(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name).with_extension("gz");
    let mut image = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut image).unwrap();
    image
}

fn volumes(image: Vec<u8>) -> Vec<Volume> {
    let mut disks = Disks::new();
    disks.add("disk", Arc::new(image));
    disks.volumes().unwrap()
}

fn open(name: &str, kind: Kind) -> Tree {
    let volumes = volumes(image(name));
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].kind(), kind);
    volumes[0].open().unwrap()
}

fn numbers() -> Vec<u8> {
    (1..=10_000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    tree.open(path).unwrap().read_all(1 << 20).unwrap()
}

/// What every format can have.
fn has_the_files(tree: &Tree, label: &str) {
    assert_eq!(tree.info().label, label);
    assert_eq!(content(tree, "hello"), b"hello\n");
    assert_eq!(content(tree, "folder/numbers"), numbers());
    assert_eq!(content(tree, "/folder/größe/日本語"), b"deep");
    let stat = tree.stat("folder/numbers").unwrap();
    assert_eq!((stat.kind, stat.size), (NodeKind::File, numbers().len() as u64));
    assert_eq!(stat.modified, Time { seconds: WHEN, nanoseconds: 0 });
    assert_eq!(tree.stat("folder").unwrap().kind, NodeKind::Folder);
    assert_eq!(tree.stat("folder/none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(tree.stat("hello/none").unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(tree.open("folder").unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(tree.list("hello").unwrap_err().kind(), ErrorKind::WrongType);
    let mut behind = [0; 4];
    let error = tree.open("hello").unwrap().read_exact_at(&mut behind, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// What those of Unix can have beside that.
fn has_the_rest(tree: &Tree) {
    let hello = tree.stat("hello").unwrap();
    assert_eq!((hello.mode, hello.uid, hello.gid, hello.links), (0o640, 1000, 1001, 2));
    assert_eq!(tree.find("hello").unwrap(), tree.find("folder/again").unwrap());
    assert_eq!(tree.read_link("folder/link").unwrap(), b"../hello");
    assert_eq!(content(tree, "folder/link"), b"hello\n");
    // Followed within the volume, whose root is above itself.
    assert_eq!(tree.open("folder/out").unwrap_err().kind(), ErrorKind::NotFound);
    let xattrs = tree.xattrs("hello").unwrap();
    assert_eq!(xattrs.len(), 1);
    assert_eq!(
        (xattrs[0].name.as_slice(), xattrs[0].value.as_slice()),
        (&b"user.note"[..], &b"of a file"[..])
    );
    let sparse = tree.open("sparse").unwrap();
    assert_eq!(sparse.size(), 5 << 30);
    let data = sparse.data(0).unwrap();
    assert!(data.contains(&5_000_000_000) && data.end - data.start <= 65536, "{data:?}");
    assert_eq!(sparse.data(data.end), None);
    let mut end = [1; 5];
    sparse.read_exact_at(&mut end, 4_999_999_999).unwrap();
    assert_eq!(&end, b"\0end\0");
}

#[test]
fn ext() {
    for name in ["ext4", "ext2"] {
        let tree = open(name, Kind::Ext);
        has_the_files(&tree, "tiny");
        has_the_rest(&tree);
    }
}

#[test]
fn fat() {
    for name in ["fat12", "fat32"] {
        let tree = open(name, Kind::Fat);
        has_the_files(&tree, "TINY");
        assert_eq!(content(&tree, "HELLO"), b"hello\n", "names of FAT do not tell upper from lower case");
    }
}

#[test]
fn exfat() {
    has_the_files(&open("exfat", Kind::ExFat), "TINY");
}

/// The second image has everything in its log alone.
#[test]
fn xfs() {
    for name in ["xfs", "xfs-in-use"] {
        let tree = open(name, Kind::Xfs);
        has_the_files(&tree, "tiny");
        has_the_rest(&tree);
    }
}

#[test]
fn btrfs() {
    let tree = open("btrfs", Kind::Btrfs);
    has_the_files(&tree, "tiny");
    has_the_rest(&tree);
}

#[test]
fn ntfs() {
    let tree = open("ntfs", Kind::Ntfs);
    has_the_files(&tree, "TINY");
    assert_eq!(content(&tree, "Packed/NUMBERS"), numbers(), "unpacked");
    assert_eq!(tree.stat("hello").unwrap().links, 2);
    assert_eq!(tree.find("hello").unwrap(), tree.find("folder/again").unwrap());
    let streams = tree.xattrs("hello").unwrap();
    assert_eq!(
        (streams[0].name.as_slice(), streams[0].value.as_slice()),
        (&b"user.stream"[..], &b"beside"[..])
    );
}

/// A bit that is wrong in the metadata of ext4 is found by its checksum, whatever it is.
#[test]
fn flipped_bits_of_ext4_are_found() {
    let whole = image("ext4");
    let mut errors = 0;
    for at in (1024..whole.len()).step_by(1531) {
        let mut image = whole.clone();
        image[at] ^= 1 << (at % 8);
        let Ok(tree) = volumes(image)[0].open() else {
            errors += 1;
            continue;
        };
        for (path, wanted) in [("hello", b"hello\n".to_vec()), ("folder/größe/日本語", b"deep".to_vec())]
        {
            match tree.open(path).and_then(|file| file.read_all(1 << 20)) {
                // Contents have no checksum in ext4; these two are a block each.
                Ok(got) => assert_eq!(got.len(), wanted.len()),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 0);
}

#[cfg(unix)]
#[test]
fn copied_out() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let tree = open("ext4", Kind::Ext);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let copied = vadp_files::CopyOut::new().owners(false).xattrs(false).run(&tree, "", &target).unwrap();
    assert_eq!(copied.failures, []);
    assert_eq!((copied.files, copied.links, copied.hard_links), (4, 2, 1));
    assert_eq!(std::fs::read(target.join("folder/numbers")).unwrap(), numbers());
    let hello = std::fs::metadata(target.join("hello")).unwrap();
    assert_eq!((hello.permissions().mode() & 0o7777, hello.nlink(), hello.mtime()), (0o640, 2, WHEN));
    assert_eq!(std::fs::read_link(target.join("folder/link")).unwrap(), Path::new("../hello"));
    let sparse = std::fs::metadata(target.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 5 << 30);
    assert!(sparse.blocks() < 1024, "the holes were filled");
    let again = vadp_files::CopyOut::new().run(&tree, "hello", &target).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Refused, "nothing is overwritten");
}

/// A folder that leads out of the target, under the name of one that is written to after it: made by hand, since no tool would.
#[cfg(unix)]
#[test]
fn links_do_not_lead_out_of_the_target() {
    // The entry `again` of `folder` becomes a second `link`, and `größe` is renamed to what the link is called.
    let mut image = image("ext2");
    let name = "größe".as_bytes();
    let at = image.windows(name.len()).position(|window| window == name).unwrap();
    image[at - 2] = 4;
    image[at..at + 4].copy_from_slice(b"link");
    let out = volumes(image)[0].open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let copied = vadp_files::CopyOut::new().owners(false).run(&out, "folder", &target).unwrap();
    // Whichever comes first stays; the other is refused by name, and nothing went through the link.
    assert_eq!(copied.failures.len(), 1, "{copied:?}");
    assert_eq!(copied.failures[0].path, b"link");
    assert_eq!(copied.failures[0].kind, ErrorKind::Refused);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn partitions_of_both_kinds() {
    let fat = image("fat12");
    let mut disk = vec![0; 8 << 20];
    disk[1 << 20..][..fat.len()].copy_from_slice(&fat);
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let entry = |kind: u8, start: u32, size: u32| {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..16].copy_from_slice(&size.to_le_bytes());
        entry
    };
    // One partition, and two logical ones within an extended one.
    disk[446..462].copy_from_slice(&entry(0x01, 2048, 2880));
    disk[462..478].copy_from_slice(&entry(0x05, 6144, 8192));
    for (record, next) in [(6144_usize, Some(2048)), (8192, None)] {
        let at = record * 512;
        disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xAA]);
        disk[at + 446..at + 462].copy_from_slice(&entry(0x83, 16, 1024));
        if let Some(next) = next {
            disk[at + 462..at + 478].copy_from_slice(&entry(0x05, next, 2048));
        }
    }
    let found = volumes(disk.clone());
    let names: Vec<_> = found.iter().map(|volume| (volume.name(), volume.kind(), volume.size())).collect();
    assert_eq!(
        names,
        [
            ("disk/1", Kind::Fat, 2880 * 512),
            ("disk/5", Kind::Empty, 1024 * 512),
            ("disk/6", Kind::Empty, 1024 * 512)
        ]
    );
    has_the_files(&found[0].open().unwrap(), "TINY");
    // A chain of logical partitions that leads back has an end.
    disk[8192 * 512 + 462..][..16].copy_from_slice(&entry(0x05, 0, 2048));
    disk[8192 * 512 + 462 + 8] = 1;
    let found = volumes(disk);
    assert!(found[0].problem().unwrap().contains("lead back"), "{found:?}");

    // gptman is how a GPT is written by others.
    for sector in [512_u64, 4096] {
        let mut disk = std::io::Cursor::new(vec![0; 8 << 20]);
        let mut gpt = gptman::GPT::new_from(&mut disk, sector, [7; 16]).unwrap();
        gpt[1] = gptman::GPTPartitionEntry {
            partition_type_guid: [1; 16],
            unique_partition_guid: [2; 16],
            starting_lba: (1 << 20) / sector,
            ending_lba: (1 << 20) / sector + 2880 * 512 / sector - 1,
            attribute_bits: 0,
            partition_name: "from outside".into(),
        };
        gpt.write_into(&mut disk).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut disk, sector).unwrap();
        let mut disk = disk.into_inner();
        disk[1 << 20..][..fat.len()].copy_from_slice(&fat);
        // The first copy is damaged: the second one counts.
        for spoil in [false, true] {
            if spoil {
                disk[sector as usize + 30] ^= 1;
            }
            let found = volumes(disk.clone());
            assert_eq!(
                (found[0].name(), found[0].label(), found[0].kind()),
                ("disk/1", "from outside", Kind::Fat)
            );
            has_the_files(&found[0].open().unwrap(), "TINY");
        }
    }
}

#[test]
fn encrypted_volumes_are_named_as_such() {
    let mut luks = vec![0; 1 << 20];
    luks[..6].copy_from_slice(b"LUKS\xba\xbe");
    let found = volumes(luks);
    assert_eq!(found[0].kind(), Kind::Luks);
    assert_eq!(found[0].open().unwrap_err().kind(), ErrorKind::Encrypted);
    let found = volumes(vec![0; 4096]);
    assert_eq!(found[0].kind(), Kind::Empty);
    assert_eq!(found[0].open().unwrap_err().kind(), ErrorKind::Unsupported);
}
