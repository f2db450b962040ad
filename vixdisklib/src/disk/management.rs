//! What is done to an open disk as a whole, or makes another disk of it.

use std::sync::{Mutex, PoisonError};

use super::{Disk, DiskInfo};
use crate::connection::c_string;
use crate::create::DiskType;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{CallError, RawDisk, bindings};
use crate::log;
use crate::management::check_absolute;
use crate::progress::{self, Reporter};

const CHILD: &str = "create a child of";
const SHRINK: &str = "shrink";
const DEFRAGMENT: &str = "defragment";
const SPACE: &str = "ask for the space that a clone needs of";
const ATTACH: &str = "attach a parent to";
const ASK_ATTACH: &str = "ask whether a parent can be attached to";

/// Two threads that ask about two disks crosswise would each wait for the worker that the other one holds.
static ONE_PAIR_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Disk {
    /// Makes a child at `path`, on this machine: a disk that holds what is written to it from now on, and reads the rest from
    /// this one, which must not be changed any more. `disk_type` is [`DiskType::MonolithicSparse`] or
    /// [`DiskType::SplitSparse`]. `progress` hears percentages, on the calling thread. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for another type or a relative path, [`ErrorKind::Unsupported`] for a disk on a server;
    /// otherwise what the library reports.
    pub fn create_child(&self, path: &str, disk_type: DiskType, progress: impl FnMut(u8)) -> Result<()> {
        self.check_local(CHILD)?;
        check_absolute(CHILD, path)?;
        if !matches!(disk_type, DiskType::MonolithicSparse | DiskType::SplitSparse) {
            let text = format!("a child is of type MonolithicSparse or SplitSparse, not {disk_type:?}");
            return Err(self.refusal(ErrorKind::InvalidArgument, CHILD, &text));
        }
        let path = c_string(CHILD, path)?;
        self.manage(CHILD, progress, move |raw, reporter| raw.create_child(path, disk_type.raw(), reporter))
    }

    /// Gives grains that hold nothing but zeros back to the file system. For sparse disks without a parent. `progress` hears
    /// percentages, on the calling thread. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], [`ErrorKind::Unsupported`] for a disk on a server; otherwise what the library reports.
    pub fn shrink(&self, progress: impl FnMut(u8)) -> Result<()> {
        self.check_local(SHRINK)?;
        self.check_writable(SHRINK)?;
        self.manage(SHRINK, progress, RawDisk::shrink)
    }

    /// Puts the grains of a sparse disk in the order of the disk. `progress` hears percentages, on the calling thread. Blocks.
    ///
    /// # Errors
    /// As for [`Disk::shrink`].
    pub fn defragment(&self, progress: impl FnMut(u8)) -> Result<()> {
        self.check_local(DEFRAGMENT)?;
        self.check_writable(DEFRAGMENT)?;
        self.manage(DEFRAGMENT, progress, RawDisk::defragment)
    }

    /// Bytes that a clone of this type would take at most; `None` asks for a clone of the disk's own type.
    ///
    /// # Errors
    /// What the library reports.
    pub fn space_needed_for_clone(&self, disk_type: Option<DiskType>) -> Result<u64> {
        let disk_type = disk_type.map_or(bindings::VDDK_DISK_UNKNOWN, DiskType::raw);
        self.worker.call(SPACE, move |raw| raw.space_needed_for_clone(disk_type))
    }

    /// Whether [`Disk::attach`] would work; the error says why not. Both disks stay as they are.
    ///
    /// # Errors
    /// As for [`Disk::attach`].
    pub fn is_attach_possible(&self, parent: &Disk) -> Result<()> {
        self.check_local(ASK_ATTACH)?;
        parent.check_local(ASK_ATTACH)?;
        if std::ptr::eq(self, parent) {
            return Err(self.refusal(ErrorKind::InvalidArgument, ASK_ATTACH, "a disk is not its own parent"));
        }
        let mark = log::mark();
        let _alone = ONE_PAIR_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // The parent's worker waits within its job, and that is what keeps the handle from being used meanwhile.
        let (lend, lent) = std::sync::mpsc::channel();
        let (give_back, given_back) = std::sync::mpsc::channel::<()>();
        let waiting = parent.worker.start_call(ASK_ATTACH, move |raw| {
            if lend.send(raw.handle()).is_ok() {
                // An error is the other end being dropped, which gives back as well.
                let _ = given_back.recv();
            }
        })?;
        let answer = match lent.recv() {
            Ok(handle) => self.worker.call_raw(ASK_ATTACH, move |raw| raw.is_attach_possible(handle)),
            Err(_) => Err(Error::closed(ASK_ATTACH)),
        };
        drop(give_back);
        waiting.finish(ASK_ATTACH)?;
        answer?.map_err(|error| self.api_error(ASK_ATTACH, error, mark))
    }

    /// Puts this disk, which was opened as a [single link](super::OpenOptions::single_link), on top of `parent`. From then on
    /// it stands for the whole chain; the parent's handle is taken over by the library, so it is consumed here.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for disks on a server, or when this disk is no child; what the library reports for disks that
    /// do not belong together. `parent` is closed then, and this disk is as it was.
    pub fn attach(&mut self, parent: Disk) -> Result<()> {
        self.check_local(ATTACH)?;
        parent.check_local(ATTACH)?;
        let parent = parent.worker.into_raw()?;
        self.worker.call(ATTACH, move |raw| raw.attach(parent))?;
        let has_sector_sizes = self.library.version().has_sector_sizes();
        self.info = DiskInfo::from_raw(self.worker.call(ATTACH, move |raw| raw.info(has_sector_sizes))?);
        Ok(())
    }

    fn check_local(&self, operation: &'static str) -> Result<()> {
        if self.local {
            return Ok(());
        }
        let text = "VixDiskLib does this to disks on this machine only";
        Err(self.refusal(ErrorKind::Unsupported, operation, text))
    }

    fn refusal(&self, kind: ErrorKind, operation: &'static str, text: &str) -> Error {
        Error::new(kind, operation, text).with_subject(self.worker.path())
    }

    fn api_error(&self, operation: &'static str, error: CallError, mark: log::Mark) -> Error {
        self.library.api().error(operation, error, mark).with_subject(self.worker.path())
    }

    fn manage(
        &self,
        operation: &'static str,
        hear: impl FnMut(u8),
        call: impl FnOnce(&mut RawDisk, Reporter) -> std::result::Result<(), CallError> + Send + 'static,
    ) -> Result<()> {
        let mark = log::mark();
        let (reporter, progress) = progress::channel_for_call();
        let running = self.worker.start_call(operation, move |raw| call(raw, reporter))?;
        progress
            .follow(hear, || running.finish(operation))?
            .map_err(|error| self.api_error(operation, error, mark))
    }
}
