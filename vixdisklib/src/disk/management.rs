//! What is done to an open disk as a whole, or makes another disk of it.

use super::{Disk, DiskInfo};
use crate::connection::c_string;
use crate::create::DiskType;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{RawInfo, bindings};
use crate::log;
use crate::management::check_absolute;
use crate::wire::Request;

const CHILD: &str = "create a child of";
const SHRINK: &str = "shrink";
const DEFRAGMENT: &str = "defragment";
const SPACE: &str = "ask for the space that a clone needs of";
const ATTACH: &str = "attach a parent to";
const ASK_ATTACH: &str = "ask whether a parent can be attached to";

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
        let request = Request::CreateChild { disk: self.number, path, disk_type: disk_type.raw() };
        self.manage(CHILD, request, progress)
    }

    /// Gives grains that hold nothing but zeros back to the file system. For sparse disks without a parent. `progress` hears
    /// percentages, on the calling thread. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], [`ErrorKind::Unsupported`] for a disk on a server; otherwise what the library reports.
    pub fn shrink(&self, progress: impl FnMut(u8)) -> Result<()> {
        self.check_local(SHRINK)?;
        self.check_writable(SHRINK)?;
        self.manage(SHRINK, Request::Shrink { disk: self.number }, progress)
    }

    /// Puts the grains of a sparse disk in the order of the disk. `progress` hears percentages, on the calling thread. Blocks.
    ///
    /// # Errors
    /// As for [`Disk::shrink`].
    pub fn defragment(&self, progress: impl FnMut(u8)) -> Result<()> {
        self.check_local(DEFRAGMENT)?;
        self.check_writable(DEFRAGMENT)?;
        self.manage(DEFRAGMENT, Request::Defragment { disk: self.number }, progress)
    }

    /// Bytes that a clone of this type would take at most; `None` asks for a clone of the disk's own type.
    ///
    /// # Errors
    /// What the library reports.
    pub fn space_needed_for_clone(&self, disk_type: Option<DiskType>) -> Result<u64> {
        let disk_type = disk_type.map_or(bindings::VDDK_DISK_UNKNOWN, DiskType::raw);
        self.call(SPACE, Request::SpaceNeededForClone { disk: self.number, disk_type })
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
        self.check_neighbour(ASK_ATTACH, parent)?;
        self.call(ASK_ATTACH, Request::IsAttachPossible { disk: self.number, parent: parent.number })
    }

    /// Puts this disk, which was opened as a [single link](super::OpenOptions::single_link), on top of `parent`. From then on
    /// it stands for the whole chain; the parent's handle is taken over by the library, so it is consumed here.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for disks on a server, or when this disk is no child; what the library reports for disks that
    /// do not belong together. `parent` is closed then, and this disk is as it was.
    pub fn attach(&mut self, mut parent: Disk) -> Result<()> {
        self.check_local(ATTACH)?;
        parent.check_local(ATTACH)?;
        self.check_neighbour(ATTACH, &parent)?;
        parent.over = true;
        parent.way.close();
        self.call::<()>(ATTACH, Request::Attach { disk: self.number, parent: parent.number })?;
        let info: RawInfo = self.call(ATTACH, Request::Info { disk: self.number })?;
        self.info = DiskInfo::from_raw(info);
        Ok(())
    }

    /// Numbers of another engine would mean other disks.
    fn check_neighbour(&self, operation: &'static str, other: &Disk) -> Result<()> {
        if self.engine().is_same(other.engine()) {
            return Ok(());
        }
        let text = "the disks belong to different libraries, or one of them to a worker that is gone";
        Err(self.refusal(ErrorKind::InvalidArgument, operation, text))
    }

    fn check_local(&self, operation: &'static str) -> Result<()> {
        if self.local {
            return Ok(());
        }
        let text = "VixDiskLib does this to disks on this machine only";
        Err(self.refusal(ErrorKind::Unsupported, operation, text))
    }

    fn refusal(&self, kind: ErrorKind, operation: &'static str, text: &str) -> Error {
        Error::new(kind, operation, text).with_subject(self.path())
    }

    fn manage(&self, operation: &'static str, request: Request, hear: impl FnMut(u8)) -> Result<()> {
        let mark = log::mark();
        self.engine().call_reporting(request, hear).map_err(|error| self.error(operation, error, mark))
    }
}
