//! Bytes between a program and a disk in a worker process.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use futures::channel::oneshot;

use super::memory::Region;
use super::process::Process;
use crate::ffi::{AlignedBuf, CallError, Direction, Failure, bindings};
use crate::permits::{Permit, Permits};
use crate::units::{SECTOR_BYTES, Sectors};

/// A disk that is open in a worker process.
pub(crate) struct Remote {
    process: Arc<Process>,
    disk: u64,
    /// Read while a transfer is sent, so that none is sent after the disk was closed.
    open: RwLock<bool>,
}

/// The first piece of a transfer that failed, and why.
pub(crate) struct Trouble {
    pub(crate) error: CallError,
    pub(crate) sector: Sectors,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble { error: CallError::Code(failure.raw), sector: failure.sector }
    }
}

/// Memory that the worker does not see.
pub(crate) enum Plain<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

type Landing = oneshot::Receiver<Result<(), CallError>>;

impl Remote {
    pub(crate) fn new(process: Arc<Process>, disk: u64) -> Remote {
        Remote { process, disk, open: RwLock::new(true) }
    }

    /// Lets no transfer through from here on.
    pub(crate) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Memory that the worker sees too; what it holds is arbitrary.
    pub(crate) fn buffer(&self, length: usize) -> std::io::Result<AlignedBuf> {
        Ok(AlignedBuf::over(self.process.allocate(length)?, length))
    }

    /// Whether a transfer with this buffer needs no copy.
    pub(crate) fn sees(&self, buffer: &AlignedBuf) -> bool {
        buffer.region().is_some_and(|region| self.process.shares(region))
    }

    /// Reads or writes a part of a region, whose bytes nobody touches until this is over; or, when it is dropped before, until
    /// the region is free.
    pub(crate) async fn direct(
        &self,
        (permits, limit): (&Arc<Permits>, usize),
        (direction, start): (Direction, Sectors),
        region: &Arc<Region>,
        length: usize,
    ) -> Result<(), Trouble> {
        let mut flying: VecDeque<(Landing, Sectors)> = VecDeque::new();
        let mut trouble = None;
        for offset in (0..length).step_by(limit) {
            let sector = sector(start, offset);
            let permit = permits.acquire().await;
            match self.send(direction, sector, region, (offset, limit.min(length - offset)), permit) {
                Ok(landing) => flying.push_back((landing, sector)),
                Err(error) => {
                    trouble = Some(Trouble { error, sector });
                    break;
                }
            }
        }
        let mut first = None;
        for (landing, sector) in flying {
            if let Err(error) = landed(landing).await {
                first.get_or_insert(Trouble { error, sector });
            }
        }
        first.or(trouble).map_or(Ok(()), Err)
    }

    /// Reads or writes memory that the worker does not see: piece by piece through regions, with a copy for each.
    pub(crate) async fn copied(
        &self,
        (permits, limit): (&Arc<Permits>, usize),
        start: Sectors,
        mut memory: Plain<'_>,
    ) -> Result<(), Trouble> {
        let length = match &memory {
            Plain::Read(memory) => memory.len(),
            Plain::Write(memory) => memory.len(),
        };
        let mut flying: VecDeque<Flight> = VecDeque::new();
        let mut trouble = None;
        let mut offset = 0;
        while offset < length && trouble.is_none() {
            // Permits bound what is with the library; this bounds what has come back and waits to be copied.
            if flying.len() >= permits.count()
                && let Some(flight) = flying.pop_front()
            {
                trouble = flight.land(&mut memory).await.err();
                continue;
            }
            let permit = permits.acquire().await;
            let part = limit.min(length - offset);
            match self.launch(start, &memory, (offset, part), limit, permit) {
                Ok(flight) => flying.push_back(flight),
                Err(error) => trouble = Some(Trouble { error, sector: sector(start, offset) }),
            }
            offset += part;
        }
        for flight in flying {
            let landed = flight.land(&mut memory).await;
            trouble = trouble.or(landed.err());
        }
        trouble.map_or(Ok(()), Err)
    }

    fn launch(
        &self,
        start: Sectors,
        memory: &Plain<'_>,
        (offset, length): (usize, usize),
        limit: usize,
        permit: Permit,
    ) -> Result<Flight, CallError> {
        // Of one size for all pieces, so that the next one finds it again.
        let mut slot = self.buffer(limit).map_err(|error| {
            tracing::warn!(%error, "there is no memory to share with the worker process");
            CallError::Code(bindings::VDDK_E_OUT_OF_MEMORY.into())
        })?;
        let direction = match memory {
            Plain::Read(_) => Direction::Read,
            Plain::Write(memory) => {
                slot[..length].copy_from_slice(&memory[offset..offset + length]);
                Direction::Write
            }
        };
        let sector = sector(start, offset);
        let Some(region) = slot.region() else { return Err(CallError::closed()) };
        let landing = self.send(direction, sector, region, (0, length), permit)?;
        Ok(Flight { landing, slot, offset, length, sector })
    }

    fn send(
        &self,
        direction: Direction,
        sector: Sectors,
        region: &Arc<Region>,
        part: (usize, usize),
        permit: Permit,
    ) -> Result<Landing, CallError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open {
            return Err(CallError::closed());
        }
        self.process.transfer((self.disk, direction == Direction::Write, sector.0), region, part, permit)
    }
}

/// A piece under way, and where it belongs.
struct Flight {
    landing: Landing,
    slot: AlignedBuf,
    offset: usize,
    length: usize,
    sector: Sectors,
}

impl Flight {
    async fn land(self, memory: &mut Plain<'_>) -> Result<(), Trouble> {
        landed(self.landing).await.map_err(|error| Trouble { error, sector: self.sector })?;
        if let Plain::Read(memory) = memory {
            memory[self.offset..self.offset + self.length].copy_from_slice(&self.slot[..self.length]);
        }
        Ok(())
    }
}

async fn landed(landing: Landing) -> Result<(), CallError> {
    landing.await.unwrap_or_else(|_| Err(CallError::closed()))
}

fn sector(start: Sectors, offset: usize) -> Sectors {
    Sectors(start.0.saturating_add(offset as u64 / SECTOR_BYTES))
}
