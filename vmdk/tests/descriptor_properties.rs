//! What holds for every descriptor.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/campaign.rs"]
mod campaign;

use proptest::prelude::*;
use vmdk::{Access, AdapterType, Cid, CreateType, Descriptor, ExtentKind, ExtentLine, Geometry};

/// Lines that are or resemble those of descriptors, so that some of the texts are accepted.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "CID=50fc0af", "parentCID = ffffffff", "createType=\"vmfs\"", "encoding=\"windows-1252\"", "encoding=\"GBK\"",
            "RW 8 VMFS \"x\"", "rw\t9 flat \"y\" 7 rest \"more rest\"", "RDONLY 3 ZERO", "NOACCESS 1 SPARSE \"z\"",
            "# The Disk Data Base ", "#DDB", "# Change Tracking File", "", "ddb.uuid = \"1 2\"", "ddb.longContentID = \"00000000050fc0af\"",
            "ddb.comment = \"a\"b\"", "isNativeSnapshot=\"yes\"", "changeTrackPath=\"c\"", "parentFileNameHint=\"p\"",
            "RW 8 NEW what", "RW", "=", "\"", "version=3", "x=\"y", "RW 18446744073709551615 ZERO", "ddb. = \"\"",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~]{0,40}".prop_map(String::into_bytes),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let start =
        prop::sample::select(vec!["# Disk DescriptorFile", "version=1", "\u{feff}#disk descriptorfile", ""]);
    let needed = prop::bool::weighted(0.7);
    let lines = prop::collection::vec((line(), prop::sample::select(vec!["\n", "\r\n"])), 0..20);
    (start, needed, lines, any::<bool>()).prop_map(|(start, needed, lines, ended)| {
        let mut text = start.as_bytes().to_vec();
        text.push(b'\n');
        if needed {
            text.extend_from_slice(b"CID=1\ncreateType=\"custom\"\nRW 8 ZERO\n");
        }
        for (line, end) in lines {
            // The needed ones would be there twice.
            if !(needed && (line.starts_with(b"CID") || line.starts_with(b"createType"))) {
                text.extend([line.as_slice(), end.as_bytes()].concat());
            }
        }
        if !ended {
            text.truncate(text.trim_ascii_end().len());
        }
        text
    })
}

fn name() -> impl Strategy<Value = String> {
    "[^\"\r\n\0]{1,40}"
}

fn extent() -> impl Strategy<Value = ExtentLine> {
    let access = prop::sample::select(vec![Access::ReadWrite, Access::ReadOnly, Access::NoAccess]);
    let kind = prop::sample::select(vec![
        ExtentKind::Flat,
        ExtentKind::Vmfs,
        ExtentKind::Sparse,
        ExtentKind::Zero,
        ExtentKind::VmfsSparse,
        ExtentKind::SeSparse,
        ExtentKind::VsanSparse,
        ExtentKind::VmfsRdm,
        ExtentKind::VmfsRaw,
        ExtentKind::Other("NEW1".into()),
    ]);
    let rest = prop::collection::vec("[a-z][a-z0-9{}-]{0,8}|\"[a-z 0-9]{0,9}\"", 0..3);
    (access, kind, 0..1_u64 << 40, name(), any::<u64>(), rest).prop_map(
        |(access, kind, sectors, name, offset, rest)| {
            let line = ExtentLine::of(kind, sectors, name);
            match line.kind {
                ExtentKind::Zero => ExtentLine { access, ..line },
                ExtentKind::Flat => ExtentLine { access, offset: Some(offset), rest, ..line },
                _ => ExtentLine { access, ..line },
            }
        },
    )
}

fn create_type() -> impl Strategy<Value = CreateType> {
    "vmfs|seSparse|custom|2GbMaxExtentFlat|[a-zA-Z0-9]{1,12}".prop_map(|word| CreateType::from(word.as_str()))
}

#[derive(Debug, Clone)]
enum Change {
    Cid(u32),
    Parent(Option<(u32, String)>),
    Extents(Vec<ExtentLine>),
    Ddb(String, String),
    RemoveDdb(String),
    Adapter(AdapterType),
    Geometry(u32, u32, u32),
    CreateType(CreateType),
    DropTracking,
}

fn change() -> impl Strategy<Value = Change> {
    let adapters =
        vec![AdapterType::Ide, AdapterType::BusLogic, AdapterType::LsiLogic, AdapterType::LegacyEsx];
    let key = || "uuid|comment|longContentID|virtualHWVersion|[a-zA-Z][a-zA-Z0-9._-]{0,9}";
    prop_oneof![
        any::<u32>().prop_map(Change::Cid),
        prop::option::of((any::<u32>(), name())).prop_map(Change::Parent),
        prop::collection::vec(extent(), 1..5).prop_map(Change::Extents),
        (key(), "[^\"\r\n\0]{0,40}").prop_map(|(key, value)| Change::Ddb(key, value)),
        key().prop_map(Change::RemoveDdb),
        prop::sample::select(adapters).prop_map(Change::Adapter),
        any::<(u32, u32, u32)>()
            .prop_map(|(cylinders, heads, sectors)| Change::Geometry(cylinders, heads, sectors)),
        create_type().prop_map(Change::CreateType),
        Just(Change::DropTracking),
    ]
}

/// How many lines of the text the change may alter or take away.
fn most_old_lines(change: &Change, disk: &Descriptor, text: &[u8]) -> usize {
    match change {
        Change::Cid(_) | Change::Parent(_) => 2,
        Change::Extents(_) => disk.extents().len(),
        Change::Ddb(..) | Change::Adapter(_) | Change::CreateType(_) => 1,
        Change::RemoveDdb(key) => disk.ddb_keys().filter(|own| own.eq_ignore_ascii_case(key)).count(),
        Change::Geometry(..) => 3,
        // The version, the path, the blank line behind it, and the heads of its section.
        Change::DropTracking => 3 + String::from_utf8_lossy(text).matches("# Change Tracking File").count(),
    }
}

/// Makes the change, and says how many lines it may add or alter.
fn apply(change: &Change, disk: &mut Descriptor) -> usize {
    match change {
        Change::Cid(cid) => {
            disk.set_cid(Cid(*cid));
            assert_eq!(disk.cid(), Cid(*cid));
            2
        }
        Change::Parent(parent) => {
            let parent = parent.as_ref().map(|(cid, hint)| (Cid(*cid), hint.as_str()));
            if disk.set_parent(parent).is_ok() {
                assert_eq!(disk.parent_cid(), parent.map(|(cid, _)| cid).filter(|cid| *cid != Cid::NONE));
                assert_eq!(disk.parent_hint(), parent.map(|(_, hint)| hint));
            }
            2
        }
        Change::Extents(extents) => {
            if disk.set_extents(extents.clone()).is_ok() {
                assert_eq!(disk.extents(), extents);
            }
            extents.len()
        }
        Change::Ddb(key, value) => {
            if disk.set_ddb(key, value).is_ok() {
                assert_eq!(disk.ddb(key), Some(value.as_str()));
            }
            5
        }
        Change::RemoveDdb(key) => {
            disk.remove_ddb(key);
            assert_eq!(disk.ddb(key), None);
            0
        }
        Change::Adapter(adapter) => {
            disk.set_adapter(*adapter);
            assert_eq!(disk.adapter(), Some(*adapter));
            5
        }
        Change::Geometry(cylinders, heads, sectors) => {
            let geometry = Geometry { cylinders: *cylinders, heads: *heads, sectors: *sectors };
            disk.set_geometry(geometry);
            assert_eq!(disk.geometry(), Some(geometry));
            7
        }
        Change::CreateType(create_type) => {
            disk.set_create_type(create_type.clone());
            assert_eq!(disk.create_type(), create_type);
            1
        }
        Change::DropTracking => {
            disk.drop_change_tracking();
            assert_eq!(disk.change_track_path(), None);
            assert_ne!(disk.version(), 3);
            1
        }
    }
}

/// The lines of `after` that are not in `before`, each counted once. A line that only got its missing end is the same.
fn new_lines(before: &[u8], after: &[u8]) -> usize {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()).collect()
    };
    let mut old = lines(before);
    lines(after)
        .into_iter()
        .filter(|line| old.iter().position(|other| other == line).map(|at| old.swap_remove(at)).is_none())
        .count()
}

proptest! {
    #![proptest_config(campaign::slice(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Descriptor::parse(&bytes);
        let _ = Descriptor::parse(&[b"version=1\nCID=1\ncreateType=\"x\"\nRW 1 ZERO\n", bytes.as_slice()].concat());
    }

    #[test]
    fn what_is_accepted_comes_out_byte_for_byte(text in text()) {
        if let Ok(disk) = Descriptor::parse(&text) {
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            prop_assert_eq!(&disk.to_bytes(), &text[..end]);
            let _ = (disk.refusal(), disk.capacity(), disk.geometry(), disk.ddb_keys().count());
        }
    }

    #[test]
    fn new_descriptors_read_back(
        kind in create_type(),
        cid in any::<u32>(),
        extents in prop::collection::vec(extent(), 1..6),
        changes in prop::collection::vec(change(), 0..8),
    ) {
        let mut disk = Descriptor::new(kind, Cid(cid), extents.clone());
        prop_assert_eq!(disk.extents(), &extents);
        prop_assert_eq!(&Descriptor::parse(&disk.to_bytes()).unwrap(), &disk);
        for change in &changes {
            apply(change, &mut disk);
            prop_assert_eq!(&Descriptor::parse(&disk.to_bytes()).unwrap(), &disk);
        }
    }

    #[test]
    fn one_change_changes_its_lines_only(text in text(), change in change()) {
        let Ok(mut disk) = Descriptor::parse(&text) else { return Ok(()) };
        let before = disk.to_bytes();
        let most_old = most_old_lines(&change, &disk, &before);
        let most = apply(&change, &mut disk);
        let after = disk.to_bytes();
        prop_assert!(new_lines(&before, &after) <= most, "{}", String::from_utf8_lossy(&after));
        prop_assert!(new_lines(&after, &before) <= most_old, "{}", String::from_utf8_lossy(&after));
        let back = Descriptor::parse(&after).unwrap();
        prop_assert_eq!(back.to_bytes(), after);
        prop_assert_eq!(back.extents(), disk.extents());
        prop_assert_eq!((back.cid(), back.parent_cid(), back.version()), (disk.cid(), disk.parent_cid(), disk.version()));
        prop_assert_eq!((back.parent_hint(), back.create_type()), (disk.parent_hint(), disk.create_type()));
    }
}
