//! The releases of the library that this one can be, and what sets them apart.

use std::path::Path;
use std::sync::OnceLock;

use vixdisklib::ffi::{Since, Symbol};

use crate::code::Code;
use crate::ffi::origin;

/// A release of VDDK, as a kit has it: [`install_version`](crate::install_version) makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 6.5.4: no allocator of connection parameters, no query of allocated blocks, no first-class disks.
    V6_5,
    /// 6.7.3: no sector sizes.
    V6_7,
    /// 7.0.3: no folders of datastores.
    V7_0,
    /// 8.0.3: no changed areas, no certificates.
    V8_0,
    /// 9.0.0: all there is.
    V9_0,
}

impl Release {
    /// All of them, oldest first.
    pub const ALL: [Release; 5] = [Release::V6_5, Release::V6_7, Release::V7_0, Release::V8_0, Release::V9_0];

    /// What it says it is in its first log line.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Release::V6_5 => "6.5.4",
            Release::V6_7 => "6.7.3",
            Release::V7_0 => "7.0.3",
            Release::V8_0 => "8.0.3",
            Release::V9_0 => "9.0.0",
        }
    }

    /// The name of its library's file, without links: `libvixDiskLib.so.8.0.3`. That of 9.0 has four numbers.
    #[must_use]
    pub fn file_name(self) -> String {
        let fourth = if self == Release::V9_0 { ".0" } else { "" };
        format!("libvixDiskLib.so.{}{fourth}", self.version())
    }

    /// The name by which other libraries ask for it: `libvixDiskLib.so.8`.
    #[must_use]
    pub fn soname(self) -> String {
        format!("libvixDiskLib.so.{}", self.level().0)
    }

    /// The functions of later releases, which its library does not export.
    #[must_use]
    pub fn lacks(self) -> Vec<&'static str> {
        let newest = match self {
            Release::V6_5 => Since::V6_5,
            Release::V6_7 | Release::V7_0 | Release::V8_0 => Since::V6_7,
            Release::V9_0 => Since::V9,
        };
        let later = Symbol::ALL.iter().map(|symbol| symbol.info()).filter(|info| info.since > newest);
        later.map(|info| info.name).collect()
    }

    /// The newest interface level that it speaks.
    pub(crate) fn level(self) -> (u32, u32) {
        match self {
            Release::V6_5 => (6, 5),
            Release::V6_7 => (6, 7),
            Release::V7_0 => (7, 0),
            Release::V8_0 => (8, 0),
            Release::V9_0 => (9, 0),
        }
    }

    /// The size of its connection parameters, in bytes.
    pub(crate) fn params_size(self) -> usize {
        match self {
            Release::V6_5 => 80,
            Release::V6_7 | Release::V7_0 | Release::V8_0 => 128,
            Release::V9_0 => 136,
        }
    }

    /// Whether disk information ends with the sizes of sectors, and creation parameters too.
    pub(crate) fn has_sector_sizes(self) -> bool {
        self >= Release::V7_0
    }

    pub(crate) fn has_storage_objects(self) -> bool {
        self >= Release::V6_7
    }

    /// From 8.0.1 on. To 6.7 the same number means "unknown".
    pub(crate) fn has_datastore_folders(self) -> bool {
        self >= Release::V8_0
    }

    pub(crate) fn has_certificates(self) -> bool {
        self >= Release::V9_0
    }

    /// Whether transfers over the network are truly asynchronous.
    pub(crate) fn has_async_network(self) -> bool {
        self >= Release::V6_7
    }

    /// Whether the texts of errors carry what the server said, from 8.0.2.1 on.
    pub(crate) fn tells_details(self) -> bool {
        self >= Release::V8_0
    }

    /// What this release answers where the newest would answer `code`: before 8.0.2 a disk that cannot be reached over the
    /// network is 13 at Open whatever the cause, and codes that it does not know are plain failures.
    pub(crate) fn code(self, function: &str, code: Code) -> Code {
        let opens = matches!(function, "Open" | "OpenEx");
        match code.number() {
            14006..=14015 if opens && self < Release::V8_0 => Code::FILE_ACCESS_ERROR,
            14014 if self < Release::V7_0 => Code::FAIL,
            14015 if self < Release::V9_0 => Code::FAIL,
            _ => code,
        }
    }

    fn of_file(path: &Path) -> Option<Release> {
        let name = path.file_name()?.to_str()?;
        Release::ALL.into_iter().find(|release| release.file_name() == name)
    }
}

/// The release that this library is: the one in its own file's name, as the kit has it. Where the code is not in a library of
/// a kit, as in the tests of this crate, it is 8.0.3.
pub(crate) fn current() -> Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    *RELEASE.get_or_init(|| {
        let file = origin::file().and_then(|file| file.canonicalize().ok());
        file.and_then(|file| Release::of_file(&file)).unwrap_or(Release::V8_0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_by_their_files() {
        for release in Release::ALL {
            assert_eq!(Release::of_file(&Path::new("/kit/lib64").join(release.file_name())), Some(release));
        }
        assert_eq!(Release::V9_0.file_name(), "libvixDiskLib.so.9.0.0.0");
        assert_eq!(Release::of_file(Path::new("libfake_vddk.so")), None);
        assert_eq!(current(), Release::V8_0);
    }

    #[test]
    fn older_releases_lack_more_and_tell_less() {
        let lacking = Release::ALL.map(|release| release.lacks().len());
        assert_eq!(lacking, [7, 4, 4, 4, 0]);
        let code = |release: Release, function| release.code(function, Code(14009)).0;
        assert_eq!((code(Release::V7_0, "Open"), code(Release::V8_0, "Open")), (13, 14009));
        assert_eq!((code(Release::V7_0, "Read"), Release::V6_7.code("Read", Code(14014)).0), (14009, 1));
    }
}
