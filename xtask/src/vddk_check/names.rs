//! What the kit's headers call what we call otherwise. Source: sections 2, 3 and 6 of the project's VDDK fact sheet.

/// Our structures with their fields: our name, the kit's.
pub(super) const FIELDS: &[(&str, &[(&str, &str)])] = &[
    (
        "VddkConnectParams",
        &[
            ("vm", "vmxSpec"),
            ("server", "serverName"),
            ("thumbprint", "thumbPrint"),
            ("unused", "privateUse"),
            ("credential_type", "credType"),
            ("credentials", "creds"),
            ("port", "port"),
            ("nfc_port", "nfcHostPort"),
            ("api_version", "vimApiVer"),
            ("reserved", "reserved"),
            ("state", "state"),
            ("spec", "spec"),
            ("spec_type", "specType"),
            ("certificate", "sslCertificate"),
        ],
    ),
    ("VddkPasswordCredentials", &[("user", "userName"), ("password", "password")]),
    ("VddkSessionCredentials", &[("cookie", "cookie"), ("user", "userName"), ("key", "key")]),
    ("VddkStorageObjectSpec", &[("id", "id"), ("datastore", "datastoreMoRef"), ("snapshot", "ssId")]),
    ("VddkDatastoreSpec", &[("datastore", "datastoreMoRef"), ("folder", "diskFolder")]),
    ("VddkGeometry", &[("cylinders", "cylinders"), ("heads", "heads"), ("sectors", "sectors")]),
    (
        "VddkCreateParams",
        &[
            ("disk_type", "diskType"),
            ("adapter_type", "adapterType"),
            ("hardware_version", "hwVersion"),
            ("capacity", "capacity"),
            ("logical_sector_bytes", "logicalSectorSize"),
            ("physical_sector_bytes", "physicalSectorSize"),
        ],
    ),
    (
        "VddkInfo",
        &[
            ("bios_geometry", "biosGeo"),
            ("physical_geometry", "physGeo"),
            ("capacity", "capacity"),
            ("adapter_type", "adapterType"),
            ("links", "numLinks"),
            ("parent_hint", "parentFileNameHint"),
            ("uuid", "uuid"),
            ("logical_sector_bytes", "logicalSectorSize"),
            ("physical_sector_bytes", "physicalSectorSize"),
        ],
    ),
    ("VddkBlock", &[("offset", "offset"), ("length", "length")]),
    ("VddkBlockList", &[("count", "numBlocks"), ("blocks", "blocks")]),
    ("VddkOpenParams", &[("path", "path"), ("flags", "flags"), ("change_id", "changeId")]),
    ("VddkChangedAreaParams", &[("start", "startOffset")]),
    ("VddkChangeInfo", &[("start", "startOffset"), ("length", "length"), ("areas", "areas")]),
    ("MntDiskSetInfo", &[("open_flags", "openFlags"), ("mount_path", "mountPath")]),
    (
        "MntOsInfo",
        &[
            ("family", "family"),
            ("major", "majorVersion"),
            ("minor", "minorVersion"),
            ("is_64_bit", "osIs64Bit"),
            ("vendor", "vendor"),
            ("edition", "edition"),
            ("folder", "osFolder"),
        ],
    ),
    (
        "MntVolumeInfo",
        &[
            ("kind", "type"),
            ("is_mounted", "isMounted"),
            ("symbolic_link", "symbolicLink"),
            ("guest_mount_point_count", "numGuestMountPoints"),
            ("guest_mount_points", "inGuestMountPoints"),
        ],
    ),
    (
        "MntVolumeInfoEx",
        &[
            ("bytes_per_sector", "bytesPerSector"),
            ("capacity", "capacityInBytes"),
            ("used", "usedSpace"),
            ("cluster_bytes", "clusterSizeInBytes"),
            ("kind", "type"),
            ("is_mounted", "isMounted"),
            ("symbolic_link", "symbolicLink"),
            ("guest_mount_point_count", "numGuestMountPoints"),
            ("guest_mount_points", "inGuestMountPoints"),
        ],
    ),
];

/// Structures that were shorter in older kits, and the sizes that they had: 6.5, then 6.7 to 8.0; up to 6.7.
pub(super) const GROWN: &[(&str, &[u64])] =
    &[("VddkConnectParams", &[80, 128]), ("VddkCreateParams", &[24]), ("VddkInfo", &[56])];

/// Arms of unions that older kits lack.
pub(super) const LATER_ARMS: &[&str] = &["VddkDatastoreSpec"];

/// Structures that we hand to the library in memory of ours: it must not look for more in them than there is.
pub(super) const ALLOCATED_HERE: &[&str] = &["VddkCreateParams", "VddkOpenParams", "VddkChangedAreaParams"];

/// A constant: our name, and words in the kit's.
type Words = &'static [(&'static str, &'static str)];

/// Our enumerations, by the name of their type or by the field that holds one. The kit's members are looked for among those of
/// its own enumeration.
pub(super) const ENUMERATIONS: &[(&str, Words)] = &[
    (
        "VddkDiskType",
        &[
            ("VDDK_DISK_MONOLITHIC_SPARSE", "MONOLITHIC_SPARSE"),
            ("VDDK_DISK_MONOLITHIC_FLAT", "MONOLITHIC_FLAT"),
            ("VDDK_DISK_SPLIT_SPARSE", "SPLIT_SPARSE"),
            ("VDDK_DISK_SPLIT_FLAT", "SPLIT_FLAT"),
            ("VDDK_DISK_VMFS_FLAT", "VMFS_FLAT"),
            ("VDDK_DISK_STREAM_OPTIMIZED", "STREAM_OPTIMIZED"),
            ("VDDK_DISK_VMFS_THIN", "VMFS_THIN"),
            ("VDDK_DISK_VMFS_SPARSE", "VMFS_SPARSE"),
            ("VDDK_DISK_UNKNOWN", "UNKNOWN"),
        ],
    ),
    (
        "VddkAdapterType",
        &[
            ("VDDK_ADAPTER_IDE", "IDE"),
            ("VDDK_ADAPTER_SCSI_BUSLOGIC", "SCSI_BUSLOGIC"),
            ("VDDK_ADAPTER_SCSI_LSILOGIC", "SCSI_LSILOGIC"),
            ("VDDK_ADAPTER_UNKNOWN", "UNKNOWN"),
        ],
    ),
    (
        "VddkCredentialType",
        &[
            ("VDDK_CREDENTIALS_PASSWORD", "UID"),
            ("VDDK_CREDENTIALS_SESSION", "SESSIONID"),
            ("VDDK_CREDENTIALS_TICKET", "TICKETID"),
            ("VDDK_CREDENTIALS_SSPI", "SSPI"),
            ("VDDK_CREDENTIALS_UNKNOWN", "UNKNOWN"),
        ],
    ),
    (
        "VddkSpecType",
        &[
            ("VDDK_SPEC_VM", "VMX"),
            ("VDDK_SPEC_STORAGE_OBJECT", "VSTORAGE_OBJECT"),
            ("VDDK_SPEC_DATASTORE", "DATASTORE"),
            ("VDDK_SPEC_UNKNOWN", "UNKNOWN"),
        ],
    ),
    ("MntOsInfo.family", &[("OS_NONE", "NO_OS"), ("OS_WINDOWS", "WINDOWS"), ("OS_OTHER", "OTHER")]),
    ("MntVolumeInfo.kind", VOLUMES),
    ("MntVolumeInfoEx.kind", VOLUMES),
];

const VOLUMES: Words = &[
    ("VOLUME_UNKNOWN", "UNKNOWN"),
    ("VOLUME_BASIC", "BASIC_PARTITION"),
    ("VOLUME_GPT", "GPT_PARTITION"),
    ("VOLUME_DYNAMIC", "DYNAMIC_VOLUME"),
    ("VOLUME_LVM", "LVM_VOLUME"),
];

/// Constants that were another number once: 2 meant "unknown" to 6.7, before it became the datastore.
pub(super) const ONCE: &[(&str, i128)] = &[("VDDK_SPEC_UNKNOWN", 2)];

/// Members that older kits lack.
pub(super) const LATER_MEMBERS: &[&str] = &["VDDK_SPEC_DATASTORE"];

/// Constants that stand by themselves: our name, the kit's, without what all its constants begin with, and whether every kit has it.
pub(super) const CONSTANTS: &[(&str, &str, bool)] = &[
    ("VDDK_SECTOR_BYTES", "SECTOR_SIZE", true),
    ("VDDK_CHUNK_MIN", "MIN_CHUNK_SIZE", false),
    ("VDDK_CHUNK_MAX", "MAX_CHUNK_SIZE", false),
    ("VDDK_CHUNKS_PER_QUERY", "MAX_CHUNK_NUMBER", false),
    ("VDDK_OPEN_UNBUFFERED", "FLAG_OPEN_UNBUFFERED", true),
    ("VDDK_OPEN_SINGLE_LINK", "FLAG_OPEN_SINGLE_LINK", true),
    ("VDDK_OPEN_READ_ONLY", "FLAG_OPEN_READ_ONLY", true),
    ("VDDK_OPEN_COMPRESS_ZLIB", "FLAG_OPEN_COMPRESSION_ZLIB", true),
    ("VDDK_OPEN_COMPRESS_FASTLZ", "FLAG_OPEN_COMPRESSION_FASTLZ", true),
    ("VDDK_OPEN_COMPRESS_SKIPZ", "FLAG_OPEN_COMPRESSION_SKIPZ", true),
    ("VDDK_OPEN_COMPRESS_MASK", "FLAG_OPEN_COMPRESSION_MASK", true),
    ("HardwareVersion::WORKSTATION_4", "HWVERSION_WORKSTATION_4", true),
    ("HardwareVersion::WORKSTATION_5", "HWVERSION_WORKSTATION_5", true),
    ("HardwareVersion::WORKSTATION_6", "HWVERSION_WORKSTATION_6", true),
    ("HardwareVersion::ESX_4", "HWVERSION_ESX4X", true),
    ("HardwareVersion::ESX_5_0", "HWVERSION_ESX50", true),
    ("HardwareVersion::ESX_5_1", "HWVERSION_ESX51", true),
    ("HardwareVersion::ESX_5_5", "HWVERSION_ESX55", true),
    ("HardwareVersion::ESX_6_0", "HWVERSION_ESX60", false),
    ("HardwareVersion::ESX_6_5", "HWVERSION_ESX65", false),
];

/// What the kit's constants of [`CONSTANTS`] begin with.
pub(super) const PREFIX: &str = "VIXDISKLIB_";
