//! Reading all of a disk: ahead of who takes the bytes, and in the order in which they lie in packs.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::disk::DiskReader;
use super::map::{AllocatedChunks, MapEntry};
use crate::crypto::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ChunkId;
use crate::index::Place;
use crate::repository::{Shared, pack_name};

/// Windows that are read while another one is handed out.
const WINDOWS_AHEAD: usize = 2;
/// Parts of a window that are read at a time.
const READS: usize = 4;
/// Most bytes of one read.
const READ_BYTES: u64 = 4 << 20;
/// Chunks that are this far apart in a pack are read at once: reading what is between costs less than asking again.
const GAP_BYTES: u64 = 64 << 10;

/// Chunk indexes and their bytes.
type Window = Vec<(u64, Bytes)>;

/// The chunks of a disk that hold data, in rising order, verified; read ahead of whoever takes them, several at a time. Chunks that
/// lie side by side in a pack are read at once. Memory: about one and a half times [`Limits::in_flight_bytes`](crate::Limits::in_flight_bytes).
pub struct DiskStream {
    reader: DiskReader,
    walk: Option<AllocatedChunks>,
    windows: VecDeque<JoinHandle<Result<Window>>>,
    ready: std::vec::IntoIter<(u64, Bytes)>,
}

impl DiskReader {
    /// Reads the whole disk, in order and ahead: what a restore wants. What it leaves out is zero.
    pub fn stream(&self) -> DiskStream {
        let walk = Some(self.allocated_chunks());
        DiskStream { reader: self.clone(), walk, windows: VecDeque::new(), ready: Vec::new().into_iter() }
    }
}

impl DiskStream {
    /// The next chunk that holds data: its index and its bytes. `None` at the end.
    ///
    /// # Errors
    /// As [`DiskReader::read_chunk`]. Afterwards there is nothing more to be had from it.
    pub async fn next(&mut self) -> Result<Option<(u64, Bytes)>> {
        loop {
            if let Some(next) = self.ready.next() {
                return Ok(Some(next));
            }
            while self.windows.len() <= WINDOWS_AHEAD && self.walk.is_some() {
                self.begin_window().await?;
            }
            let Some(first) = self.windows.front_mut() else { return Ok(None) };
            let window = first.await;
            self.windows.pop_front();
            let window = window.map_err(|source| {
                Error::new(ErrorKind::Internal, "a read was stopped before its end").with_source(source)
            })?;
            self.ready = window.inspect_err(|_| self.walk = None)?.into_iter();
        }
    }

    async fn begin_window(&mut self) -> Result<()> {
        let shared = self.reader.map().shared();
        let bytes = shared.limits.in_flight_bytes / 4;
        let most = (bytes / self.reader.chunk_size()).max(1) as usize;
        let mut chunks = Vec::with_capacity(most);
        while chunks.len() < most {
            let Some(walk) = &mut self.walk else { break };
            match walk.next().await? {
                Some(chunk) => chunks.push(chunk),
                None => self.walk = None,
            }
        }
        let reader = self.reader.clone();
        self.windows.push_back(tokio::spawn(async move { read_window(&reader, chunks).await }));
        Ok(())
    }
}

impl Drop for DiskStream {
    fn drop(&mut self) {
        self.windows.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for DiskStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStream").field("reader", &self.reader).finish_non_exhaustive()
    }
}

async fn read_window(reader: &DiskReader, chunks: Vec<u64>) -> Result<Window> {
    let mut wanted = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if let MapEntry::Data(id) = reader.map().entry(chunk).await? {
            wanted.push((chunk, id));
        }
    }
    let mut read = read_together(reader.map().shared(), wanted.iter().map(|(_, id)| *id)).await;
    let mut window = Vec::with_capacity(wanted.len());
    for (chunk, id) in wanted {
        // What could not be had this way is asked for alone: there may be another copy, and else the error says all.
        let bytes = match read.get(&id) {
            Some(bytes) => bytes.clone(),
            None => reader.fetch(chunk, id).await?,
        };
        reader.check_length(chunk, id, &bytes)?;
        read.entry(id).or_insert_with(|| bytes.clone());
        window.push((chunk, bytes));
    }
    Ok(window)
}

/// Reads chunks from where the index says that they are, neighbours at once. Gives those of them that are good.
async fn read_together(shared: &Arc<Shared>, ids: impl Iterator<Item = ChunkId>) -> HashMap<ChunkId, Bytes> {
    let mut places: Vec<Place> = {
        let index = shared.index();
        ids.filter_map(|id| index.places(Content::Data, &id).ok()?.first().copied()).collect()
    };
    places.sort_unstable_by_key(|place| (place.pack, place.entry.offset));
    places.dedup();
    let reads = futures::stream::iter(neighbours(&places)).map(|places| read_range(shared, places));
    reads.buffer_unordered(READS).flat_map(futures::stream::iter).collect().await
}

/// Cuts sorted places into those that are to be read at once.
fn neighbours(places: &[Place]) -> Vec<Vec<Place>> {
    let mut reads: Vec<Vec<Place>> = Vec::new();
    for place in places {
        let joins =
            reads.last().and_then(|read| read.first().zip(read.last())).is_some_and(|(first, last)| {
                let gap = u64::from(place.entry.offset).checked_sub(last.entry.end());
                let length = place.entry.end().saturating_sub(u64::from(first.entry.offset));
                first.pack == place.pack && gap.is_some_and(|gap| gap <= GAP_BYTES) && length <= READ_BYTES
            });
        match reads.last_mut().filter(|_| joins) {
            Some(read) => read.push(*place),
            None => reads.push(vec![*place]),
        }
    }
    reads
}

async fn read_range(shared: &Arc<Shared>, places: Vec<Place>) -> Vec<(ChunkId, Bytes)> {
    let Some((first, last)) = places.first().zip(places.last()) else { return Vec::new() };
    let begin = u64::from(first.entry.offset);
    let read = async { shared.store.get_range(&pack_name(first.pack)?, begin..last.entry.end()).await };
    let Ok(sealed) = read.await else { return Vec::new() };
    let verified = futures::stream::iter(places).map(|place| {
        let at = (u64::from(place.entry.offset) - begin) as usize;
        let end = at.saturating_add(place.entry.stored as usize);
        let sealed = sealed.slice(at.min(sealed.len())..end.min(sealed.len()));
        async move {
            let bytes = shared.compute(move |shared| shared.verify(Content::Data, &place, sealed)).await?;
            Ok::<_, Error>((place.entry.id, bytes))
        }
    });
    let verified = verified.buffer_unordered(shared.limits.workers);
    verified.filter_map(async |chunk| chunk.ok()).collect().await
}
