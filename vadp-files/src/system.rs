//! What every file system here can be asked.

use crate::error::Result;
use crate::file::File;

/// A file system of a volume, read-only. All methods may be called by several threads at once.
///
/// Nodes are named by what they are, not where: a walk does not look up paths. Paths are in [`Tree`](crate::Tree).
///
/// Errors of all methods: [`Damaged`](crate::ErrorKind::Damaged) when the volume contradicts its format,
/// [`Unsupported`](crate::ErrorKind::Unsupported) and [`Encrypted`](crate::ErrorKind::Encrypted) for what cannot be read right,
/// [`Io`](crate::ErrorKind::Io), and [`WrongType`](crate::ErrorKind::WrongType) where the node is not of the kind that the method is for.
pub trait FileSystem: Send + Sync {
    /// What kind it is, its label, its root.
    fn info(&self) -> &Info;

    /// Kind, size, times and owner of a node.
    ///
    /// # Errors
    /// See the trait.
    fn stat(&self, node: Node) -> Result<Stat>;

    /// The entries of a folder in the order of the volume, without `.` and `..`.
    ///
    /// # Errors
    /// See the trait; [`TooLarge`](crate::ErrorKind::TooLarge) beyond four million entries.
    fn list(&self, folder: Node) -> Result<Vec<Entry>>;

    /// Where a symbolic link leads, as it stands there.
    ///
    /// # Errors
    /// See the trait.
    fn read_link(&self, link: Node) -> Result<Vec<u8>>;

    /// Opens the content of a regular file. Where all of it lies is known then: a file that cannot be read right is refused here.
    ///
    /// # Errors
    /// See the trait.
    fn open(&self, file: Node) -> Result<File>;

    /// Extended attributes by their names in Linux (`user.…`, `security.…`, `system.posix_acl_access`), with the values that Linux would
    /// hand out; alternate data streams of NTFS are `user.NAME`, as in ntfs-3g.
    ///
    /// # Errors
    /// See the trait.
    fn xattrs(&self, node: Node) -> Result<Vec<Xattr>>;
}

/// What is known of a whole file system.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its format.
    pub kind: Kind,
    /// Its label, empty when it has none.
    pub label: String,
    /// The root folder.
    pub root: Node,
    /// Whether names that differ only in case are the same name to its guest.
    pub ignores_case: bool,
    /// Whether it knows owners, modes and symbolic links; if not, [`Stat`] has made-up ones.
    pub has_owners: bool,
    /// What its guest would see and this does not, as for changes that are still in a log that cannot be replayed.
    pub lacks: Option<String>,
}

/// What is on a volume.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// NTFS.
    Ntfs,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    ExFat,
    /// Space that Linux swaps to.
    Swap,
    /// Encrypted by LUKS.
    Luks,
    /// Encrypted by BitLocker.
    BitLocker,
    /// A physical volume of LVM2; its logical volumes are volumes of their own.
    LvmMember,
    /// A member of an array of Linux' software RAID.
    RaidMember,
    /// ReFS of Windows Server.
    Refs,
    /// APFS or HFS+ of macOS.
    Apple,
    /// ISO 9660 or UDF.
    Optical,
    /// ZFS.
    Zfs,
    /// Nothing but zeros where a format would say its name.
    Empty,
    /// None of these.
    Unknown,
}

impl Kind {
    /// Whether [`Volume::open`](crate::Volume::open) can read it.
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Ext | Self::Xfs | Self::Btrfs | Self::Ntfs | Self::Fat | Self::ExFat)
    }

    /// Whether its bytes are of no use without a key.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Luks | Self::BitLocker)
    }
}

/// A node of a file system: what other systems call an inode. Of use only with the [`FileSystem`] that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u64, pub(crate) u64);

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: bytes of the guest's choosing, UTF-8 for formats whose names are UTF-16.
    pub name: Vec<u8>,
    /// What it names.
    pub node: Node,
    /// What that is, if the folder says so.
    pub kind: Option<NodeKind>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
}

/// A point in time: seconds since 1970 in UTC, negative before, and nanoseconds onwards from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// Of what a disk says; nanoseconds that are none count as zero.
    pub(crate) fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds: if nanoseconds < 1_000_000_000 { nanoseconds } else { 0 } }
    }
}

/// What is known of a node.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of the content; of no meaning but for files and links.
    pub size: u64,
    /// Permission bits, with set-user-id, set-group-id and sticky: at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group of the owner.
    pub gid: u32,
    /// Number of names that it has.
    pub links: u32,
    /// When its content was changed last. FAT says local time; it is taken for UTC.
    pub modified: Time,
    /// When it was read last.
    pub accessed: Time,
    /// When anything of it was changed last; the same as `modified` where a format doesn't know.
    pub changed: Time,
    /// When it was made.
    pub created: Option<Time>,
    /// Attributes of Windows (`FILE_ATTRIBUTE_…`), for formats that have them.
    pub attributes: Option<u32>,
}

impl Stat {
    /// Of the upper bits of what Linux calls the mode.
    pub(crate) fn kind_of_mode(mode: u32) -> NodeKind {
        match mode & 0o170_000 {
            0o100_000 => NodeKind::File,
            0o040_000 => NodeKind::Folder,
            0o120_000 => NodeKind::Link,
            _ => NodeKind::Special,
        }
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Name, with its namespace.
    pub name: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
}

/// The most entries of a folder.
pub(crate) const MOST_ENTRIES: usize = 4 << 20;

/// The most bytes of a symbolic link, as in Linux.
pub(crate) const LONGEST_LINK: u64 = 4096;

/// The most bytes of the extended attributes of one node, or of the structure that holds them.
pub(crate) const MOST_XATTR_BYTES: usize = 16 << 20;
