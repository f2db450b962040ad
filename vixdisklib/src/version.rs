//! Which VixDiskLib this is. The library has no function that says so: its file name and its first log line do.

use std::fmt;
use std::path::Path;

/// The version of a loaded VixDiskLib. Ordered; parts that are not known count as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number, 6 to 9 as of this writing.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// Reads the version from a file name such as `libvixDiskLib.so.8.0.3`.
    #[must_use]
    pub fn from_file_name(path: &Path) -> Option<Version> {
        let name = path.file_name()?.to_str()?;
        Version::parse(name.strip_prefix("libvixDiskLib.so.")?)
    }

    /// Reads the version from a line such as `VMware VixDiskLib (8.0.3) Release build-24022515`.
    #[must_use]
    pub fn from_log_line(line: &str) -> Option<Version> {
        let (_, rest) = line.split_once("VMware VixDiskLib (")?;
        let (version, _) = rest.split_once(')')?;
        Version::parse(version)
    }

    /// What is known to be wrong with this release, for whoever may choose another. [`Library::open`](crate::Library::open) logs
    /// it as warnings.
    #[must_use]
    pub fn known_problems(self) -> &'static [&'static str] {
        if self.major < 7 {
            &[
                "opening disks over the network fails with code 1 at times, for no reason that can be mended",
                "the network transports connect anew for every request, which is slow",
            ]
        } else {
            &[]
        }
    }

    /// Whether disk information ends with the sector sizes (7.0 on).
    pub(crate) fn has_sector_sizes(self) -> bool {
        self.major >= 7
    }

    /// Whether connection parameters end with a certificate (9.0 on). Writing it for an older library would be past the end of
    /// its structure.
    pub(crate) fn has_certificate(self) -> bool {
        self.major >= 9
    }

    /// Whether first-class disks can be opened (6.7 on).
    pub(crate) fn has_storage_objects(self) -> bool {
        self >= Version { major: 6, minor: 7, patch: 0 }
    }

    /// Whether folders of datastores can be opened (8.0.1 on). To 6.7 the same number means "unknown".
    pub(crate) fn has_datastore_folders(self) -> bool {
        self >= Version { major: 8, minor: 0, patch: 1 }
    }

    fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split('.').map(|part| part.parse::<u32>());
        let major = numbers.next()?.ok()?;
        let minor = numbers.next().and_then(Result::ok).unwrap_or(0);
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Version { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names_and_lines() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        assert_eq!(Version::from_file_name(Path::new("/x/libvixDiskLib.so.8.0.3")), version(8, 0, 3));
        assert_eq!(Version::from_file_name(Path::new("libvixDiskLib.so.9.0.0.0")), version(9, 0, 0));
        assert_eq!(Version::from_file_name(Path::new("libvixDiskLib.so.6")), version(6, 0, 0));
        assert_eq!(Version::from_file_name(Path::new("libvixDiskLib.so")), None);
        assert_eq!(Version::from_log_line("VMware VixDiskLib (7.0.3) Release build-1"), version(7, 0, 3));
        assert_eq!(Version::from_log_line("something else"), None);
    }
}
