//! One disk of a new machine: its descriptor, its data, and the proof.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use vadp_repository::{Chunk, StoredDisk};

use super::run::RecoveredDisk;
use super::spec::Identity;
use crate::compare::range_of;
use crate::error::{Error, ErrorKind};
use crate::machine::ProtectedVm;
use crate::pipeline::{READ_AHEAD, windows};
use crate::progress::{Event, Meter, Phase, Report};
use crate::transport::{DiskSink, DiskSource, Vddk};
use crate::verify::{Verify, read_back};

/// A disk that was just made, and what it is to hold.
pub(super) struct Filling<'a> {
    pub(super) vm: &'a ProtectedVm,
    pub(super) transport: &'a Vddk,
    pub(super) reader: &'a dyn StoredDisk,
    /// The device key that it had.
    pub(super) saved_key: i32,
    pub(super) key: i32,
    pub(super) file: &'a str,
    /// The descriptor's keys that it had.
    pub(super) descriptor: Option<&'a BTreeMap<String, String>>,
    pub(super) identity: Identity,
    pub(super) verify: Verify,
}

impl Filling<'_> {
    /// Fills it. The disk is fresh: what is not written reads as zeros, and reading back says whether that is so.
    pub(super) async fn fill(&self, report: &Report<'_>) -> Result<(RecoveredDisk, Option<String>), Error> {
        let sink = self.transport.open_sink(self.vm, self.file).await?;
        let capacity = sink.capacity();
        if capacity != self.reader.capacity() {
            let text = format!(
                "{} was made with {capacity} bytes, and the restore point has {}",
                self.file,
                self.reader.capacity()
            );
            return Err(Error::new(ErrorKind::OutcomeUnknown, text));
        }
        report.tell(Event::DiskOpened { key: self.key, capacity });
        // The descriptor first: with data in the disk, nobody wants to see it fail.
        let keys = self.descriptor.map(|keys| to_write(keys, self.identity)).unwrap_or_default();
        let warning = match sink.set_descriptor(keys).await {
            Ok(()) => None,
            Err(error) => Some(format!("{}: its descriptor is the server's own: {error}", self.file)),
        };
        let written = write(&*sink, self.reader, self.key, report).await?;
        sink.flush().await?;
        (sink as Box<dyn DiskSource>).close().await?;
        let source = self.transport.open_for_verification(self.vm, self.file).await?;
        let read = read_back(&*source, self.reader, self.key, self.verify, None, report).await?;
        source.close().await?;
        report.tell(Event::DiskDone { key: self.key });
        let disk = RecoveredDisk {
            saved_key: self.saved_key,
            key: self.key,
            file: self.file.to_owned(),
            capacity,
            written,
            verified: read.verified,
            digest: read.digest,
        };
        Ok((disk, warning))
    }
}

/// The keys of a descriptor that belong to the disk's content and not to its file: what guests and tools go by.
fn to_write(saved: &BTreeMap<String, String>, identity: Identity) -> BTreeMap<String, String> {
    let belongs = |key: &str| {
        key.starts_with("geometry.")
            || key.starts_with("ddb.geometry.")
            || matches!(
                key,
                "toolsVersion" | "ddb.toolsVersion" | "toolsInstallType" | "ddb.toolsInstallType"
            )
            || matches!(key, "uuid" | "ddb.uuid") && identity == Identity::Same
    };
    saved.iter().filter(|(key, _)| belongs(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Writes what the restore point has. Each chunk is held against its digest when it is read.
async fn write(
    sink: &dyn DiskSink,
    reader: &dyn StoredDisk,
    key: i32,
    report: &Report<'_>,
) -> Result<u64, Error> {
    let (mut written, mut meter) = (0, Meter::new());
    let total = sink.capacity();
    let chunk_size = u64::from(reader.chunk_size());
    for window in windows(total) {
        let here = window.start() / chunk_size..window.end().div_ceil(chunk_size);
        let chunks = reader.chunks(here).await;
        let chunks = chunks.map_err(|e| Error::repository("reading the map of the restore point", e))?;
        let read = futures::stream::iter(chunks).map(|chunk| async move {
            let data = reader.read_chunk(chunk).await;
            let data = data
                .map_err(|e| Error::repository(format!("reading chunk {chunk} of the restore point"), e))?;
            Ok::<_, Error>((range_of(reader, chunk)?, data))
        });
        let mut read = read.buffered(READ_AHEAD);
        while let Some((range, chunk)) = read.try_next().await? {
            if let Chunk::Data(data) = chunk {
                sink.write(range.start(), data).await?;
                written += range.length();
            }
            report.tell(meter.event(key, Phase::Write, range.end(), total));
        }
    }
    report.tell(meter.event(key, Phase::Write, total, total));
    Ok(written)
}
