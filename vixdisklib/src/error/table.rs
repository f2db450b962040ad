//! Every result code that VixDiskLib documents, with what it means and, where that is known, what to do.
//!
//! Codes and names are those of the 6.5 to 9.0 libraries; the meanings are ours (section 4.3 of the fact sheet). Codes of guest
//! operations, screen capture, installers and service providers, which disk calls never return, share a name for each group.

use super::ErrorKind::{
    self, Access, AccessDisabled, AlreadyExists, Authentication, Busy, Cancelled, ConnectionLost, Corrupt,
    Encrypted, Exhausted, Failed, InvalidArgument, Licence, Locked, Misuse, Mount, Network, NotADisk,
    NotFound, OutOfRange, Permission, ReadOnly, Snapshot, Storage, Unsupported,
};

/// One documented result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodeInfo {
    /// The code: the low 16 bits of a result.
    pub code: u16,
    /// The library's name for it, without the `VIX_E_` prefix; that of its group in lower case where disk calls never return it.
    pub name: &'static str,
    /// The kind of error that it makes.
    pub kind: ErrorKind,
    /// What it means, in one phrase.
    pub meaning: &'static str,
}

/// The documented result codes, ascending.
pub const CODES: &[CodeInfo] = &[
    row(0, "VIX_OK", Failed, "success (only when the whole u64 is 0)"),
    row(1, "FAIL", Failed, "the library or the server failed without saying more"),
    row(2, "OUT_OF_MEMORY", Exhausted, "out of memory, here or in the host's NFC service"),
    row(3, "INVALID_ARG", InvalidArgument, "an argument is not acceptable"),
    row(4, "FILE_NOT_FOUND", NotFound, "no such file, virtual machine or disk"),
    row(5, "OBJECT_IS_BUSY", Busy, "object busy"),
    row(6, "NOT_SUPPORTED", Unsupported, "operation not supported"),
    row(7, "FILE_ERROR", Storage, "file I/O error"),
    row(8, "DISK_FULL", Storage, "disk full"),
    row(9, "INCORRECT_FILE_TYPE", NotADisk, "the file is not a virtual disk of the wanted type"),
    row(10, "CANCELLED", Cancelled, "cancelled"),
    row(11, "FILE_READ_ONLY", ReadOnly, "file is read-only"),
    row(12, "FILE_ALREADY_EXISTS", AlreadyExists, "the file exists already"),
    row(13, "FILE_ACCESS_ERROR", Access, "the file or its transport could not be reached"),
    row(14, "REQUIRES_LARGE_FILES", Unsupported, "filesystem lacks large-file support"),
    row(15, "FILE_ALREADY_LOCKED", Locked, "file locked by another process/host"),
    row(16, "VMDB", Failed, "VMDB error"),
    row(20, "NOT_SUPPORTED_ON_REMOTE_OBJECT", Unsupported, "not possible on a remote object"),
    row(21, "FILE_TOO_BIG", Storage, "file too large for the target filesystem"),
    row(22, "FILE_NAME_INVALID", InvalidArgument, "invalid file name"),
    row(23, "ALREADY_EXISTS", AlreadyExists, "already exists"),
    row(24, "BUFFER_TOOSMALL", Failed, "the buffer is too small"),
    row(25, "OBJECT_NOT_FOUND", NotFound, "the server has no such object"),
    row(26, "HOST_NOT_CONNECTED", Network, "host not connected"),
    row(27, "INVALID_UTF8_STRING", InvalidArgument, "a string is not valid UTF-8"),
    row(29, "UNFINISHED_JOB", Busy, "unfinished job"),
    row(30, "NEED_KEY", Encrypted, "an encryption key is needed"),
    row(31, "OPERATION_ALREADY_IN_PROGRESS", Busy, "operation already running"),
    row(32, "LICENSE", Licence, "the host's licence lacks the storage interface"),
    row(34, "VM_HOST_DISCONNECTED", Network, "VM's host is disconnected"),
    row(35, "AUTHENTICATION_FAIL", Authentication, "the server refused the login"),
    row(36, "HOST_CONNECTION_LOST", ConnectionLost, "connection to host lost"),
    row(41, "DUPLICATE_NAME", InvalidArgument, "duplicate name"),
    row(44, "ARGUMENT_TOO_BIG", InvalidArgument, "an argument is too large"),
    row(1000, "INVALID_HANDLE", InvalidArgument, "invalid handle"),
    row(1001, "NOT_SUPPORTED_ON_HANDLE_TYPE", InvalidArgument, "operation not valid for the handle type"),
    row(1002, "TOO_MANY_HANDLES", Exhausted, "too many open handles"),
    row(2000, "NOT_FOUND", NotFound, "not found (property/list)"),
    row(2001, "TYPE_MISMATCH", InvalidArgument, "type mismatch"),
    row(2002, "INVALID_XML", InvalidArgument, "invalid XML"),
    guest(3000),
    guest(3001),
    guest(3003),
    guest(3004),
    guest(3005),
    guest(3006),
    guest(3007),
    guest(3008),
    guest(3009),
    guest(3010),
    guest(3011),
    guest(3012),
    guest(3013),
    row(3014, "HOST_USER_PERMISSIONS", Permission, "host user lacks privileges"),
    row(3015, "GUEST_USER_PERMISSIONS", Permission, "guest user lacks privileges"),
    guest(3016),
    guest(3017),
    guest(3018),
    guest(3019),
    guest(3023),
    guest(3024),
    guest(3025),
    guest(3026),
    guest(3027),
    guest(3028),
    guest(3029),
    guest(3030),
    guest(3031),
    guest(3032),
    guest(3033),
    guest(3034),
    guest(3035),
    guest(3039),
    guest(3041),
    guest(3043),
    guest(3044),
    guest(3045),
    guest(3046),
    guest(3047),
    row(4000, "VM_NOT_FOUND", NotFound, "VM not found"),
    row(4001, "NOT_SUPPORTED_FOR_VM_VERSION", Unsupported, "VM version does not support operation"),
    row(4002, "CANNOT_READ_VM_CONFIG", Failed, "VM config unreadable"),
    row(4003, "TEMPLATE_VM", Unsupported, "VM is a template"),
    row(4004, "VM_ALREADY_LOADED", Failed, "VM already loaded"),
    row(4006, "VM_ALREADY_UP_TO_DATE", Failed, "VM already up to date"),
    row(4011, "VM_UNSUPPORTED_GUEST", Unsupported, "guest unsupported"),
    row(6000, "UNRECOGNIZED_PROPERTY", InvalidArgument, "unknown property"),
    row(6001, "INVALID_PROPERTY_VALUE", InvalidArgument, "bad property value"),
    row(6002, "READ_ONLY_PROPERTY", ReadOnly, "property is read-only"),
    row(6003, "MISSING_REQUIRED_PROPERTY", InvalidArgument, "required property missing"),
    row(6004, "INVALID_SERIALIZED_DATA", InvalidArgument, "serialized data invalid"),
    row(6005, "PROPERTY_TYPE_MISMATCH", InvalidArgument, "property type mismatch"),
    row(8000, "BAD_VM_INDEX", InvalidArgument, "bad VM index"),
    row(10000, "INVALID_MESSAGE_HEADER", InvalidArgument, "invalid message header"),
    row(10001, "INVALID_MESSAGE_BODY", InvalidArgument, "invalid message body"),
    row(13000, "SNAPSHOT_INVAL", Snapshot, "snapshot: invalid parameter"),
    row(13001, "SNAPSHOT_DUMPER", Snapshot, "snapshot: dumper (state file) error"),
    row(13002, "SNAPSHOT_DISKLIB", Snapshot, "snapshot: disk library error"),
    row(13003, "SNAPSHOT_NOTFOUND", NotFound, "snapshot not found"),
    row(13004, "SNAPSHOT_EXISTS", AlreadyExists, "snapshot exists"),
    row(13005, "SNAPSHOT_VERSION", Unsupported, "snapshot version mismatch"),
    row(13006, "SNAPSHOT_NOPERM", Permission, "snapshot: no permission"),
    row(13007, "SNAPSHOT_CONFIG", Snapshot, "snapshot config error"),
    row(13008, "SNAPSHOT_NOCHANGE", Snapshot, "snapshot: nothing changed"),
    row(13009, "SNAPSHOT_CHECKPOINT", Snapshot, "snapshot checkpoint error"),
    row(13010, "SNAPSHOT_LOCKED", Locked, "snapshot locked"),
    row(13011, "SNAPSHOT_INCONSISTENT", Corrupt, "snapshot inconsistent"),
    row(13012, "SNAPSHOT_NAMETOOLONG", Snapshot, "snapshot name too long"),
    row(13013, "SNAPSHOT_VIXFILE", Snapshot, "snapshot: VIX file error"),
    row(13014, "SNAPSHOT_DISKLOCKED", Locked, "snapshot: disk locked"),
    row(13015, "SNAPSHOT_DUPLICATEDDISK", Snapshot, "snapshot: disk appears twice"),
    row(13016, "SNAPSHOT_INDEPENDENTDISK", Snapshot, "snapshot: independent disk"),
    row(13017, "SNAPSHOT_NONUNIQUE_NAME", Snapshot, "snapshot name ambiguous"),
    row(13018, "SNAPSHOT_MEMORY_ON_INDEPENDENT_DISK", Snapshot, "snapshot with memory on independent disk"),
    row(13019, "SNAPSHOT_MAXSNAPSHOTS", Snapshot, "snapshot: maximum number reached"),
    row(13020, "SNAPSHOT_MIN_FREE_SPACE", Storage, "snapshot: too little free space"),
    row(13021, "SNAPSHOT_HIERARCHY_TOODEEP", Snapshot, "snapshot tree too deep"),
    row(13022, "SNAPSHOT_RRSUSPEND", Snapshot, "snapshot: record/replay suspend error"),
    row(13024, "SNAPSHOT_NOT_REVERTABLE", Snapshot, "snapshot cannot be reverted"),
    row(14003, "HOST_DISK_INVALID_VALUE", Storage, "device is not a usable physical disk"),
    row(14004, "HOST_DISK_SECTORSIZE", Storage, "host disk: sector size problem"),
    row(14005, "HOST_FILE_ERROR_EOF", OutOfRange, "end of file: access past end of disk/extent"),
    row(14006, "HOST_NETBLKDEV_HANDSHAKE", Network, "NBD/NFC handshake failed"),
    row(14007, "HOST_SOCKET_CREATION_ERROR", Network, "cannot create socket"),
    row(14008, "HOST_SERVER_NOT_FOUND", Network, "server not found (DNS / wrong name)"),
    row(14009, "HOST_NETWORK_CONN_REFUSED", Network, "connection refused (port 902 or 443 blocked)"),
    row(14010, "HOST_TCP_SOCKET_ERROR", Network, "TCP socket error"),
    row(14011, "HOST_TCP_CONN_LOST", ConnectionLost, "TCP connection lost"),
    row(14012, "HOST_NBD_HASHFILE_VOLUME", Failed, "problem with the hash file volume"),
    row(14013, "HOST_NBD_HASHFILE_INIT", Failed, "problem with the hash file set-up"),
    row(14014, "HOST_SERVER_SHUTDOWN", Network, "the server is shutting down or in maintenance"),
    row(14015, "HOST_SERVER_NOT_AVAILABLE", Network, "the server is not available"),
    row(16000, "DISK_INVAL", InvalidArgument, "disk: invalid parameter"),
    row(16001, "DISK_NOINIT", Misuse, "disk library not initialised"),
    row(16002, "DISK_NOIO", Misuse, "I/O not possible: disk opened without I/O"),
    row(16003, "DISK_PARTIALCHAIN", Misuse, "the call needs the whole chain, and one link alone is open"),
    row(16006, "DISK_NEEDSREPAIR", Corrupt, "disk needs repair"),
    row(16007, "DISK_OUTOFRANGE", OutOfRange, "the sectors lie outside the disk"),
    row(16008, "DISK_CID_MISMATCH", Corrupt, "content-ID mismatch: parent changed since child was created"),
    row(16009, "DISK_CANTSHRINK", Unsupported, "cannot shrink (not the base disk)"),
    row(16010, "DISK_PARTMISMATCH", Corrupt, "partition table of the backing physical disk changed"),
    row(16011, "DISK_UNSUPPORTEDDISKVERSION", Unsupported, "disk format version newer than library"),
    row(16012, "DISK_OPENPARENT", Corrupt, "parent could not be opened"),
    row(16013, "DISK_NOTSUPPORTED", Unsupported, "feature not supported by this disk type"),
    row(16014, "DISK_NEEDKEY", Encrypted, "decryption key needed"),
    row(16015, "DISK_NOKEYOVERRIDE", Encrypted, "refuses an unencrypted child of an encrypted disk"),
    row(16016, "DISK_NOTENCRYPTED", Encrypted, "disk is not encrypted"),
    row(16017, "DISK_NOKEY", Encrypted, "no key available"),
    row(16018, "DISK_INVALIDPARTITIONTABLE", Corrupt, "bad partition table"),
    row(16019, "DISK_NOTNORMAL", Unsupported, "only sparse disks with embedded descriptor can be encrypted"),
    row(16020, "DISK_NOTENCDESC", Encrypted, "descriptor not encrypted"),
    row(16022, "DISK_NEEDVMFS", Unsupported, "needs VMFS"),
    row(16024, "DISK_RAWTOOBIG", Storage, "physical disk too big"),
    row(16027, "DISK_TOOMANYOPENFILES", Exhausted, "too many open files"),
    row(16028, "DISK_TOOMANYREDO", Corrupt, "too many redo logs in chain"),
    row(16029, "DISK_RAWTOOSMALL", Storage, "physical disk too small"),
    row(16030, "DISK_INVALIDCHAIN", Corrupt, "invalid chain (hosted and managed links mixed)"),
    row(16052, "DISK_KEY_NOTFOUND", NotFound, "metadata key not found"),
    row(16053, "DISK_SUBSYSTEM_INIT_FAIL", Failed, "a part of the disk library did not start"),
    row(16054, "DISK_INVALID_CONNECTION", Misuse, "connection handle invalid"),
    row(16061, "DISK_ENCODING", InvalidArgument, "disk encoding (character set) mismatch"),
    row(16062, "DISK_CANTREPAIR", Corrupt, "corrupt beyond repair"),
    row(16063, "DISK_INVALIDDISK", NotADisk, "file is not a virtual disk"),
    row(16064, "DISK_NOLICENSE", Licence, "the host's edition has no licence for this operation"),
    row(16065, "DISK_NODEVICE", NotFound, "device absent"),
    row(16066, "DISK_UNSUPPORTEDDEVICE", Unsupported, "device not supported"),
    row(16067, "DISK_CAPACITY_MISMATCH", Corrupt, "parent/child capacity mismatch"),
    row(16068, "DISK_PARENT_NOTALLOWED", Unsupported, "disk type cannot be a parent"),
    row(16069, "DISK_ATTACH_ROOTLINK", Unsupported, "Attach: both chains are root links"),
    row(17000, "CRYPTO_UNKNOWN_ALGORITHM", Encrypted, "crypto: unknown algorithm"),
    row(17001, "CRYPTO_BAD_BUFFER_SIZE", Encrypted, "crypto: bad buffer size"),
    row(17002, "CRYPTO_INVALID_OPERATION", Encrypted, "crypto: invalid operation"),
    row(17003, "CRYPTO_RANDOM_DEVICE", Encrypted, "crypto: random source failed"),
    row(17004, "CRYPTO_NEED_PASSWORD", Encrypted, "crypto: password needed"),
    row(17005, "CRYPTO_BAD_PASSWORD", Encrypted, "crypto: wrong password"),
    row(17006, "CRYPTO_NOT_IN_DICTIONARY", Encrypted, "crypto: not in dictionary"),
    row(17007, "CRYPTO_NO_CRYPTO", Encrypted, "crypto: no crypto available"),
    row(17008, "CRYPTO_ERROR", Encrypted, "crypto: error"),
    row(17009, "CRYPTO_BAD_FORMAT", Encrypted, "crypto: bad format"),
    row(17010, "CRYPTO_LOCKED", Encrypted, "crypto: locked"),
    row(17011, "CRYPTO_EMPTY", Encrypted, "crypto: empty"),
    row(17012, "CRYPTO_KEYSAFE_LOCATOR", Encrypted, "crypto: key-safe locator error"),
    row(18000, "CANNOT_CONNECT_TO_HOST", Network, "cannot connect to host (login step)"),
    row(18001, "NOT_FOR_REMOTE_HOST", Unsupported, "not for remote host"),
    row(18002, "INVALID_HOSTNAME_SPECIFICATION", InvalidArgument, "host name specification invalid"),
    screen(19000),
    screen(19001),
    screen(19002),
    screen(19003),
    row(20000, "GUEST_VOLUMES_NOT_FROZEN", Failed, "guest volumes not frozen (quiesce)"),
    row(20001, "NOT_A_FILE", InvalidArgument, "not a file"),
    row(20002, "NOT_A_DIRECTORY", InvalidArgument, "not a directory"),
    row(20003, "NO_SUCH_PROCESS", NotFound, "no such process"),
    row(20004, "FILE_NAME_TOO_LONG", InvalidArgument, "file name too long"),
    row(
        20005,
        "OPERATION_DISABLED",
        AccessDisabled,
        "the operation is disabled; access was prepared before and not ended",
    ),
    tools(21000),
    tools(21001),
    tools(21002),
    tools(21003),
    tools(21004),
    tools(21005),
    tools(21006),
    tools(21007),
    tools(21008),
    tools(21009),
    tools(21010),
    tools(21011),
    tools(21012),
    provider(22001),
    provider(22002),
    provider(22003),
    provider(22004),
    provider(22005),
    provider(22006),
    row(24000, "MNTAPI_MOUNTPT_NOT_FOUND", NotFound, "mount: mount point not found"),
    row(24001, "MNTAPI_MOUNTPT_IN_USE", Busy, "mount: mount point in use"),
    row(24002, "MNTAPI_DISK_NOT_FOUND", NotFound, "mount: disk not found"),
    row(24003, "MNTAPI_DISK_NOT_MOUNTED", Mount, "mount: disk not mounted"),
    row(24004, "MNTAPI_DISK_IS_MOUNTED", Busy, "mount: disk already mounted"),
    row(
        24005,
        "MNTAPI_DISK_NOT_SAFE",
        Mount,
        "mount: unsafe, the machine runs or the disk is inside a snapshot chain",
    ),
    row(24006, "MNTAPI_DISK_CANT_OPEN", Mount, "mount: cannot open disk"),
    row(24007, "MNTAPI_CANT_READ_PARTS", Mount, "mount: cannot read partition table"),
    row(24008, "MNTAPI_UMOUNT_APP_NOT_FOUND", Mount, "mount: unmount helper program missing"),
    row(24009, "MNTAPI_UMOUNT", Mount, "mount: unmount failed"),
    row(24010, "MNTAPI_NO_MOUNTABLE_PARTITONS", Mount, "mount: no mountable partition"),
    row(24011, "MNTAPI_PARTITION_RANGE", InvalidArgument, "mount: partition number out of range"),
    row(24012, "MNTAPI_PERM", Permission, "mount: permission"),
    row(24013, "MNTAPI_DICT", Mount, "mount: metadata (dictionary) error"),
    row(24014, "MNTAPI_DICT_LOCKED", Busy, "mount: dictionary locked by another process"),
    row(24015, "MNTAPI_OPEN_HANDLES", Busy, "mount: another process operates on the mounted disk"),
    row(24016, "MNTAPI_CANT_MAKE_VAR_DIR", Mount, "mount: cannot create /var/run/vmware/fuse"),
    row(24017, "MNTAPI_NO_ROOT", Permission, "mount: needs root"),
    row(24018, "MNTAPI_LOOP_FAILED", Mount, "mount: loop device setup failed"),
    row(24019, "MNTAPI_DAEMON", Mount, "mount: VMware FUSE daemon did not start"),
    row(24020, "MNTAPI_INTERNAL", Mount, "mount: internal"),
    row(24021, "MNTAPI_SYSTEM", Mount, "mount: system call failed"),
    row(24022, "MNTAPI_NO_CONNECTION_DETAILS", Mount, "mount: cannot get connection details from VixDiskLib"),
    row(24300, "MNTAPI_INCOMPATIBLE_VERSION", Unsupported, "mount: library version incompatible"),
    row(24301, "MNTAPI_OS_ERROR", Mount, "mount: operating system error"),
    row(24302, "MNTAPI_DRIVE_LETTER_IN_USE", Mount, "mount: drive letter in use (Windows)"),
    row(
        24303,
        "MNTAPI_DRIVE_LETTER_ALREADY_ASSIGNED",
        Mount,
        "mount: drive letter already assigned (Windows)",
    ),
    row(24304, "MNTAPI_VOLUME_NOT_MOUNTED", Mount, "mount: volume not mounted"),
    row(24305, "MNTAPI_VOLUME_ALREADY_MOUNTED", AlreadyExists, "mount: the volume is mounted already"),
    row(24306, "MNTAPI_FORMAT_FAILURE", Mount, "mount: format failed"),
    row(24307, "MNTAPI_NO_DRIVER", Exhausted, "mount: driver missing"),
    row(24308, "MNTAPI_ALREADY_OPENED", Busy, "mount: a handle to this disk set/volume is already open"),
    row(24309, "MNTAPI_ITEM_NOT_FOUND", NotFound, "mount: required section of a file missing"),
    row(24310, "MNTAPI_UNSUPPROTED_BOOT_LOADER", Unsupported, "mount: boot loader not supported"),
    row(24311, "MNTAPI_UNSUPPROTED_OS", Unsupported, "mount: the operating system is not recognised"),
    row(24312, "MNTAPI_CODECONVERSION", Mount, "mount: code-page conversion"),
    row(24313, "MNTAPI_REGWRITE_ERROR", Mount, "mount: registry write"),
    row(24314, "MNTAPI_UNSUPPORTED_FT_VOLUME", Unsupported, "mount: NT4 fault-tolerant volume unsupported"),
    row(24315, "MNTAPI_PARTITION_NOT_FOUND", NotFound, "mount: partition not found"),
    row(24316, "MNTAPI_PUTFILE_ERROR", Mount, "mount: put file failed"),
    row(24317, "MNTAPI_GETFILE_ERROR", Mount, "mount: get file failed"),
    row(24318, "MNTAPI_REG_NOT_OPENED", Mount, "mount: registry hive not opened"),
    row(24319, "MNTAPI_REGDELKEY_ERROR", Mount, "mount: registry key deletion failed"),
    row(24320, "MNTAPI_CREATE_PARTITIONTABLE_ERROR", Mount, "mount: partition table creation failed"),
    row(24321, "MNTAPI_OPEN_FAILURE", Mount, "mount: open failed"),
    row(24322, "MNTAPI_VOLUME_NOT_WRITABLE", ReadOnly, "mount: volume not writable"),
    row(25000, "VIX_ASYNC", Failed, "queued; not an error"),
    row(26000, "ASYNC_MIXEDMODE_UNSUPPORTED", Misuse, "sync and async I/O mixed on one handle"),
    row(30001, "NET_HTTP_UNSUPPORTED_PROTOCOL", Unsupported, "http: unsupported protocol"),
    row(30003, "NET_HTTP_URL_MALFORMAT", InvalidArgument, "http: malformed URL"),
    row(30005, "NET_HTTP_COULDNT_RESOLVE_PROXY", Network, "http: cannot resolve proxy"),
    row(30006, "NET_HTTP_COULDNT_RESOLVE_HOST", Network, "http: cannot resolve host"),
    row(30007, "NET_HTTP_COULDNT_CONNECT", Network, "http: cannot connect"),
    row(30022, "NET_HTTP_HTTP_RETURNED_ERROR", Network, "http: server returned an error status"),
    row(30028, "NET_HTTP_OPERATION_TIMEDOUT", Network, "http: timeout"),
    row(30035, "NET_HTTP_SSL_CONNECT_ERROR", Network, "http: TLS handshake failed"),
    row(30047, "NET_HTTP_TOO_MANY_REDIRECTS", Network, "http: too many redirects"),
    row(30200, "NET_HTTP_TRANSFER", Network, "http: transfer error"),
    row(30201, "NET_HTTP_SSL_SECURITY", Network, "http: TLS security (certificate) error"),
    row(30202, "NET_HTTP_GENERIC", Network, "http: generic"),
];

/// What is known of `code`.
#[must_use]
pub fn lookup(code: u16) -> Option<&'static CodeInfo> {
    CODES.binary_search_by_key(&code, |row| row.code).ok().and_then(|index| CODES.get(index))
}

/// Probable causes of `code` while doing `operation`, and what to check. Field knowledge, sections 4.2 and 7 of the fact sheet.
pub(super) fn advice(code: u16, operation: &str) -> Option<&'static str> {
    let makes_disk = operation.starts_with("create") || operation.starts_with("clone");
    Some(match code {
        1 => {
            "check the thumbprint (SHA-1 of the certificate of the server you connect to, of the vCenter if that is it); with VDDK \
             6.7 or older, upgrade; otherwise the server's reason is in the log lines"
        }
        2 => {
            "the host's NFC service has no memory left: use smaller requests (2 MiB through a vCenter), open fewer disks at once on \
             this host, or raise the host's limit"
        }
        3 => {
            "if this was a query of allocated blocks: start and length must be multiples of a chunk of 128 sectors or more"
        }
        4 => {
            "check the path; with a snapshot it is the one in the snapshot's configuration, not that of the machine's present disk"
        }
        6 | 20 if makes_disk => "remote disks are created through the vSphere API, not through VDDK",
        20 => "disks on a server are changed through the vSphere API, not through VDDK",
        11 => {
            "open the disk, and the connection, for writing; a stream and a snapshot of ESXi can only be read"
        }
        12 => "remove the file, or let the clone overwrite it",
        13 => {
            "before VDDK 8.0.2 this hides any network failure (check DNS, and port 902 to the ESXi host); with HotAdd it means that \
             the proxy has no free SCSI slot (15 on each of 4 controllers), or no controller that takes the disk"
        }
        15 => {
            "another program, another open of this one, or a running machine holds the disk: open a snapshot's disk \
             read-only, or power the machine off; after a crash of a HotAdd job, clean up first"
        }
        25 => "check the managed object ids of machine and snapshot, and that this account sees them",
        27 | 16061 => "names must be valid in the disk's encoding; try one without special characters",
        30 | 16014 | 16017 => {
            "an encrypted machine wants a proxy that is encrypted too, and an account with crypto privileges"
        }
        32 | 16064 => {
            "free ESXi has no storage interface; a missing privilege Global.DisableMethods (or Global.EnableMethods) is reported like \
             this as well"
        }
        35 => "check user and password, or whether the session behind the cookie still lives",
        3014 => {
            "the account needs VirtualMachine.Config.DiskLease and VirtualMachine.Provisioning.DiskRandomRead, DiskRandomAccess and \
             GetVmFiles"
        }
        14008 | 18002 => "check the host name and DNS on this machine",
        14006 | 14009 | 14010 | 18000 => {
            "check that ports 443 (server) and 902 (ESXi host) are reachable from this machine, and that it resolves the host's name"
        }
        36 | 14011 => "connect and open again; look at the network and the host's state if it repeats",
        14014 | 14015 => "the host goes down or into maintenance: retry later, or through another host",
        14005 | 16007 => "ask the disk for its capacity, and stay below it",
        16003 => "open the disk with its parents, not as a single link",
        16008 => {
            "the parent was written to after its child was made: restore it as it was, or go back to a full copy"
        }
        16009 => "only a disk without a parent can be shrunk",
        16012 => "put the parent where the child's descriptor says, or beside the child",
        16053 => {
            "give the kit's top folder, not its lib64, and start the program with LD_LIBRARY_PATH=<kit>/lib64"
        }
        16069 => "the child must be a delta that was opened as a single link",
        20005 => {
            "a job that crashed left the machine's methods disabled: end the access of its identity once, then prepare again"
        }
        24000 | 24003 | 24304 => "it is dismounted already: mount it before this call",
        24001 | 24009 | 24015 => {
            "a program has a file or its working folder on the mounted volume: close it, or dismount by force"
        }
        24002 => "check the disk's path; with a snapshot, it is the one in the snapshot's configuration",
        24004 => "dismount the volumes first",
        24005 => "take a snapshot of the machine, connect to that, and mount its disk read-only",
        24006 => {
            "the log lines have VixDiskLib's own code for the disk; encrypted and compressed disks cannot be mounted"
        }
        24007 => {
            "the disk has no readable MBR or GPT: whole-disk file systems, LVM on the bare disk and dynamic disks are not mounted"
        }
        24008 => "install umount (package util-linux or mount) in /bin or /usr/bin",
        24010 => {
            "LVM, swap, extended containers and dynamic disks are never mounted; check what the partitions hold"
        }
        24012 | 24017 => "run the program as root",
        24013 | 24014 => {
            "only one program may mount on a machine at a time: end the other one; a dead one's lock is in the temporary folder"
        }
        24016 => "make /var/run/vmware/fuse, or the folder above it writable",
        24018 => {
            "load the module loop, raise its max_loop, and give containers /dev/loop-control and /dev/loop*"
        }
        24019 => {
            "load the module fuse, give containers /dev/fuse, and check that the kit's folder is complete"
        }
        24020 | 24021 | 24301 => {
            "the kernel of this machine must know the volume's file system; see the log lines, and the kernel's log"
        }
        24022 => {
            "VixMntapi must come from the same kit as the running VixDiskLib, and the connection must be open"
        }
        24300 => "use the libvixMntapi of the same kit as VixDiskLib",
        24305 => {
            "it is mounted: asking for the operating system mounts volumes; dismount it first to choose how it is mounted"
        }
        24308 => "close the disk set that is open on this disk, or free its volumes, first",
        24311 => "only Windows guests are recognised; the volumes can be mounted all the same",
        24322 => "mount it read-only, or open the disk set for writing and on the machine's present disk",
        26000 => "open one handle for synchronous and another for asynchronous requests",
        _ => return None,
    })
}

const fn guest(code: u16) -> CodeInfo {
    row(
        code,
        "guest operation",
        Failed,
        "a guest operation or a power state, which disk calls know nothing of",
    )
}

const fn screen(code: u16) -> CodeInfo {
    row(code, "screen capture", Failed, "screen capture, which disk calls know nothing of")
}

const fn tools(code: u16) -> CodeInfo {
    row(code, "tools installer", Failed, "the installer of VMware Tools, which disk calls know nothing of")
}

const fn provider(code: u16) -> CodeInfo {
    row(code, "service provider", Failed, "looking up a service provider, which disk calls know nothing of")
}

const fn row(code: u16, name: &'static str, kind: ErrorKind, meaning: &'static str) -> CodeInfo {
    CodeInfo { code, name, kind, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_so_that_lookup_finds_each() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        for row in CODES {
            assert_eq!(lookup(row.code), Some(row));
        }
        assert_eq!(lookup(17), None);
    }

    /// The counts of section 4.3: 274 values in all, by thousands.
    #[test]
    fn the_table_has_every_code_of_the_sheet_once() {
        let mut counts = std::collections::BTreeMap::new();
        for row in CODES {
            *counts.entry(row.code / 1000).or_insert(0) += 1;
        }
        let expected = [
            (0, 34),
            (1, 3),
            (2, 3),
            (3, 39),
            (4, 7),
            (6, 6),
            (8, 1),
            (10, 2),
            (13, 24),
            (14, 13),
            (16, 37),
            (17, 13),
            (18, 3),
            (19, 4),
            (20, 6),
            (21, 13),
            (22, 6),
            (24, 46),
            (25, 1),
            (26, 1),
            (30, 12),
        ];
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(CODES.len(), 274);
        let mut names: Vec<&str> =
            CODES.iter().map(|row| row.name).filter(|name| !name.contains(' ')).collect();
        names.sort_unstable();
        names.dedup();
        // All but the four groups have a name of their own.
        assert_eq!(names.len(), 274 - 60);
    }

    #[test]
    fn what_reads_like_something_else_is_explained() {
        for (code, operation, word) in [
            (1, "open the disk", "thumbprint"),
            (2, "read from", "NFC"),
            (13, "open the disk", "SCSI slot"),
            (13, "open the disk", "port 902"),
            (14009, "open the disk", "902"),
            (14008, "connect to", "DNS"),
            (32, "connect to", "Global.DisableMethods"),
            (16064, "connect to", "Global.DisableMethods"),
            (20005, "prepare the access to", "end the access"),
            (6, "create the disk", "vSphere API"),
        ] {
            let advice = advice(code, operation).unwrap();
            assert!(advice.contains(word), "{code}: {advice}");
        }
        assert_eq!(advice(6, "shrink"), None);
        assert_eq!(advice(0, ""), None);
    }
}
