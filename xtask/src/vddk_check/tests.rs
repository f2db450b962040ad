//! Kits in miniature: one that is equal, one that is older, one that is newer, and many that are wrong in one way each.

use std::fs;

use tempfile::TempDir;

use super::check;
use super::compare::Report;
use super::ours;

const DISKS: &str = include_str!("kit/vixDiskLib.h");
const MOUNTS: &str = include_str!("kit/vixMntapi.h");

/// A kit on disk. The codes are those of our table: what is tested is that each is compared.
fn kit(disks: &str, mounts: Option<&str>) -> TempDir {
    let codes = ours::load().unwrap().codes;
    let names = codes.iter().filter_map(|code| {
        let name = code.name.as_deref()?;
        let prefix = if name.starts_with("VIX_") { "" } else { "VIX_E_" };
        Some(format!("    {prefix}{name} = {},\n", code.number))
    });
    let codes = format!("enum {{\n{}}};\n", names.collect::<String>());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("include")).unwrap();
    fs::write(folder.path().join("include/vixDiskLib.h"), disks.replace("/* KIT_CODES */", &codes)).unwrap();
    if let Some(mounts) = mounts {
        fs::write(folder.path().join("include/vixMntapi.h"), mounts).unwrap();
    }
    folder
}

fn checked(disks: &str, mounts: &str) -> Report {
    check(kit(disks, Some(mounts)).path()).unwrap()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} is not there once");
    text.replace(from, to)
}

/// What differs when `from` of the header is `to`; nothing else may.
fn wrong(from: &str, to: &str) -> Vec<String> {
    let report = checked(&replaced(DISKS, from, to), MOUNTS);
    assert_eq!(report.more, [""; 0]);
    report.differs
}

fn mount_wrong(from: &str, to: &str) -> Vec<String> {
    checked(DISKS, &replaced(MOUNTS, from, to)).differs
}

#[test]
fn an_equal_kit_is_equal_to_the_last_constant() {
    let report = checked(DISKS, MOUNTS);
    assert_eq!((report.differs.as_slice(), report.more.as_slice()), ([].as_slice(), [].as_slice()));
    // This one is declared for Windows alone.
    assert_eq!(report.lacks, ["VixMntapi_OpenDiskSet (first seen: 1.0)"]);
    let shown = report.to_string();
    assert!(
        shown.ends_with("63 functions, 76 fields, 269 constants compared: 0 differ, 1 lacking, 0 more\n"),
        "{shown}"
    );
    super::run(kit(DISKS, Some(MOUNTS)).path()).unwrap();
}

#[test]
fn the_order_of_fields_of_one_type_is_seen() {
    let differs = wrong(
        "    char *serverName;\n    char *thumbPrint;\n",
        "    char *thumbPrint;\n    char *serverName;\n",
    );
    assert_eq!(
        differs,
        [
            "VddkConnectParams.server (KitConnectParams.serverName): at byte 8 here, at 16 in the kit",
            "VddkConnectParams.thumbprint (KitConnectParams.thumbPrint): at byte 16 here, at 8 in the kit",
        ]
    );
    let differs =
        wrong("    uint32 heads;\n    uint32 sectors;\n", "    uint32 sectors;\n    uint32 heads;\n");
    assert_eq!(differs.len(), 2, "{differs:?}");
}

#[test]
fn the_type_of_a_field_is_seen_even_where_its_size_is_the_same() {
    assert_eq!(
        wrong("    uint32 port;\n", "    uint16 port;\n"),
        [
            "VddkConnectParams.port (KitConnectParams.port): an unsigned integer of 4 bytes here, an unsigned integer of 2 bytes in the kit"
        ]
    );
    assert_eq!(
        wrong("    int numLinks;\n", "    uint32 numLinks;\n"),
        [
            "VddkInfo.links (KitInfo.numLinks): a signed integer of 4 bytes here, an unsigned integer of 4 bytes in the kit"
        ]
    );
    assert_eq!(
        wrong("    char *uuid;\n", "    uint64 uuid;\n"),
        ["VddkInfo.uuid (KitInfo.uuid): a pointer here, an unsigned integer of 8 bytes in the kit"]
    );
    assert_eq!(
        wrong("    KitUid uid;\n", "    KitUid *uid;\n"),
        ["VddkCredentials.password: the kit has no arm with userName, password"]
    );
}

#[test]
fn a_packed_kit_is_seen_although_its_fields_are_the_same() {
    let differs = checked(&format!("#pragma pack(4)\n{DISKS}"), MOUNTS).differs;
    let capacity = "VddkCreateParams.capacity (KitCreateParams.capacity): at byte 16 here, at 12 in the kit";
    assert!(differs.iter().any(|line| line == capacity), "{differs:?}");
}

#[test]
fn constants_members_and_codes_are_compared_by_value() {
    assert_eq!(
        wrong("FLAG_OPEN_READ_ONLY (1 << 2)", "FLAG_OPEN_READ_ONLY (1 << 3)"),
        ["VDDK_OPEN_READ_ONLY: 4 here, VIXDISKLIB_FLAG_OPEN_READ_ONLY is 8"]
    );
    assert_eq!(
        wrong("VIXDISKLIB_DISK_VMFS_THIN = 7", "VIXDISKLIB_DISK_VMFS_THIN = 9"),
        ["VDDK_DISK_VMFS_THIN: 7 here, VIXDISKLIB_DISK_VMFS_THIN is 9"]
    );
    assert_eq!(
        wrong("HWVERSION_ESX60 11", "HWVERSION_ESX60 12"),
        ["HardwareVersion::ESX_6_0: 11 here, VIXDISKLIB_HWVERSION_ESX60 is 12"]
    );
    let kit = kit(DISKS, Some(MOUNTS));
    let header = kit.path().join("include/vixDiskLib.h");
    let text = fs::read_to_string(&header).unwrap();
    fs::write(&header, replaced(&text, "VIX_E_FILE_NOT_FOUND = 4,", "VIX_E_FILE_NOT_FOUND = 5,")).unwrap();
    assert_eq!(check(kit.path()).unwrap().differs, ["code: 4 here, VIX_E_FILE_NOT_FOUND is 5"]);
    assert_eq!(
        mount_wrong("VIXMNTAPI_OTHER = 255", "VIXMNTAPI_OTHER = 2"),
        ["OS_OTHER: 255 here, VIXMNTAPI_OTHER is 2"]
    );
    assert_eq!(wrong("#define VIXDISKLIB_SECTOR_SIZE 512\n", "").len(), 1);
}

#[test]
fn a_function_that_every_kit_has_is_missed() {
    assert_eq!(
        wrong("KitError VixDiskLib_Rename(const char *from, const char *to);\n", ""),
        ["VixDiskLib_Rename: the kit does not declare it, and every kit should"]
    );
    assert_eq!(mount_wrong("KitError VixMntapi_CloseDiskSet(KitSet set);\n", "").len(), 1);
}

#[test]
fn parameters_and_results_are_compared() {
    assert_eq!(
        wrong(
            "VixDiskLib_Unlink(KitConnection connection, const char *path)",
            "VixDiskLib_Unlink(const char *path)"
        ),
        ["VixDiskLib_Unlink: 2 parameters here, 1 in the kit"]
    );
    assert_eq!(
        wrong("KitError VixDiskLib_FreeBlockList(", "void VixDiskLib_FreeBlockList("),
        ["VixDiskLib_FreeBlockList: a result here only"]
    );
    assert_eq!(
        wrong(
            "typedef Bool (*KitProgress)(void *data, int percent);",
            "typedef Bool (*KitProgress)(int percent, void *data);"
        )
        .len(),
        2 * 6,
        "every function that takes it"
    );
    // Handles are pointers to something unknown, and still not each other.
    assert_eq!(
        wrong("KitError VixDiskLib_Wait(KitDisk disk);", "KitError VixDiskLib_Wait(KitConnection disk);"),
        ["VixDiskLib_Wait, parameter 1: the kit has KitConnectionBody where it has KitDiskBody elsewhere"]
    );
}

#[test]
fn an_older_kit_lacks_and_does_not_differ() {
    let mut old = DISKS.to_owned();
    for later in
        ["GetConnectionFromDisk", "OpenEx", "QueryChangedAreas", "FreeChangedAreas", "AllocateConnectParams"]
    {
        let line =
            old.lines().find(|line| line.contains(&format!("VixDiskLib_{later}("))).unwrap().to_owned();
        old = replaced(&old, &format!("{line}\n"), "");
    }
    for (from, to) in [
        ("    char *sslCertificate;\n", ""),
        ("    KitStoreSpec store;\n", ""),
        (
            "    VIXDISKLIB_SPEC_DATASTORE = 2,\n    VIXDISKLIB_SPEC_UNKNOWN = 256,\n",
            "    VIXDISKLIB_SPEC_UNKNOWN = 2,\n",
        ),
    ] {
        old = replaced(&old, from, to);
    }
    old = old.replace("    uint32 logicalSectorSize;\n    uint32 physicalSectorSize;\n", "");
    let report = check(kit(&old, None).path()).unwrap();
    assert_eq!(report.differs, [""; 0]);
    let lacks = report.lacks.join("\n");
    for word in [
        "OpenEx (first seen: 9)",
        "AllocateConnectParams (first seen: 6.7)",
        "sslCertificate",
        "datastore",
        "VDDK_SPEC_UNKNOWN is 2",
        "logicalSectorSize",
        "vixMntapi.h",
    ] {
        assert!(lacks.contains(word), "{word} is not in\n{lacks}");
    }
}

#[test]
fn a_newer_kit_has_more_and_differs_only_where_it_would_read_beyond_our_memory() {
    let new = replaced(
        DISKS,
        "KitError VixDiskLib_Flush(KitDisk disk);",
        "KitError VixDiskLib_Flush(KitDisk disk);\nKitError VixDiskLib_Trim(KitDisk disk);",
    );
    let new = replaced(
        &new,
        "    char *uuid;\n    uint32 logicalSectorSize;\n    uint32 physicalSectorSize;\n",
        "    char *uuid;\n    uint32 logicalSectorSize;\n    uint32 physicalSectorSize;\n    uint64 later;\n",
    );
    let new = replaced(
        &new,
        "VIXDISKLIB_CRED_SSPI = 4,",
        "VIXDISKLIB_CRED_SSPI = 4,\n    VIXDISKLIB_CRED_TOKEN = 5,",
    );
    let report = checked(&new, MOUNTS);
    assert_eq!(report.differs, [""; 0]);
    assert_eq!(
        report.more,
        [
            "VIXDISKLIB_CRED_TOKEN = 5 in KitCredType",
            "KitInfo.later at byte 64",
            "VixDiskLib_Trim: our table does not have it"
        ]
    );
    let longer = replaced(DISKS, "    char *changeId;\n", "    char *changeId;\n    uint32 more;\n");
    let report = checked(&longer, MOUNTS);
    assert_eq!(
        report.differs,
        ["VddkOpenParams: the kit looks for more in it: KitOpenParams.more at byte 24"]
    );
}

#[test]
fn a_folder_without_headers_says_what_to_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = super::run(folder.path()).unwrap_err().to_string();
    assert!(error.contains("vmware-vix-disklib-distrib"), "{error}");
    fs::write(folder.path().join("vixDiskLib.h"), "int broken(").unwrap();
    let error = format!("{:#}", super::run(folder.path()).unwrap_err());
    assert!(error.contains("cannot be read"), "{error}");
    let kit = kit(&replaced(DISKS, "    uint32 port;\n", "    uint16 port;\n"), None);
    let error = super::run(kit.path()).unwrap_err().to_string();
    assert!(error.starts_with("1 of what"), "{error}");
}
