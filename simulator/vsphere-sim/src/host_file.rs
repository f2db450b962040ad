//! Files of this machine: where sparse ones have data, copies that keep holes, and files that appear when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sim_store::crash;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// How many files this process is making.
static IN_THE_MAKING: AtomicU64 = AtomicU64::new(0);

/// A file in the making, under a name that nobody looks for. It goes when this is dropped.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Makes one in the folder where the file shall be.
    ///
    /// # Errors
    /// Those of making a file.
    pub(crate) fn create(folder: &Path) -> io::Result<(Self, File)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".upload.{}-{number}.tmp", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        IN_THE_MAKING.fetch_add(1, Ordering::Relaxed);
        Ok((Self(path), file))
    }

    /// Puts it where it belongs, in one step, in the place of what may be there. Answers whether there was something.
    ///
    /// # Errors
    /// Those of renaming.
    pub(crate) fn replace(self, path: &Path) -> io::Result<bool> {
        let there = fs::symlink_metadata(path).is_ok();
        crash::point();
        let renamed = fs::rename(&self.0, path).map(|()| there);
        crash::point();
        renamed
    }

    /// Puts it where it belongs if nothing is there.
    ///
    /// # Errors
    /// `AlreadyExists`, and those of linking.
    pub(crate) fn add(self, path: &Path) -> io::Result<()> {
        let linked = fs::hard_link(&self.0, path);
        crash::point();
        linked
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        IN_THE_MAKING.fetch_sub(1, Ordering::Relaxed);
        match fs::remove_file(&self.0) {
            // It has got its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, path = %self.0.display(), "part of an upload is left behind")
            }
            Ok(()) => {}
        }
    }
}

/// Whether this process is making files.
pub(crate) fn any_in_the_making() -> bool {
    IN_THE_MAKING.load(Ordering::Relaxed) > 0
}

/// Sees that a file may take so many bytes more on its datastore.
///
/// # Errors
/// `StorageFull` where they do not fit.
pub(crate) fn claim(path: &Path, bytes: u64) -> io::Result<()> {
    let room = sim_store::Space::of(path).and_then(|space| match space {
        Some(space) => space.claim(bytes),
        None => Ok(()),
    });
    room.map_err(|error| match error.kind() {
        sim_store::ErrorKind::NoSpace => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => io::Error::other(error),
    })
}

/// Whether a name is one under which files are made, here or in `sim_store`, or under which that keeps its own. No list
/// shows them.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp") || sim_store::sharing::is_list(name)
}

/// Whether a name is one under which a process that is dead was making a file.
pub(crate) fn is_abandoned(name: &str) -> bool {
    let maker = || name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?.1.split_once('-');
    let Some((process, number)) = maker() else { return false };
    let (Ok(process), Ok(_)) = (process.parse::<u32>(), number.parse::<u64>()) else { return false };
    // A dead process may have had the number that this one has now.
    process == std::process::id() || !Path::new("/proc").join(process.to_string()).exists()
}

/// Replaces a small file in one step: a reader, or the next start, finds the old text or the new one.
///
/// # Errors
/// Those of making, writing and renaming a file.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let (temporary, mut file) = Temporary::create(folder)?;
    file.write_all(bytes)?;
    temporary.replace(path).map(|_| ())
}

/// Where the run of data or of a hole that `range` begins with ends, and whether it is data.
///
/// A file system that cannot tell has data everywhere, which is always right.
///
/// # Errors
/// `UnexpectedEof` where the file ends before the range begins: bytes that are gone must not be taken for zeros.
pub(crate) fn run(file: &File, range: Range<u64>) -> io::Result<(u64, bool)> {
    let length = file.metadata()?.len();
    if range.start >= length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let end = range.end.min(length);
    match rustix::fs::seek(file, SeekFrom::Data(range.start)) {
        Ok(data) if data > range.start => Ok((data.min(end), false)),
        Ok(_) => match rustix::fs::seek(file, SeekFrom::Hole(range.start)) {
            Ok(hole) => Ok((hole.clamp(range.start + 1, end), true)),
            Err(error) => Err(error.into()),
        },
        Err(Errno::NXIO) => Ok((end, false)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((end, true)),
        Err(error) => Err(error.into()),
    }
}

/// Copies a file to a new one; its holes stay holes.
///
/// # Errors
/// `AlreadyExists`, and those of reading and writing. What was begun is removed again.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create_new(true).open(to)?;
    let copied = copy_bytes(&source, &target);
    if copied.is_err() {
        fs::remove_file(to)?;
    }
    copied
}

fn copy_bytes(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0; usize::try_from(PIECE).unwrap_or(usize::MAX)];
    let mut at = 0;
    while at < length {
        let (end, data) = run(source, at..length)?;
        while data && at < end {
            let piece = &mut buffer[..usize::try_from(PIECE.min(end - at)).unwrap_or(usize::MAX)];
            source.read_exact_at(piece, at)?;
            target.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_missing_bytes_are_no_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::options().read(true).write(true).create_new(true).open(&from).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"in the middle", 1 << 39).unwrap();
        copy(&from, &to).unwrap();
        let copied = std::fs::metadata(&to).unwrap();
        assert_eq!(copied.len(), 1 << 40);
        assert!(copied.blocks() * 512 < 1 << 20, "{} blocks", copied.blocks());
        let mut bytes = [0; 13];
        File::open(&to).unwrap().read_exact_at(&mut bytes, 1 << 39).unwrap();
        assert_eq!(&bytes, b"in the middle");
        assert_eq!(copy(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        assert_eq!(run(&file, 0..4096).unwrap(), (4096, false));
        file.set_len(100).unwrap();
        assert_eq!(run(&file, 0..4096).unwrap(), (100, false));
        assert_eq!(run(&file, 100..4096).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
