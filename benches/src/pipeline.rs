//! Reading a disk from its beginning to its end with several requests under way.

use std::collections::VecDeque;
use std::error::Error;

use futures::executor::block_on;
use vixdisklib::{AlignedBuf, Disk, SECTOR_BYTES, Sectors};

/// Hands each piece of `disk` to `take`, with its offset in bytes, in order. `depth` pieces are read while that one is being taken;
/// their buffers are used again.
///
/// # Errors
/// What the disk or `take` reports.
pub fn read_in_order(
    disk: &Disk,
    piece: usize,
    depth: usize,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let capacity = disk.capacity().bytes().ok_or("the disk's size is not to be had in bytes")?;
    let mut buffers = Vec::new();
    for _ in 0..depth.max(1) {
        buffers.push(AlignedBuf::zeroed(piece).ok_or("no memory for a buffer")?);
    }
    let (mut next, mut running) = (0, VecDeque::new());
    loop {
        while next < capacity && (capacity - next) >= piece as u64 {
            let Some(buffer) = buffers.pop() else { break };
            let mut read = Box::pin(disk.read_async(Sectors(next / SECTOR_BYTES), buffer));
            // A future does nothing before it is polled.
            let early = block_on(async { futures::poll!(&mut read) });
            running.push_back((next, read, early));
            next += piece as u64;
        }
        let Some((offset, read, early)) = running.pop_front() else { break };
        let buffer = match early {
            std::task::Poll::Ready(done) => done?,
            std::task::Poll::Pending => block_on(read)?,
        };
        take(offset, &buffer)?;
        buffers.push(buffer);
    }
    if next < capacity {
        let mut tail = vec![0; usize::try_from(capacity - next)?];
        disk.read(Sectors(next / SECTOR_BYTES), &mut tail)?;
        take(next, &tail)?;
    }
    Ok(())
}
