//! The data of a base disk: a sparse host file in which every byte has its own offset.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::descriptor::Provisioning;
use crate::{Error, ErrorKind, Result, files};

pub(crate) struct Flat {
    file: File,
    path: PathBuf,
    capacity: u64,
    provisioning: Provisioning,
}

impl Flat {
    pub(crate) fn new(file: File, path: PathBuf, capacity: u64, provisioning: Provisioning) -> Self {
        Self { file, path, capacity, provisioning }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| Error::io("the disk's data cannot be read in full", source).at(&self.path))
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check_length(offset + bytes.len() as u64)?;
        self.file
            .write_all_at(bytes, offset)
            .map_err(|source| Error::io("the disk's data cannot be written", source).at(&self.path))
    }

    pub(crate) fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.check_length(offset + length)?;
        files::punch(&self.file, offset, length).map_err(|error| error.at(&self.path))
    }

    /// Reports what is allocated in `start..end`. Bytes past the end of a truncated file count as allocated, so
    /// that a reader comes by and fails instead of taking them for zeros.
    pub(crate) fn allocated(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.provisioning == Provisioning::EagerThick {
            return visit(start, end);
        }
        let present = self.length()?.min(self.capacity);
        if start < present && files::data_ranges(&self.file, start, end.min(present), visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if end > present { visit(start.max(present), end) } else { Ok(ControlFlow::Continue(())) }
    }

    fn length(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|source| Error::io("a data file cannot be examined", source).at(&self.path))?
            .len())
    }

    /// A write past a truncated file's end would extend it with zeros that nobody wrote.
    fn check_length(&self, end: u64) -> Result<()> {
        if self.length()? < end {
            let what = "the disk's data file is shorter than the disk; restore the file";
            return Err(Error::new(ErrorKind::Truncated, what).at(&self.path));
        }
        Ok(())
    }
}
