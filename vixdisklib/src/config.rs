//! The configuration file that VixDiskLib gets: always one of ours, because without one it reads whatever lies about on
//! the machine (`/etc/vmware/config`, `~/.vmware/config`, ...).

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

const OPERATION: &str = "write VixDiskLib's configuration";
/// Most bytes that the buffers of one network session may take together.
const SESSION_BYTES: u64 = 16 << 20;

/// Writes the entries into a file below `directory` (or a folder of this user) and gives its path. Equal entries give the
/// same file, so nothing piles up.
pub(crate) fn write(directory: Option<&Path>, entries: &[(String, String)]) -> Result<PathBuf> {
    let directory = match directory {
        Some(directory) => {
            fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
            directory.to_path_buf()
        }
        None => private_directory()?,
    };
    let text = render(&directory, entries)?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let path = directory.join(format!("vixdisklib-{:016x}.conf", hasher.finish()));
    // Another process may write the same file at the same time: renaming makes either whole.
    let mut file = tempfile::NamedTempFile::new_in(&directory).map_err(|error| failed(&directory, error))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(&path, error))?;
    file.persist(&path).map_err(|error| failed(&path, error.error))?;
    Ok(path)
}

/// Refuses what would let every disk fail to open: a host gives the buffers of one session so much and no more.
pub(crate) fn check(entries: &[(String, String)]) -> Result<()> {
    let number = |name: &str, default: u64| {
        let key = format!("vixDiskLib.nfcAio.Session.{name}");
        let value =
            entries.iter().rfind(|(other, _)| other.eq_ignore_ascii_case(&key)).map(|(_, value)| value);
        value.map_or(Ok(default), |value| {
            value.trim().parse::<u64>().map_err(|_| invalid(format!("{key} is {value:?}, not a number")))
        })
    };
    let bytes = number("BufSizeIn64KB", 1)?.saturating_mul(64 << 10).saturating_mul(number("BufCount", 4)?);
    if bytes <= SESSION_BYTES {
        return Ok(());
    }
    Err(invalid(format!("buffers of {bytes} bytes for one session: disks open with {SESSION_BYTES} at most"))
        .with_advice("16 for vixDiskLib.nfcAio.Session.BufSizeIn64KB and 4 for BufCount serve well"))
}

fn render(directory: &Path, entries: &[(String, String)]) -> Result<String> {
    let temp =
        directory.to_str().ok_or_else(|| invalid("the temporary folder's path is not UTF-8".into()))?;
    let mut text = String::new();
    let temp = ("tmpDirectory".to_owned(), temp.to_owned());
    for (key, value) in std::iter::once(&temp).chain(entries) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if key.is_empty() || !key.chars().all(fits) {
            return Err(invalid(format!("{key:?} is not a configuration key")));
        }
        if value.contains(['"', '\n', '\r', '\0']) {
            return Err(invalid(format!("the value of {key} holds a quote, a line break or a zero byte")));
        }
        text.push_str(&format!("{key} = \"{value}\"\n"));
    }
    Ok(text)
}

/// `vixdisklib-UID` below the system's temporary folder, ours alone.
#[cfg(unix)]
fn private_directory() -> Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};

    // The folder of the running process belongs to its effective user.
    let user = fs::metadata("/proc/self").map_err(|error| failed(Path::new("/proc/self"), error))?.uid();
    let directory = std::env::temp_dir().join(format!("vixdisklib-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&directory, error)),
    }
    // Anybody may create names in a temporary folder: a link or someone else's folder must not be used.
    let metadata = fs::symlink_metadata(&directory).map_err(|error| failed(&directory, error))?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o022 != 0 {
        return Err(Error::new(ErrorKind::Io, OPERATION, "the folder is not this user's own")
            .with_subject(directory.display().to_string())
            .with_advice("remove it, or choose another with LibraryOptions::temp_directory"));
    }
    Ok(directory)
}

#[cfg(not(unix))]
fn private_directory() -> Result<PathBuf> {
    Err(Error::new(ErrorKind::Unsupported, OPERATION, "VDDK is driven on Linux x86-64 only"))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::io(OPERATION, error).with_subject(path.display().to_string())
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, OPERATION, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Vec<(String, String)> {
        vec![(key.into(), value.into())]
    }

    #[test]
    fn equal_settings_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(Some(folder.path()), &entry("vixDiskLib.transport.LogLevel", "4")).unwrap();
        let second = write(Some(folder.path()), &entry("vixDiskLib.transport.LogLevel", "4")).unwrap();
        assert_eq!(first, second);
        let text = fs::read_to_string(first).unwrap();
        assert!(text.starts_with("tmpDirectory = \""), "{text}");
        assert!(text.ends_with("vixDiskLib.transport.LogLevel = \"4\"\n"), "{text}");
    }

    #[test]
    fn buffers_that_no_host_gives_are_refused() {
        let buffers = |size: &str, count: &str| {
            check(&[
                ("vixDiskLib.nfcAio.Session.BufSizeIn64KB".into(), size.into()),
                ("VixDiskLib.nfcAio.Session.BufCount".into(), count.into()),
            ])
        };
        buffers("16", "4").unwrap();
        buffers("32", "8").unwrap();
        for (size, count) in [("32", "9"), ("many", "4"), ("18446744073709551615", "2")] {
            assert_eq!(buffers(size, count).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        check(&[]).unwrap();
    }

    #[test]
    fn a_value_cannot_smuggle_in_another_line() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(Some(folder.path()), &entry("a", "1\nb=2")).is_err());
        assert!(write(Some(folder.path()), &entry("a b", "1")).is_err());
    }
}
