//! Requests to a disk, several under way at once, answered in order. `benches/vddk.rs` measures with it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use futures::executor::block_on;
use vixdisklib::{AlignedBuf, Disk, SECTOR_BYTES, SectorRange, Sectors};

type Running = Pin<Box<dyn Future<Output = vixdisklib::Result<AlignedBuf>> + Send>>;

/// Requests that are under way.
pub(crate) struct Pipeline {
    depth: usize,
    running: VecDeque<(Sectors, Running, Poll<vixdisklib::Result<AlignedBuf>>)>,
}

impl Pipeline {
    pub(crate) fn new(depth: usize) -> Pipeline {
        Pipeline { depth: depth.max(1), running: VecDeque::new() }
    }

    /// Starts a request, and when there are as many as there may be, waits for the oldest and gives where it was and its buffer.
    pub(crate) fn add(
        &mut self,
        start: Sectors,
        request: impl Future<Output = vixdisklib::Result<AlignedBuf>> + Send + 'static,
    ) -> vixdisklib::Result<Option<(Sectors, AlignedBuf)>> {
        let mut request: Running = Box::pin(request);
        // A future does nothing before it is polled.
        let early = block_on(async { futures::poll!(&mut request) });
        self.running.push_back((start, request, early));
        if self.running.len() < self.depth { Ok(None) } else { self.next() }
    }

    /// Waits for the oldest request, if any is left.
    pub(crate) fn next(&mut self) -> vixdisklib::Result<Option<(Sectors, AlignedBuf)>> {
        let Some((start, request, early)) = self.running.pop_front() else { return Ok(None) };
        let buffer = match early {
            Poll::Ready(done) => done?,
            Poll::Pending => block_on(request)?,
        };
        Ok(Some((start, buffer)))
    }
}

/// Reads `ranges` in pieces of at most `piece` bytes, and hands them over in order. Buffers are used again.
pub(crate) fn read<E: From<vixdisklib::Error>>(
    disk: &Disk,
    ranges: &[SectorRange],
    piece: usize,
    depth: usize,
    mut take: impl FnMut(Sectors, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut pipeline, mut free) = (Pipeline::new(depth), Vec::<AlignedBuf>::new());
    let step = (piece as u64 / SECTOR_BYTES).max(1);
    for range in ranges {
        let mut start = range.start().0;
        while start < range.end().0 {
            let count = step.min(range.end().0 - start);
            let bytes = (count * SECTOR_BYTES) as usize;
            let buffer = match free.pop() {
                Some(buffer) if buffer.len() == bytes => buffer,
                _ => disk.buffer(bytes)?,
            };
            if let Some((at, buffer)) =
                pipeline.add(Sectors(start), disk.read_async(Sectors(start), buffer))?
            {
                take(at, &buffer)?;
                free.push(buffer);
            }
            start += count;
        }
    }
    while let Some((at, buffer)) = pipeline.next()? {
        take(at, &buffer)?;
    }
    Ok(())
}
