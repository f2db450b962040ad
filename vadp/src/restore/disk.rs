use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use vadp_repository::{Chunk, StoredDisk};

use super::{DiskPlan, Restore, RestoredDisk};
use crate::compare::{chunks_of_interest, current, matches};
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::pipeline::{READ_AHEAD, windows};
use crate::progress::{Event, Meter, Phase, Report};
use crate::transport::{DiskSink, DiskSource};
use crate::verify::{Verify, read_back};

/// Brings one disk back, and proves it.
pub(super) async fn revert(
    restore: &Restore<'_>,
    plan: &DiskPlan,
    report: &Report<'_>,
) -> Result<RestoredDisk, Error> {
    let (key, path) = (plan.current.key, &plan.current.file_name);
    let sink = restore.transport.open_sink(restore.vm, path).await?;
    let capacity = sink.capacity();
    if capacity != plan.reader.capacity() {
        let context =
            format!("{path} has {capacity} bytes, and the restore point {}", plan.reader.capacity());
        return Err(Error::new(ErrorKind::NotEligible, context));
    }
    report.tell(Event::DiskOpened { key, capacity });
    let written = write(&*sink, &*plan.reader, key, report).await?;
    sink.flush().await?;
    (sink as Box<dyn DiskSource>).close().await?;
    // Read back over another connection: what comes cannot be out of a buffer of the one that wrote.
    let source = restore.transport.open_for_verification(restore.vm, path).await?;
    let verified = read_back(&*source, &*plan.reader, key, Verify::Full, report).await?;
    source.close().await?;
    if verified != capacity {
        let context = format!("{verified} of {capacity} bytes of {path} were verified");
        return Err(Error::new(ErrorKind::Verification, context));
    }
    report.tell(Event::DiskDone { key });
    Ok(RestoredDisk { key, capacity, written, verified })
}

/// Compares every chunk with the restore point and writes those that differ.
async fn write(
    sink: &dyn DiskSink,
    reader: &dyn StoredDisk,
    key: i32,
    report: &Report<'_>,
) -> Result<u64, Error> {
    let (mut written, mut meter) = (0, Meter::new());
    let total = sink.capacity();
    for window in windows(total) {
        let (allocated, chunks) = chunks_of_interest(sink, reader, window).await?;
        let compared = futures::stream::iter(chunks).map(|chunk| {
            let allocated = &allocated;
            async move { difference(sink, reader, allocated, chunk).await }
        });
        let mut compared = compared.buffered(READ_AHEAD);
        while let Some((range, difference)) = compared.try_next().await? {
            if let Some(data) = difference {
                sink.write(range.start(), data).await?;
                written += range.length();
            }
            report.tell(meter.event(key, Phase::Write, range.end(), total));
        }
    }
    report.tell(meter.event(key, Phase::Write, total, total));
    Ok(written)
}

/// The bytes that have to be written to a chunk, or `None` when it is right as it is.
async fn difference(
    sink: &dyn DiskSink,
    reader: &dyn StoredDisk,
    allocated: &Extents,
    chunk: u64,
) -> Result<(ByteRange, Option<Bytes>), Error> {
    let (range, current) = current(sink, reader, allocated, chunk).await?;
    if matches(reader, chunk, current.as_ref()).await? {
        return Ok((range, None));
    }
    let wanted = reader.read_chunk(chunk).await;
    let wanted = match wanted
        .map_err(|e| Error::repository(format!("reading chunk {chunk} of the restore point"), e))?
    {
        Chunk::Data(data) => data,
        Chunk::Zero => Bytes::from(vec![0; usize::try_from(range.length()).unwrap_or(0)]),
    };
    Ok((range, Some(wanted)))
}
