//! Descriptors as they are met: texts of VMware's and others' tools, rebuilt from their values, and the mistakes that
//! other readers made with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use vmdk::{Access, AdapterType, Cid, CreateType, Descriptor, ErrorKind, ExtentKind, ExtentLine, Geometry};

const ESXI_BASE: &str = r#"# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfs"

# Extent description
RW 83886080 VMFS "web-flat.vmdk"

# The Disk Data Base 
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "5221"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.longContentID = "0123456789abcdef01234567fffffffe"
ddb.thinProvisioned = "1"
ddb.toolsInstallType = "4"
ddb.toolsVersion = "2147483647"
ddb.uuid = "60 00 C2 9a 01 02 03 04-05 06 07 08 09 0a 0b 0c"
ddb.virtualHWVersion = "13"
"#;

const ESXI_CHILD: &str = r#"# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=7b2a1c9d
parentCID=fffffffe
isNativeSnapshot="no"
createType="seSparse"
parentFileNameHint="web.vmdk"

# Extent description
RW 83886080 SESPARSE "web-000001-sesparse.vmdk"

# The Disk Data Base 
#DDB

ddb.longContentID = "0123456789abcdef012345677b2a1c9d"
"#;

const TRACKED_RDM: &str = r#"# Disk DescriptorFile
version=3
encoding="UTF-8"
CID=12345678
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfsRawDeviceMap"

# Extent description
RW 1048576000 VMFSRDM "RDM-rdm.vmdk"

# Change Tracking File
changeTrackPath="RDM-ctk.vmdk"

# The Disk Data Base 
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "65270"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
"#;

/// A descriptor of these extents and header lines, in few words.
fn text(header: &str, extents: &str) -> String {
    format!("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n{header}\n{extents}\n")
}

fn parse(text: impl AsRef<[u8]>) -> Descriptor {
    let text = text.as_ref();
    let descriptor = Descriptor::parse(text).unwrap();
    assert_eq!(descriptor.to_bytes(), text, "what is not changed comes out as it was");
    descriptor
}

fn refused(text: impl AsRef<[u8]>) -> (ErrorKind, String) {
    // A failure must not print megabytes.
    let error = Descriptor::parse(text.as_ref()).map(drop).unwrap_err();
    (error.kind(), error.to_string())
}

/// The lines that are in `after` only, and those that are in `before` only.
fn changed(before: &str, after: &Descriptor) -> (Vec<String>, Vec<String>) {
    let after = String::from_utf8(after.to_bytes()).unwrap();
    let only = |of: &str, other: &str| {
        let mut rest: Vec<_> = other.lines().collect();
        let mut found = Vec::new();
        for line in of.lines() {
            match rest.iter().position(|other| *other == line) {
                Some(at) => drop(rest.remove(at)),
                None => found.push(line.to_owned()),
            }
        }
        found
    };
    (only(&after, before), only(before, &after))
}

#[test]
fn an_esxi_base_disk_tells_all_of_itself() {
    let disk = parse(ESXI_BASE);
    assert_eq!((disk.version(), disk.encoding()), (1, Some("UTF-8")));
    assert_eq!((disk.cid(), disk.parent_cid()), (Cid::FRESH, None));
    assert!(!disk.is_native_snapshot());
    assert_eq!(disk.create_type(), &CreateType::Vmfs);
    assert_eq!((disk.parent_hint(), disk.change_track_path()), (None, None));
    assert_eq!(disk.extents(), [ExtentLine::vmfs(83_886_080, "web-flat.vmdk")]);
    assert_eq!(disk.capacity().unwrap(), 83_886_080);
    assert_eq!(disk.adapter(), Some(AdapterType::LsiLogic));
    assert_eq!(disk.geometry(), Some(Geometry { cylinders: 5221, heads: 255, sectors: 63 }));
    assert_eq!(disk.bios_geometry(), None);
    assert_eq!(disk.uuid(), Some("60 00 C2 9a 01 02 03 04-05 06 07 08 09 0a 0b 0c"));
    assert_eq!(disk.long_content_id(), Some("0123456789abcdef01234567fffffffe"));
    assert_eq!(disk.hardware_version(), Some(13));
    assert!(disk.is_thin());
    assert_eq!(disk.ddb("TOOLSVERSION"), Some("2147483647"));
    assert_eq!(disk.ddb_keys().next(), Some("adapterType"));
    assert_eq!(disk.ddb_keys().count(), 10);
    assert!(disk.refusal().is_none());
}

#[test]
fn a_snapshot_child_names_its_parent() {
    let child = parse(ESXI_CHILD);
    assert_eq!(child.parent_cid(), Some(Cid::FRESH));
    assert_eq!(child.parent_hint(), Some("web.vmdk"));
    assert_eq!(child.extents()[0].kind, ExtentKind::SeSparse);
    assert_eq!((child.adapter(), child.geometry(), child.is_thin()), (None, None, false));
    assert!(child.refusal().is_none());
}

#[test]
fn a_new_descriptor_is_laid_out_as_esxi_does() {
    let mut disk =
        Descriptor::new(CreateType::Vmfs, Cid::FRESH, vec![ExtentLine::vmfs(83_886_080, "web-flat.vmdk")]);
    for (key, value) in [
        ("virtualHWVersion", "13"),
        ("uuid", "60 00 C2 9a 01 02 03 04-05 06 07 08 09 0a 0b 0c"),
        ("toolsVersion", "2147483647"),
        ("thinProvisioned", "1"),
        ("longContentID", "0123456789abcdef01234567fffffffe"),
        ("toolsInstallType", "4"),
    ] {
        disk.set_ddb(key, value).unwrap();
    }
    disk.set_geometry(Geometry::of(83_886_080, AdapterType::LsiLogic));
    disk.set_adapter(AdapterType::LsiLogic);
    assert_eq!(String::from_utf8(disk.to_bytes()).unwrap(), ESXI_BASE);
}

#[test]
fn a_child_is_made_of_a_new_descriptor() {
    let cid = Cid(0x7b2a_1c9d);
    let extent = ExtentLine::se_sparse(83_886_080, "web-000001-sesparse.vmdk");
    let mut child = Descriptor::new(CreateType::SeSparse, cid, vec![extent]);
    child.set_ddb("longContentID", "0123456789abcdef0123456700000000").unwrap();
    child.set_parent(Some((Cid::FRESH, "web.vmdk"))).unwrap();
    child.set_cid(cid);
    assert_eq!(String::from_utf8(child.to_bytes()).unwrap(), ESXI_CHILD);
}

#[test]
fn setting_the_cid_changes_its_line_and_the_long_content_id() {
    let mut disk = parse(ESXI_BASE);
    disk.set_cid(Cid(0xabc));
    let (new, old) = changed(ESXI_BASE, &disk);
    assert_eq!(new, ["CID=00000abc", "ddb.longContentID = \"0123456789abcdef0123456700000abc\""]);
    assert_eq!(old.len(), 2);
    assert_eq!(disk.cid(), Cid(0xabc));
}

#[test]
fn a_parent_comes_and_goes() {
    let mut disk = parse(ESXI_BASE);
    disk.set_parent(Some((Cid(7), "../base/base.vmdk"))).unwrap();
    let after = String::from_utf8(disk.to_bytes()).unwrap();
    assert!(after.contains("createType=\"vmfs\"\nparentFileNameHint=\"../base/base.vmdk\"\n\n"));
    assert!(after.contains("\nparentCID=00000007\n"));
    disk.set_parent(None).unwrap();
    assert_eq!(disk.to_bytes(), ESXI_BASE.as_bytes());
    assert_eq!(disk.set_parent(Some((Cid(7), "a\"b"))).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(disk.to_bytes(), ESXI_BASE.as_bytes());
}

#[test]
fn a_parent_cid_that_is_not_there_is_put_behind_the_cid() {
    let mut disk = parse("version=1\r\nCID=1\r\ncreateType=\"custom\"\r\nRW 1 ZERO");
    disk.set_parent(Some((Cid(2), "p.vmdk"))).unwrap();
    disk.set_ddb("uuid", "x").unwrap();
    let after = String::from_utf8(disk.to_bytes()).unwrap();
    assert_eq!(
        after,
        "version=1\r\nCID=1\r\nparentCID=00000002\r\ncreateType=\"custom\"\r\nparentFileNameHint=\"p.vmdk\"\r\n\
         RW 1 ZERO\r\n\r\n# The Disk Data Base \r\n#DDB\r\n\r\nddb.uuid = \"x\"\r\n"
    );
    assert_eq!(Descriptor::parse(after.as_bytes()).unwrap(), disk);
}

#[test]
fn extents_that_stay_are_not_written_anew() {
    let before =
        text("createType=\"custom\"", "rw  8 flat \"a\"\t0\nRW 8 ZERO\nRW 8 FLAT \"b\" 0\nddb.uuid = \"x\"");
    let mut disk = parse(&before);
    let mut extents = disk.extents().to_vec();
    extents[1] = ExtentLine::sparse(8, "c");
    disk.set_extents(extents.clone()).unwrap();
    assert_eq!(changed(&before, &disk), (vec!["RW 8 SPARSE \"c\"".into()], vec!["RW 8 ZERO".into()]));
    extents.push(ExtentLine::zero(4));
    disk.set_extents(extents.clone()).unwrap();
    assert!(String::from_utf8(disk.to_bytes()).unwrap().contains("RW 8 FLAT \"b\" 0\nRW 4 ZERO\nddb.uuid"));
    disk.set_extents(extents[..1].to_vec()).unwrap();
    assert_eq!(disk.capacity().unwrap(), 8);
    assert_eq!(changed(&before, &disk).0, Vec::<String>::new());
    assert_eq!(Descriptor::parse(&disk.to_bytes()).unwrap(), disk);
    assert_eq!(disk.set_extents(vec![]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        disk.set_extents(vec![ExtentLine::vmfs(1, "a\nb")]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let many = vec![ExtentLine::zero(1); 65_537];
    assert_eq!(disk.set_extents(many).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn an_odd_extent_line_may_be_the_unended_last_one() {
    let mut disk = parse("version=1\nCID=1\ncreateType=\"custom\"\nRW 1 ZERO");
    disk.set_extents(vec![ExtentLine::zero(1), ExtentLine::zero(2)]).unwrap();
    assert!(disk.to_bytes().ends_with(b"\nRW 1 ZERO\nRW 2 ZERO\n"));
}

#[test]
fn keys_without_an_order_get_new_ones_at_their_end() {
    let before = text("createType=\"vmfs\"", "RW 8 VMFS \"x\"\n#DDB\nddb.uuid = \"x\"\nddb.a.b = \"y\"");
    let mut disk = parse(&before);
    disk.set_ddb("comment", "z").unwrap();
    assert!(disk.to_bytes().ends_with(b"ddb.a.b = \"y\"\nddb.comment = \"z\"\n"));
    assert!(disk.remove_ddb("COMMENT"));
    assert!(!disk.remove_ddb("comment"));
    assert_eq!(disk.to_bytes(), before.as_bytes());
}

#[test]
fn the_data_base_takes_no_text_that_would_break_it() {
    let mut disk = parse(ESXI_BASE);
    for (key, value) in
        [("a", "x\"y"), ("a", "x\ny"), ("a", "x\0"), ("", "x"), ("a b", "x"), ("a=", "x"), ("encoding", "x")]
    {
        assert_eq!(
            disk.set_ddb(key, value).unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{key:?} {value:?}"
        );
    }
    assert_eq!(disk.to_bytes(), ESXI_BASE.as_bytes());
}

#[test]
fn pitfall_1_a_seven_digit_cid_before_or_behind_the_parents() {
    let qemu = "# Disk DescriptorFile\nversion=1\nCID=50fc0af\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
                # Extent description\nRW 20480 FLAT \"q-flat.vmdk\" 0\n\n# The Disk Data Base\n#DDB\n\n\
                ddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"20\"\nddb.geometry.heads = \"16\"\n\
                ddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\nddb.toolsVersion = \"2147483647\"\n";
    let mut disk = parse(qemu);
    assert_eq!((disk.cid(), disk.parent_cid()), (Cid(0x050f_c0af), None));
    assert_eq!((disk.encoding(), disk.adapter()), (None, Some(AdapterType::Ide)));
    disk.set_cid(disk.cid());
    assert_eq!(changed(qemu, &disk), (vec!["CID=050fc0af".into()], vec!["CID=50fc0af".into()]));

    let swapped = parse("version=1\nparentCID=11111111\nCID=2\ncreateType=\"custom\"\nRW 1 ZERO\n");
    assert_eq!((swapped.cid(), swapped.parent_cid()), (Cid(2), Some(Cid(0x1111_1111))));
    let fresh = Descriptor::new(CreateType::Custom, Cid(1), vec![ExtentLine::zero(1)]).to_bytes();
    let at = |text: &str| fresh.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    assert!(at("\nCID=00000001") < at("\nparentCID="));
}

#[test]
fn pitfall_2_descriptors_without_a_writable_extent_are_no_reason_to_abort() {
    let header = "createType=\"monolithicFlat\"";
    assert_eq!(parse(text(header, "RDONLY 8 FLAT \"x\" 0")).extents()[0].access, Access::ReadOnly);
    assert_eq!(parse(text(header, "rw 8 flat \"x\" 0")).capacity().unwrap(), 8);
    let (kind, message) = refused(text(header, "RW 8 FLAT x 0"));
    assert_eq!(kind, ErrorKind::Malformed);
    assert!(message.contains("line 6") && message.contains("quotes"), "{message}");
    let (kind, message) = refused(text(header, "# nothing"));
    assert_eq!(kind, ErrorKind::Malformed);
    assert!(message.contains("no extent"), "{message}");
}

#[test]
fn pitfall_3_zero_noaccess_and_rdonly_keep_their_place() {
    let lines = "RW 8 FLAT \"a\" 0\nRW 2048 ZERO\nNOACCESS 16 FLAT \"b\" 0\nRDONLY 32 FLAT \"c\" 4";
    let disk = parse(text("createType=\"custom\"", lines));
    assert_eq!(disk.capacity().unwrap(), 8 + 2048 + 16 + 32);
    let places: Vec<_> = disk.extents().iter().map(|extent| (extent.access, extent.sectors)).collect();
    assert_eq!(
        places,
        [(Access::ReadWrite, 8), (Access::ReadWrite, 2048), (Access::NoAccess, 16), (Access::ReadOnly, 32)]
    );
    assert_eq!(disk.extents()[1], ExtentLine::zero(2048));
}

#[test]
fn pitfall_12_and_13_keys_go_into_the_text_and_the_cid_never_lengthens_it() {
    let mut embedded = ESXI_BASE.as_bytes().to_vec();
    embedded.resize(20 * 512, 0);
    embedded.extend_from_slice(b"ddb.toolsInstallType = \"5\"\n");
    let mut disk = Descriptor::parse(&embedded).unwrap();
    assert_eq!(disk.ddb("toolsInstallType"), Some("4"), "text behind the NUL is none of the descriptor's");
    disk.set_cid(Cid(0));
    assert_eq!(disk.to_bytes().len(), ESXI_BASE.len());
}

#[test]
fn pitfall_15_offsets_are_written_for_flat_and_not_for_vmfs() {
    let header = "createType=\"custom\"";
    let mut disk = parse(text(header, "RW 8 VMFS \"x\" 0\nRW 8 FLAT \"y\""));
    assert_eq!((disk.extents()[0].offset, disk.extents()[1].offset), (Some(0), None));
    disk.set_extents(vec![
        ExtentLine { offset: Some(0), ..ExtentLine::vmfs(9, "x") },
        ExtentLine { offset: None, ..ExtentLine::flat(9, "y", 0) },
    ])
    .unwrap();
    assert!(disk.to_bytes().ends_with(b"RW 9 VMFS \"x\"\nRW 9 FLAT \"y\" 0\n"));
}

#[test]
fn pitfall_19_untrusted_sizes_do_not_overflow() {
    let most = u64::MAX;
    let disk = parse(text("createType=\"custom\"", &format!("RW {most} ZERO\nRW {most} ZERO")));
    assert_eq!(disk.capacity().unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(
        parse(text("createType=\"custom\"", &format!("RW {most} ZERO"))).capacity().unwrap_err().kind(),
        ErrorKind::Malformed
    );
}

#[test]
fn pitfall_22_change_tracking_goes_without_a_trace() {
    let mut disk = parse(TRACKED_RDM);
    assert_eq!((disk.version(), disk.change_track_path()), (3, Some("RDM-ctk.vmdk")));
    disk.drop_change_tracking();
    let tidy = TRACKED_RDM
        .replace("version=3", "version=1")
        .replace("# Change Tracking File\nchangeTrackPath=\"RDM-ctk.vmdk\"\n\n", "");
    assert_eq!(String::from_utf8(disk.to_bytes()).unwrap(), tidy);
    assert_eq!((disk.version(), disk.change_track_path()), (1, None));

    let mut half = parse(ESXI_BASE.replace("version=1", "version=3"));
    half.drop_change_tracking();
    assert_eq!(half.to_bytes(), ESXI_BASE.as_bytes(), "version 3 without changeTrackPath");
}

#[test]
fn mappings_and_devices_are_refused() {
    let physical = TRACKED_RDM.replace("vmfsRawDeviceMap", "vmfsPassthroughRawDeviceMap");
    for (disk, said) in [
        (parse(TRACKED_RDM), "virtual mode"),
        (parse(physical), "physical mode"),
        (parse(text("createType=\"fullDevice\"", "RW 63 FLAT \"\\\\.\\PhysicalDrive0\" 0")), "whole"),
        (
            parse(text("createType=\"partitionedDevice\"", "RW 63 FLAT \"/dev/sda\" 0 uuid \"a device\"")),
            "partitions",
        ),
        (parse(text("createType=\"new\"", "RW 63 VMFSRAW \"naa.1\"")), "raw device"),
    ] {
        let refusal = disk.refusal().unwrap();
        assert_eq!(refusal.kind(), ErrorKind::DeviceMapping);
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
}

#[test]
fn objects_are_refused_by_their_names() {
    let vsan = "# Disk DescriptorFile\nversion=4\nencoding=\"UTF-8\"\nCID=fffffffe\nparentCID=fffffffe\n\
                isNativeSnapshot=\"no\"\ncreateType=\"vsanSparse\"\nparentFileNameHint=\"a.vmdk\"\n\n\
                # Extent description\nRW 83886080 VSANSPARSE \"vsan://f252ae55-2577-c9f5-98b7-001517a69c72\"\n\n\
                # The Disk Data Base \n#DDB\n\nddb.longContentID = \"0123456789abcdef01234567fffffffe\"\n";
    for (disk, said) in [
        (parse(vsan), "vSAN"),
        (parse(text("createType=\"vmfs\"", "RW 8 VMFS \"vsan://52\"")), "vSAN"),
        (parse(text("createType=\"vmfs\"", "RW 8 VMFS \"vvol://rfc4122.52\"")), "vVol"),
        (parse(text("createType=\"vmfs\"", "RW 8 VMFS \"object://52\"")), "an object"),
        (parse(text("createType=\"custom\"", "RW 8 VSANSPARSE \"x\"")), "vSAN"),
    ] {
        let refusal = disk.refusal().unwrap();
        assert_eq!(refusal.kind(), ErrorKind::RemoteExtent);
        assert!(
            refusal.to_string().contains(said) && refusal.to_string().contains("through the host"),
            "{refusal}"
        );
    }
}

#[test]
fn ciphertext_is_never_taken_for_data() {
    for encrypted in [
        ESXI_BASE.replace("version=1\n", "version=2\n"),
        ESXI_BASE.replace("createType", "encryptionKeys=\"vmware:key/list/x\"\ncreateType"),
        ESXI_BASE.replace("ddb.uuid", "ddb.iofilters = \"vmwarevmcrypt\"\nddb.uuid"),
        ESXI_BASE.replace("ddb.uuid", "ddb.encryption.keySafe = \"x\"\nddb.uuid"),
    ] {
        assert_eq!(parse(encrypted).refusal().unwrap().kind(), ErrorKind::Encrypted);
    }
    assert!(parse(ESXI_BASE.replace("web-flat", "crypt-flat")).refusal().is_none(), "a name says nothing");
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
    let refusal = parse(text("createType=\"new\"", "RW 8 NEWSPARSE \"x\" y z")).refusal().unwrap();
    assert_eq!(refusal.kind(), ErrorKind::Unsupported);
    assert!(refusal.to_string().contains("NEWSPARSE"));
    let newer = parse(ESXI_BASE.replace("version=1\n", "version=5\n")).refusal().unwrap();
    assert_eq!(newer.kind(), ErrorKind::Unsupported);
}

#[test]
fn player_9_writes_windows_1252() {
    let header = "encoding=\"windows-1252\"\nisNativeSnapshot=\"no\"\ncreateType=\"monolithicFlat\"";
    let bytes: Vec<u8> = text(header, "RW 8 FLAT \"B\u{fc}ro \u{80}-flat.vmdk\" 0")
        .chars()
        .map(|letter| letter as u8)
        .collect();
    let mut disk = parse(&bytes);
    assert_eq!(disk.extents()[0].file.as_deref(), Some("Büro €-flat.vmdk"));
    disk.set_parent(Some((Cid(1), "Büro.vmdk"))).unwrap();
    assert!(disk.to_bytes().windows(4).any(|window| window == b"B\xfcro"));
    assert_eq!(Descriptor::parse(&disk.to_bytes()).unwrap(), disk);
    assert_eq!(disk.set_parent(Some((Cid(1), "事.vmdk"))).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn other_encodings_are_named_when_they_matter() {
    let gbk = |name: &[u8], comment: &[u8]| {
        let start = b"version=1\nencoding=\"GBK\"\nCID=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"";
        [start, name, b"\"\nddb.comment = \"", comment, b"\"\n"].concat()
    };
    let disk = parse(gbk(b"x", b"\xc4\xe3"));
    assert_eq!(disk.extents()[0].file.as_deref(), Some("x"));
    let (kind, message) = refused(gbk(b"\xc4\xe3", b""));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.contains("GBK") && message.contains("line 5"), "{message}");
    let hint =
        b"version=1\nencoding=\"GBK\"\nCID=1\ncreateType=\"vmfs\"\nparentFileNameHint=\"\xc4\"\nRW 8 ZERO\n";
    assert!(refused(hint).1.contains("GBK"));
    assert_eq!(
        refused(b"version=1\nCID=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"\xfc\"\n").0,
        ErrorKind::Malformed
    );
    let older =
        b"version=1\nCID=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"\xfc\"\nddb.encoding = \"windows-1252\"\n";
    assert_eq!(parse(older).extents()[0].file.as_deref(), Some("ü"));
}

#[test]
fn virtualboxs_keys_are_kept() {
    let lines = "RW 8 SPARSE \"vb.vmdk\"\n\n# The disk Data Base \n#DDB\n\nddb.adapterType=\"ide\"\n\
                 ddb.uuid.image=\"00000000-0000-0000-0000-000000000001\"\nddb.uuid.parent=\"0\"\nddb.comment=\"a = b\"\n";
    let disk = parse(text("createType=\"monolithicSparse\"", lines));
    assert_eq!(disk.ddb("uuid.image"), Some("00000000-0000-0000-0000-000000000001"));
    assert_eq!((disk.ddb("comment"), disk.uuid()), (Some("a = b"), None));
}

#[test]
fn split_flat_disks_are_the_sum_of_their_parts() {
    let lines = "RW 4192256 FLAT \"s-f001.vmdk\" 0\nRW 4192256 FLAT \"s-f002.vmdk\" 0\nRW 4096 FLAT \"s-f003.vmdk\" 0";
    let disk = parse(text("createType=\"2GbMaxExtentFlat\"", lines));
    assert_eq!(disk.create_type(), &CreateType::TwoGbMaxExtentFlat);
    assert_eq!(disk.capacity().unwrap(), 8_388_608);
    assert_eq!(disk.extents().len(), 3);
}

#[test]
fn case_blanks_order_and_marks_of_other_editors_do_not_matter() {
    let odd = "\u{feff}  #  disk   descriptorFILE \r\n\r\nCREATETYPE = \"VMFS\"\r\n\tVersion = 1\r\nCid= 0000000A \r\n\
               ParentCid = FFFFFFFF\r\nrw\t8  vmfs \"x\" \r\nDDB.AdapterType=LSILogic\r\nsome words\r\n";
    let mut disk = parse(odd);
    assert_eq!((disk.version(), disk.cid(), disk.parent_cid()), (1, Cid(10), None));
    assert_eq!((disk.create_type(), disk.adapter()), (&CreateType::Vmfs, Some(AdapterType::LsiLogic)));
    disk.set_create_type(CreateType::MonolithicFlat);
    assert_eq!(
        String::from_utf8(disk.to_bytes()).unwrap(),
        odd.replace("CREATETYPE = \"VMFS\"", "createType=\"monolithicFlat\"")
    );
}

#[test]
fn only_descriptors_are_descriptors() {
    for other in [
        &b""[..],
        b"\0",
        b"KDMV\x01\0\0\0",
        b"# a script\necho version=1\n",
        b"[main]\nversion=1\n",
        b"\xff\xfe#\0",
    ] {
        assert_eq!(refused(other).0, ErrorKind::NotADisk, "{other:?}");
    }
    assert_eq!(parse("version=1\nCID=1\ncreateType=\"vmfs\"\nRW 1 ZERO\n").parent_cid(), None);
    assert_eq!(refused(vec![b'x'; 11 << 20]).0, ErrorKind::NotADisk);
}

#[test]
fn keys_with_a_meaning_are_there_once() {
    for key in [
        "version=1",
        "CID=1",
        "cid = 2",
        "createType=\"vmfs\"",
        "encoding=\"UTF-8\"\nencoding=\"UTF-8\"",
        "ddb.uuid = \"1\"\nDDB.UUID = \"1\"",
    ] {
        let (kind, message) = refused(text(&format!("createType=\"vmfs\"\n{key}"), "RW 1 ZERO"));
        assert_eq!(kind, ErrorKind::Malformed, "{key}");
        assert!(message.contains("second"), "{message}");
    }
    parse(text("createType=\"vmfs\"\nddb.x = \"1\"\nddb.x = \"2\"", "RW 1 ZERO"));
}

#[test]
fn broken_values_are_told_with_their_line() {
    for (line, said) in [
        ("createType=\"vmfs", "quotes"),
        ("createType=\"vmfs\"\nversion=x", "second"),
        ("createType=\"vmfs\"\nchangeTrackPath=\"a\"b\"", "quotes"),
    ] {
        let (kind, message) = refused(text(line, "RW 1 ZERO"));
        assert_eq!(kind, ErrorKind::Malformed);
        assert!(message.contains(said) && message.starts_with("line "), "{message}");
    }
    assert!(refused("version=-1\nCID=1\ncreateType=\"vmfs\"\nRW 1 ZERO\n").1.contains("version"));
    assert!(refused("version=1\nCID=123456789\ncreateType=\"vmfs\"\nRW 1 ZERO\n").1.contains("CID"));
    assert!(refused("version=1\ncreateType=\"vmfs\"\nRW 1 ZERO\n").1.contains("CID"));
    assert!(refused("version=1\nCID=1\nRW 1 ZERO\n").1.contains("createType"));
}

#[test]
fn sizes_are_bounded() {
    let start = text("createType=\"vmfs\"", "RW 1 ZERO");
    for (filling, said) in [
        ("x".repeat((1 << 20) + 1), "lines"),
        ("\n".repeat(131_072), "lines"),
        ("RW 1 ZERO\n".repeat(65_536), "extents"),
        (("x".repeat(1 << 19) + "\n").repeat(21), "10485760"),
    ] {
        let (kind, message) = refused(format!("{start}{filling}"));
        assert_eq!(kind, ErrorKind::Malformed);
        assert!(message.contains(said), "{message}");
    }
    parse(format!("{start}{}", "RW 1 ZERO\n".repeat(65_535)));
}
