//! Making a disk from a user's raw image.

use std::io::{Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::descriptor::SECTOR;
use crate::{Disk, DiskSpec, Error, ErrorKind, Result, files};

/// Bytes looked at at once: a run of zeros of this size, at a multiple of it, is not written.
const CHUNK: u64 = 64 << 10;

impl Disk {
    /// Makes a new thin disk at `path` with the bytes of the raw image at `source`, a file or a block device, and
    /// opens it for writing. Holes and zeros of the image stay unallocated. An image that ends inside a sector is
    /// filled up with zeros. The source is only read.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `InvalidArgument` for an empty image, `Truncated` if the image shrinks
    /// meanwhile, `NoSpace`, `Io`. A disk that was begun is removed again.
    pub fn import_raw(source: &Path, path: &Path) -> Result<Self> {
        let unreadable = |error| Error::io("the raw image cannot be read", error).at(source);
        let mut image = files::open(source, false)?;
        // Unlike the metadata's, this length is right for block devices too.
        let length = image.seek(SeekFrom::End(0)).map_err(unreadable)?;
        if length == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "the raw image is empty").at(source));
        }
        let capacity = length.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        let disk = Self::create(path, &DiskSpec::thin(capacity))?;
        let mut buffer = vec![0; CHUNK as usize];
        let copied = files::data_ranges(&image, 0, length, &mut |from, to| {
            let mut at = from;
            while at < to {
                let count = (CHUNK - at % CHUNK).min(to - at);
                let bytes = &mut buffer[..count as usize];
                image.read_exact_at(bytes, at).map_err(unreadable)?;
                if bytes.iter().any(|&byte| byte != 0) {
                    disk.write_at(at, bytes)?;
                }
                at += count;
            }
            Ok(ControlFlow::Continue(()))
        });
        match copied {
            Ok(_) => Ok(disk),
            Err(error) => {
                drop(disk);
                crate::delete(path)?;
                Err(error)
            }
        }
    }
}
