//! Result codes.

/// A result word other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u64);

/// A result of this library's inner functions.
pub(crate) type Answer<T> = Result<T, Code>;

impl Code {
    pub(crate) const FAIL: Code = Code(1);
    pub(crate) const OUT_OF_MEMORY: Code = Code(2);
    pub(crate) const INVALID_ARG: Code = Code(3);
    pub(crate) const NOT_SUPPORTED: Code = Code(6);
    pub(crate) const IN_PROGRESS: Code = Code(31);
    pub(crate) const INVALID_HANDLE: Code = Code(1000);
    pub(crate) const NOT_INITIALISED: Code = Code(16001);
    pub(crate) const DISK_NOT_FOUND: Code = Code(24002);
    pub(crate) const DISK_IS_MOUNTED: Code = Code(24004);
    pub(crate) const DISK_NOT_SAFE: Code = Code(24005);
    pub(crate) const DISK_CANT_OPEN: Code = Code(24006);
    pub(crate) const CANT_READ_PARTS: Code = Code(24007);
    pub(crate) const UMOUNT: Code = Code(24009);
    pub(crate) const NO_MOUNTABLE_PARTITIONS: Code = Code(24010);
    pub(crate) const DICT_LOCKED: Code = Code(24014);
    pub(crate) const INTERNAL: Code = Code(24020);
    pub(crate) const SYSTEM: Code = Code(24021);
    pub(crate) const NO_CONNECTION_DETAILS: Code = Code(24022);
    pub(crate) const INCOMPATIBLE_VERSION: Code = Code(24300);
    pub(crate) const VOLUME_NOT_MOUNTED: Code = Code(24304);
    pub(crate) const VOLUME_ALREADY_MOUNTED: Code = Code(24305);
    pub(crate) const ALREADY_OPENED: Code = Code(24308);
    pub(crate) const UNSUPPORTED_OS: Code = Code(24311);
    pub(crate) const VOLUME_NOT_WRITABLE: Code = Code(24322);
}
