//! The memory that a program shares with one worker process, handed out in regions.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::process::Shared;
use crate::ffi::{Mapping, PAGE, SharedFile};
use crate::wire::ToWorker;

/// Bytes of regions that are kept for the next one of the same size: mapping and filling pages anew costs more than a read.
const KEPT_BYTES: usize = 64 << 20;

/// The file behind all regions of one worker.
pub(super) struct Memory {
    file: SharedFile,
    state: Mutex<State>,
}

struct State {
    next_region: u64,
    /// Where the file ends. Places are not used twice: there are 2^63 of them, and the memory of those given up is freed.
    end: u64,
    kept: Vec<Chunk>,
    kept_bytes: usize,
    /// Given up, and the worker does not know it yet. Regions are dropped on the thread that reads from the worker too, which
    /// must not wait for it to read.
    given_up: Vec<u64>,
}

#[derive(Clone)]
struct Chunk {
    number: u64,
    offset: u64,
    mapping: Arc<Mapping>,
}

/// A part of the shared memory that is in use. Given back when dropped.
pub(crate) struct Region {
    chunk: Chunk,
    process: Arc<Shared>,
}

impl Memory {
    pub(super) fn new(file: SharedFile) -> Memory {
        let state = State { next_region: 1, end: 0, kept: Vec::new(), kept_bytes: 0, given_up: Vec::new() };
        Memory { file, state: Mutex::new(state) }
    }

    /// A region of at least so many bytes, whatever they hold.
    pub(super) fn allocate(process: &Arc<Shared>, length: usize) -> io::Result<Region> {
        let memory = &process.memory;
        let length = length
            .max(1)
            .checked_next_multiple_of(PAGE)
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let (number, offset, given_up) = {
            let mut state = memory.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = state.kept.iter().rposition(|chunk| chunk.mapping.length() == length) {
                state.kept_bytes -= length;
                let chunk = state.kept.swap_remove(place);
                return Ok(Region { chunk, process: Arc::clone(process) });
            }
            let place = (state.next_region, state.end, std::mem::take(&mut state.given_up));
            state.next_region += 1;
            state.end = state.end.saturating_add(length as u64);
            place
        };
        given_up.into_iter().for_each(|region| process.tell(&ToWorker::Unmap { region }));
        memory.file.reserve(offset, length)?;
        let mapping = memory.file.map(offset, length)?;
        // A worker that does not hear of it is dead, and says so to whoever uses the region.
        process.tell(&ToWorker::Map { region: number, offset, length: length as u64 });
        let chunk = Chunk { number, offset, mapping: Arc::new(mapping) };
        Ok(Region { chunk, process: Arc::clone(process) })
    }

    fn take_back(&self, chunk: Chunk) {
        let length = chunk.mapping.length();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.kept_bytes + length <= KEPT_BYTES {
                state.kept_bytes += length;
                state.kept.push(chunk);
                return;
            }
            state.given_up.push(chunk.number);
        }
        // The last share is the region's own, which is being dropped.
        if let Err(error) = self.file.release(chunk.offset, length) {
            tracing::warn!(%error, "shared memory could not be given back");
        }
    }
}

impl Region {
    /// Its number, for the worker.
    pub(super) fn number(&self) -> u64 {
        self.chunk.number
    }

    /// Its bytes, as far as this process sees them.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.chunk.mapping
    }

    /// Whether it is shared with this worker.
    pub(super) fn is_of(&self, process: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.process, process)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.process.memory.take_back(self.chunk.clone());
    }
}
