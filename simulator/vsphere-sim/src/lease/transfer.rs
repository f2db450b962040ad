//! The bytes of a lease's files, between a connection and the disks. Everything here runs on threads that may block, and
//! holds some pieces of a disk at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;

use bytes::{Buf, Bytes};
use sim_store::{Access, Disk, Extent, Scope};
use tokio::sync::{mpsc, watch};
use vim_api::types as t;
use vmdk::{ReadAt, StreamOptions, StreamReader, StreamWriter};

use super::digest::{Carried, Digests};
use super::{LeaseFile, Stage, Way};
use crate::fault::{Fault, describe, fault, from_store, no_disk_space};
use crate::faults::LeaseFault;
use crate::host_file::{self, Temporary};
use crate::world::{Shared, World};

/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;

/// Pieces that may wait between a thread and a connection.
pub(crate) const WAITING: usize = 8;

/// Allocated areas of a disk are asked for so many bytes of it at once.
const WINDOW: u64 = 64 << 30;

/// zlib's level: a simulator is to be quick.
const LEVEL: u32 = 1;

/// Why a request gets no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such address.
    Unknown,
    /// There was one.
    Over,
    /// It is there for the other direction.
    WrongWay(Way),
    /// Somebody else is sending the same file.
    Busy,
}

/// Why an upload came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection broke off. It may be begun again.
    Lost,
    /// The lease has ended meanwhile.
    Over,
    /// There is a file of that name.
    Exists,
    /// What was sent cannot be: the lease has failed.
    Content(String),
    /// It could not be stored: the lease has failed.
    Storage(Fault),
}

/// A file that is being carried.
pub(crate) struct Transfer {
    lease: String,
    file: LeaseFile,
    over: watch::Receiver<bool>,
    /// How a rule wants the lease to end, and at which percentage of the file.
    planned: Option<(i32, LeaseFault)>,
}

/// A piece of a body, or its end: a connection that breaks off sends no end.
pub(crate) enum Piece {
    Data(Bytes),
    End,
}

impl World {
    /// Begins to carry the file behind an address.
    pub(crate) fn begin_transfer(
        &mut self,
        token: &str,
        name: &str,
        way: Way,
        planned: Option<(i32, LeaseFault)>,
    ) -> Result<Transfer, Refusal> {
        let planned = match planned {
            Some((0, early)) => {
                let found = self.leases.list.iter().find(|lease| lease.token == token);
                if let Some(id) = found.map(|lease| lease.id.clone()) {
                    self.end_lease_early(&id, early);
                }
                None
            }
            later => later,
        };
        let lease = self.leases.list.iter_mut().find(|lease| lease.token == token).ok_or(Refusal::Unknown)?;
        if lease.stage != Stage::Ready {
            return Err(Refusal::Over);
        }
        let file = lease.files.iter_mut().find(|file| file.name == name).ok_or(Refusal::Unknown)?;
        if lease.way != way {
            return Err(Refusal::WrongWay(lease.way));
        }
        if file.receiving {
            return Err(Refusal::Busy);
        }
        let (id, over) = (lease.id.clone(), lease.over.subscribe());
        let transfer = Transfer { lease: id, file: file.clone(), over, planned };
        if way == Way::In {
            file.receiving = true;
            file.touched = true;
            file.carried = None;
        }
        Ok(transfer)
    }
}

impl World {
    /// Whether what is to be sent to an address is a disk; `None` where nothing is to be sent.
    pub(crate) fn upload_is_disk(&self, token: &str, name: &str) -> Option<bool> {
        let lease = self.leases.list.iter().find(|lease| lease.token == token && lease.way == Way::In)?;
        lease.files.iter().find(|file| file.name == name).map(|file| file.capacity.is_some())
    }
}

impl Transfer {
    /// Whether it is a disk, which travels as a stream.
    pub(crate) fn is_disk(&self) -> bool {
        self.file.capacity.is_some()
    }

    /// The size of a file that is sent as it is.
    pub(crate) fn size(&self) -> Option<u64> {
        self.file.size
    }

    /// Becomes true when the lease ends.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.clone()
    }

    /// Ends the lease if a rule wants that when so much of the file is carried.
    fn reach(&self, shared: &Shared, done: u64, total: u64) -> io::Result<()> {
        let percent = done.saturating_mul(100) / total.max(1);
        match &self.planned {
            Some((at, early)) if percent >= u64::try_from(*at).unwrap_or(0) => {
                shared.update(|world| world.end_lease_early(&self.lease, early.clone()));
                self.check()
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> io::Result<()> {
        match *self.over.borrow() {
            true => Err(io::Error::other("the lease has ended")),
            false => Ok(()),
        }
    }

    fn note(&self, shared: &Shared, change: impl FnOnce(&mut LeaseFile)) {
        shared.update(|world| {
            let lease = world.leases.get_mut(&self.lease);
            if let Some(file) =
                lease.and_then(|lease| lease.files.iter_mut().find(|file| file.key == self.file.key))
            {
                change(file);
            }
        });
    }
}

/// Sends a file. A body without an end is one that failed.
pub(crate) fn send(shared: &Shared, transfer: &Transfer, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut outlet = Outlet { transfer, sender, waiting: Vec::with_capacity(PIECE), digests: Digests::new() };
    let sent = match transfer.file.capacity {
        Some(_) => send_disk(shared, transfer, &mut outlet),
        None => File::open(&transfer.file.host)
            .and_then(|mut file| io::copy(&mut file, &mut outlet))
            .map(|_| None),
    };
    let sent = sent.and_then(|populated| transfer.reach(shared, 1, 1).map(|()| populated));
    match sent.and_then(|populated| outlet.flush().map(|()| populated)) {
        Ok(populated) => {
            // Before the client can know that it has all of it.
            let carried = outlet.digests.finish(populated);
            transfer.note(shared, |file| file.carried = Some(carried));
        }
        Err(error) => {
            tracing::debug!(%error, file = transfer.file.path, "a download ended early");
            // Nobody may be left to hear it.
            let _ = sender.blocking_send(Err(error));
        }
    }
}

/// Answers how many bytes of the disk have content.
fn send_disk(shared: &Shared, transfer: &Transfer, outlet: &mut Outlet<'_>) -> io::Result<Option<u64>> {
    let disk =
        Disk::open(&transfer.file.host, Access::ReadOnly, Scope::WholeChain).map_err(io::Error::other)?;
    let options = StreamOptions::new(disk.capacity()).level(LEVEL).threads(2);
    let mut areas = Areas { disk: &disk, known: Vec::new(), until: 0, populated: 0 };
    let mut writer = StreamWriter::new(outlet, &transfer.file.name, options)?;
    // The writer knows no failures but its own, so one of the areas waits here.
    let (mut failed, mut over) = (None, None);
    writer.write_from(&Guest(&disk), |offset| {
        if let Err(error) = transfer.reach(shared, offset, disk.capacity()) {
            over = Some(error);
            return Ok(None);
        }
        Ok(areas.next(offset).unwrap_or_else(|error| {
            failed = Some(error);
            None
        }))
    })?;
    if let Some(error) = over {
        return Err(error);
    }
    if let Some(error) = failed {
        return Err(io::Error::other(error));
    }
    writer.finish()?;
    Ok(Some(areas.populated))
}

/// A disk as the guest sees it, for the writer of streams.
struct Guest<'a>(&'a Disk);

impl ReadAt for Guest<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(offset, buffer).map_err(io::Error::other)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.capacity())
    }
}

/// The allocated areas of a disk, a window at a time.
struct Areas<'a> {
    disk: &'a Disk,
    /// Those of the window, the last first.
    known: Vec<Extent>,
    /// The end of the window.
    until: u64,
    populated: u64,
}

impl Areas<'_> {
    fn next(&mut self, offset: u64) -> sim_store::Result<Option<Range<u64>>> {
        loop {
            while let Some(area) = self.known.last() {
                let end = area.offset + area.length;
                if end > offset {
                    return Ok(Some(area.offset..end));
                }
                self.known.pop();
            }
            if self.until >= self.disk.capacity() {
                return Ok(None);
            }
            let length = WINDOW.min(self.disk.capacity() - self.until);
            self.known = self.disk.allocated(self.until, length)?;
            self.known.reverse();
            self.populated += self.known.iter().map(|area| area.length).sum::<u64>();
            self.until += length;
        }
    }
}

/// Where a thread writes what a connection is to send.
struct Outlet<'a> {
    transfer: &'a Transfer,
    sender: &'a mpsc::Sender<io::Result<Bytes>>,
    waiting: Vec<u8>,
    digests: Digests,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digests.update(bytes);
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.transfer.check()?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Takes a file in. What cannot be taken ends the lease.
pub(crate) fn receive(
    shared: &Shared,
    transfer: &Transfer,
    pieces: mpsc::Receiver<Piece>,
    overwrite: bool,
) -> Result<(), Failure> {
    let mut inlet =
        Inlet { transfer, pieces, piece: Bytes::new(), ended: false, lost: false, digests: Digests::new() };
    let received = match transfer.is_disk() {
        true => receive_disk(shared, transfer, &mut inlet).map(Some),
        false => receive_file(transfer, &mut inlet, overwrite).map(|()| None),
    };
    let received =
        received.and_then(|done| transfer.reach(shared, 1, 1).map(|()| done).map_err(|_| Failure::Over));
    let received = received.map_err(|failure| match failure {
        // What was behind the failure comes first.
        Failure::Content(_) | Failure::Storage(_) if *transfer.over.borrow() => Failure::Over,
        Failure::Content(_) if inlet.lost => Failure::Lost,
        other => other,
    });
    let (carried, outcome): (Option<Carried>, _) = match received {
        Ok(populated) => (Some(inlet.digests.finish(populated)), Ok(())),
        Err(failure) => (None, Err(failure)),
    };
    // First the lease ends, if it has to: as long as the file is being received, nothing is removed.
    if let Err(Failure::Content(_) | Failure::Storage(_)) = &outcome {
        let reason = match &outcome {
            Err(Failure::Storage(fault)) => fault.clone(),
            Err(Failure::Content(text)) => {
                let base = t::FileFault { file: transfer.file.path.clone(), ..Default::default() };
                fault(base, format!("{} could not be imported: {text}", transfer.file.name))
            }
            _ => return outcome,
        };
        shared.update(|world| world.end_lease(&transfer.lease, Stage::Failed, Some(reason)));
    }
    transfer.note(shared, |file| {
        file.receiving = false;
        file.carried = carried;
    });
    outcome
}

/// Answers how many bytes of the disk have content.
fn receive_disk(shared: &Shared, transfer: &Transfer, inlet: &mut Inlet<'_>) -> Result<u64, Failure> {
    let stored = |error: sim_store::Error| Failure::Storage(from_store(&error, &transfer.file.path));
    let read = |error: vmdk::Error| Failure::Content(describe(&error));
    let disk = Disk::open(&transfer.file.host, Access::ReadWrite, Scope::WholeChain).map_err(stored)?;
    if transfer.file.touched {
        disk.zero_at(0, disk.capacity()).map_err(stored)?;
    }
    let mut reader = StreamReader::new(inlet).map_err(read)?;
    if reader.capacity() != disk.capacity() {
        return Err(Failure::Content(format!(
            "the stream is of a disk of {} bytes, and this one has {}",
            reader.capacity(),
            disk.capacity()
        )));
    }
    let mut populated = 0;
    while let Some(grain) = reader.next_grain().map_err(read)? {
        transfer.reach(shared, grain.offset, disk.capacity()).map_err(|_| Failure::Over)?;
        disk.write_at(grain.offset, grain.data).map_err(stored)?;
        populated += grain.data.len() as u64;
    }
    disk.flush().map_err(stored)?;
    Ok(populated)
}

fn receive_file(transfer: &Transfer, inlet: &mut Inlet<'_>, overwrite: bool) -> Result<(), Failure> {
    let path = &transfer.file.host;
    if !overwrite && path.exists() {
        return Err(Failure::Exists);
    }
    // Under another name until all of it is there.
    let folder = path.parent().unwrap_or(std::path::Path::new("/"));
    let (temporary, mut file) = Temporary::create(folder).map_err(|error| storage(transfer, &error))?;
    pour(inlet, &mut file, |error| storage(transfer, error))?;
    temporary.replace(path).map(|_| ()).map_err(|error| storage(transfer, &error))
}

/// Copies all of a body, and tells a body that broke off from a file that takes no more.
fn pour(
    inlet: &mut Inlet<'_>,
    file: &mut File,
    failed: impl Fn(&io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    loop {
        match inlet.read(&mut buffer) {
            Ok(0) => return file.sync_data().map_err(|error| failed(&error)),
            Ok(read) => host_file::claim(&inlet.transfer.file.host, read as u64)
                .and_then(|()| file.write_all(&buffer[..read]))
                .map_err(|error| failed(&error))?,
            Err(error) => return Err(Failure::Content(error.to_string())),
        }
    }
}

fn storage(transfer: &Transfer, error: &io::Error) -> Failure {
    let base = t::FileFault { file: transfer.file.path.clone(), ..Default::default() };
    Failure::Storage(match error.kind() {
        io::ErrorKind::StorageFull => {
            no_disk_space(&transfer.file.path, format!("{}: {error}", transfer.file.path))
        }
        _ => fault(base, format!("{}: {error}", transfer.file.path)),
    })
}

/// Where a thread reads what a connection brings.
struct Inlet<'a> {
    transfer: &'a Transfer,
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
    lost: bool,
    digests: Digests,
}

impl Read for Inlet<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            self.transfer.check()?;
            match self.pieces.blocking_recv() {
                Some(Piece::Data(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => {
                    self.lost = true;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.digests.update(&self.piece[..length]);
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
