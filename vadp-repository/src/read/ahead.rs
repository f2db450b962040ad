//! Decoded chunks that were read lately or will be soon: what makes many small reads in a row as fast as the store.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::error::Result;
use crate::ids::ChunkId;
use crate::repository::closed;

/// Chunks that are on their way from the store at a time, over all disks. Enough to hide the latency of a bucket.
const FETCHES: usize = 24;
/// Chunks that are fetched before they are asked for.
const WINDOW: u64 = 16;
/// Places at which one disk may be read in a row at the same time.
const STREAMS: usize = 8;

/// A chunk that is there, or that the first of those who want it is fetching.
type Cell = Arc<OnceCell<Bytes>>;

/// The chunks that were used last, over all disks of a repository.
pub(crate) struct ChunkCache {
    /// Last used last. There are some dozens, so looking through them costs less than keeping a second structure.
    cells: Mutex<VecDeque<(ChunkId, Cell)>>,
    most: usize,
    fetches: Arc<Semaphore>,
}

impl ChunkCache {
    /// Room for `bytes`, and for four chunks at least.
    pub(crate) fn new(bytes: u32, chunk_size: u32) -> Self {
        let most = (bytes / chunk_size.max(1)).max(4) as usize;
        Self { cells: Mutex::default(), most, fetches: Arc::new(Semaphore::new(FETCHES)) }
    }

    /// The chunk, which `fetch` gets unless it is there or somebody else is getting it.
    pub(crate) async fn get(&self, id: ChunkId, fetch: impl Future<Output = Result<Bytes>>) -> Result<Bytes> {
        let cell = self.cell(id);
        let fetched = async {
            let _permit = self.fetches.acquire().await.map_err(closed)?;
            fetch.await
        };
        cell.get_or_try_init(|| fetched).await.cloned()
    }

    /// Gets the chunk into the cache, with a permit of [`may_read_ahead`](Self::may_read_ahead).
    pub(crate) async fn read_ahead(
        &self,
        id: ChunkId,
        _permit: OwnedSemaphorePermit,
        fetch: impl Future<Output = Result<Bytes>>,
    ) {
        // Whoever needs the chunk meets the error again, and can say where.
        let _ = self.cell(id).get_or_try_init(|| fetch).await;
    }

    /// Leave to fetch a chunk that nobody waits for; `None` while those are busy who fetch what somebody waits for.
    pub(crate) fn may_read_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.fetches).try_acquire_owned().ok()
    }

    /// How far ahead to read, so that nothing is pushed out before it is used.
    pub(crate) fn window(&self) -> u64 {
        WINDOW.min(self.most as u64 / 4)
    }

    fn cell(&self, id: ChunkId) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cells.iter().rposition(|(known, _)| *known == id);
        let cell = found.and_then(|at| cells.remove(at)).map_or_else(Cell::default, |(_, cell)| cell);
        if cells.len() >= self.most {
            cells.pop_front();
        }
        cells.push_back((id, Arc::clone(&cell)));
        cell
    }
}

/// Where a disk is being read in a row.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<VecDeque<Stream>>);

#[derive(Debug)]
struct Stream {
    /// The chunk that continues it.
    next: u64,
    /// The first chunk that has not been asked for ahead.
    ahead: u64,
}

impl Streams {
    /// Notes that a chunk is read, and gives the chunks that are now to be fetched ahead: none unless the chunk before was read too.
    pub(crate) fn note(&self, chunk: u64, window: u64) -> Range<u64> {
        let next = chunk.saturating_add(1);
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.iter().any(|stream| stream.next == next) {
            return next..next;
        }
        if let Some(stream) = streams.iter_mut().find(|stream| stream.next == chunk) {
            let from = stream.ahead.max(next);
            let to = next.saturating_add(window).max(from);
            *stream = Stream { next, ahead: to };
            return from..to;
        }
        if streams.len() >= STREAMS {
            streams.pop_front();
        }
        streams.push_back(Stream { next, ahead: next });
        next..next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ahead_of_who_reads_in_a_row_and_of_nobody_else() {
        let streams = Streams::default();
        assert!(streams.note(10, 4).is_empty());
        assert!(streams.note(10, 4).is_empty(), "the same chunk again is no row");
        assert_eq!(streams.note(11, 4), 12..16);
        assert_eq!(streams.note(12, 4), 16..17);
        assert!(streams.note(700, 4).is_empty());
        assert_eq!(streams.note(13, 4), 17..18, "another reader does not break a row");
        assert_eq!(streams.note(701, 4), 702..706);
        assert!(streams.note(u64::MAX, 4).is_empty());
    }

    #[tokio::test]
    async fn fetches_once_for_all_who_want_a_chunk_and_forgets_the_oldest() {
        let cache = ChunkCache::new(0, 1 << 20);
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let get = async |number: u8| {
            let fetch = async {
                fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(Bytes::from(vec![number]))
            };
            cache.get(ChunkId([number; 32]), fetch).await.unwrap()[0]
        };
        assert_eq!(futures::join!(get(1), get(1), get(1)), (1, 1, 1));
        assert_eq!(fetched.load(std::sync::atomic::Ordering::Relaxed), 1);
        for number in [2, 3, 1, 4, 5, 1] {
            assert_eq!(get(number).await, number);
        }
        assert_eq!(
            fetched.load(std::sync::atomic::Ordering::Relaxed),
            5,
            "1 was used in between, so it stays"
        );
        get(2).await;
        assert_eq!(fetched.load(std::sync::atomic::Ordering::Relaxed), 6);
    }
}
