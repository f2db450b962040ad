//! A chain of links, top first, and reading through it.

use std::ops::ControlFlow;
use std::path::Path;

use crate::descriptor::{Cid, LinkKind};
use crate::files::{self, FolderLock};
use crate::link::delta::Place;
use crate::link::{Link, LinkData};
use crate::{Error, ErrorKind, Result};

/// Most links a chain may have. ESXi supports 32; the rest is room for tests of long chains.
pub const MAX_LINKS: usize = 255;

pub(crate) struct Chain {
    links: Vec<Link>,
    /// Links that reads and allocation see: all, or only the top one.
    visible: usize,
}

impl Chain {
    /// Opens all links from `top` down to its base, the top one for writing if `write`.
    ///
    /// With `top_only`, reads see the top link alone, and a parent that cannot be opened is no error as long as
    /// no write needs its bytes.
    pub(crate) fn open(top: &Path, write: bool, top_only: bool) -> Result<Self> {
        let _held = FolderLock::shared(files::folder_of(top))?;
        let mut links = vec![Link::open(top, write)?];
        while let Some(child) = links.last()
            && child.descriptor.kind != LinkKind::Flat
        {
            match open_parent(&links) {
                Ok(parent) => links.push(parent),
                Err(_) if top_only => break,
                Err(error) => return Err(error),
            }
        }
        let visible = if top_only { 1 } else { links.len() };
        Ok(Self { links, visible })
    }

    pub(crate) fn top(&self) -> &Link {
        // `open` starts with one link and only adds to them.
        &self.links[0]
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_from(0, self.visible, offset, buffer)
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        match &self.top().data {
            LinkData::Flat(flat) => flat.write(offset, bytes),
            LinkData::Delta(delta) => delta.write(offset, bytes, &|at, buffer| self.read_below(at, buffer)),
        }
    }

    /// Makes a range read as zeros. What reads as zeros in all parents is not held for that.
    pub(crate) fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let delta = match &self.top().data {
            LinkData::Flat(flat) => return flat.zero(offset, length),
            LinkData::Delta(delta) => delta,
        };
        let zero = |from: u64, to: u64| {
            delta.zero(from, to - from, &|at, buffer| self.read_below(at, buffer))?;
            Ok(ControlFlow::Continue(()))
        };
        let zeroed = delta.runs(offset, offset + length, &mut |from, to, place| {
            if place == Place::Parent && self.is_complete() {
                self.allocated_from(1, self.links.len(), from, to, &mut |from, to| zero(from, to))
            } else {
                zero(from, to)
            }
        });
        zeroed.map(|_| ())
    }

    /// Visits the allocated runs of `start..end`, ascending; neighbours may touch.
    pub(crate) fn allocated(
        &self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        self.allocated_from(0, self.visible, start, end, visit)
    }

    fn allocated_from(
        &self,
        index: usize,
        last: usize,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let link = match self.links.get(index) {
            Some(link) if index < last => link,
            _ => return Ok(ControlFlow::Continue(())),
        };
        match &link.data {
            LinkData::Flat(flat) => flat.allocated(start, end, visit),
            LinkData::Delta(delta) => delta.runs(start, end, &mut |from, to, place| match place {
                Place::Parent => self.allocated_from(index + 1, last, from, to, visit),
                Place::Zero => Ok(ControlFlow::Continue(())),
                Place::Data(position) => delta.data_ranges(from, to, position, visit),
            }),
        }
    }

    fn read_from(&self, index: usize, end: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let link = match self.links.get(index) {
            Some(link) if index < end => link,
            _ => {
                buffer.fill(0);
                return Ok(());
            }
        };
        match &link.data {
            LinkData::Flat(flat) => flat.read(offset, buffer),
            LinkData::Delta(delta) => {
                let stop = offset + buffer.len() as u64;
                let mut visit = |from: u64, to: u64, place| {
                    let part = &mut buffer[(from - offset) as usize..(to - offset) as usize];
                    match place {
                        Place::Parent => self.read_from(index + 1, end, from, part)?,
                        Place::Zero => part.fill(0),
                        Place::Data(position) => delta.read_data(position, part)?,
                    }
                    Ok(ControlFlow::Continue(()))
                };
                delta.runs(offset, stop, &mut visit).map(|_| ())
            }
        }
    }

    /// Whether the chain goes down to a base disk.
    fn is_complete(&self) -> bool {
        self.links.last().is_some_and(|last| last.descriptor.kind == LinkKind::Flat)
    }

    /// The bytes below the top link, whether reads see them or not.
    fn read_below(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if !self.is_complete() {
            let what = "the write covers a grain in part and the parent that has the rest cannot be opened";
            return Err(Error::new(ErrorKind::ChainBroken, what).at(&self.top().path));
        }
        self.read_from(1, self.links.len(), offset, buffer)
    }
}

/// Opens the parent of the last link, and checks that it is the one the link was made over.
fn open_parent(links: &[Link]) -> Result<Link> {
    let broken = |child: &Link, what: &str| Error::new(ErrorKind::ChainBroken, what).at(&child.path);
    let Some(child) = links.last() else {
        return Err(Error::new(ErrorKind::ChainBroken, "a chain without links has no parent"));
    };
    let Some(path) = child
        .descriptor
        .parent(&child.path)
        .map_err(|error| broken(child, "the disk's parent cannot be found").because(error))?
    else {
        return Err(broken(child, "the child disk does not name its parent"));
    };
    if links.iter().any(|link| link.path == path) {
        return Err(broken(child, "the disk's parents form a loop"));
    }
    if links.len() == MAX_LINKS {
        return Err(broken(child, "the disk's chain has more links than are allowed"));
    }
    let parent = Link::open(&path, false)
        .map_err(|error| broken(child, "the disk's parent cannot be opened").because(error))?;
    // A merge that died has left the child over a parent that has the child's content already, and its content id.
    let fits = [child.descriptor.parent_cid, child.descriptor.cid].contains(&parent.descriptor.cid);
    if !fits || child.descriptor.parent_cid == Cid::NO_PARENT {
        return Err(broken(child, "the parent disk has been changed since the child was made over it"));
    }
    if parent.descriptor.kind != LinkKind::Flat && parent.descriptor.kind != child.descriptor.kind {
        return Err(broken(child, "the disk's chain mixes vmfsSparse and seSparse links"));
    }
    if parent.descriptor.sectors != child.descriptor.sectors {
        return Err(broken(child, "the capacity of the disk's links differs"));
    }
    Ok(parent)
}
