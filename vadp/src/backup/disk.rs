use std::sync::Arc;

use bytes::Bytes;
use vadp_repository::{DiskSpec, PointSink, StoredDisk, StoredPoint};
use vim_api::mo::{Managed, VirtualMachineSnapshot};

use super::{Backup, DiskOutcome};
use crate::cbt::{self, Answer, ChangedMap, Decision, Facts, ParentFacts, Reason};
use crate::error::{Error, ErrorKind};
use crate::machine::DiskConfig;
use crate::pipeline::{self, Scope};
use crate::progress::{Event, Report};
use crate::stored::{self, DiskMetadata};

/// What the disks of a backup have in common.
pub(super) struct Work<'a> {
    pub(super) backup: &'a Backup<'a>,
    pub(super) snapshot: &'a VirtualMachineSnapshot,
    pub(super) parent: Option<&'a dyn StoredPoint>,
    pub(super) sink: &'a dyn PointSink,
    pub(super) report: &'a Report<'a>,
}

impl Work<'_> {
    /// Backs up one disk: decide, open, audit, copy, finish.
    pub(super) async fn run(&self, disk: &DiskConfig) -> Result<(DiskOutcome, Bytes), Error> {
        let parent = in_parent(self.parent, disk).await?;
        let (mut decision, mut changed) = self.decide(disk, parent.as_ref()).await?;
        let snapshot = self.snapshot.moref();
        let source =
            self.backup.transport.open_source(self.backup.vm, snapshot.value(), &disk.file_name).await?;
        if source.capacity() != disk.capacity {
            let found = source.capacity();
            let context = format!(
                "{} has {} bytes in the snapshot, and the transport sees {found}",
                disk.label, disk.capacity
            );
            return Err(Error::new(ErrorKind::ShortRead, context));
        }
        let mut audited = 0;
        if let (Some(map), Some((reader, _))) = (&changed, &parent) {
            let audit = self.backup.audit.run(&*source, &**reader, map).await?;
            audited = audit.bytes;
            if let Some(chunk) = audit.lie {
                tracing::error!(disk = %disk.label, chunk, "changed block tracking did not tell of a change");
                self.report.tell(Event::TrackingLied { key: disk.key, label: &disk.label, chunk });
                (decision, changed) = (Decision::Full(Reason::Distrusted), None);
            }
        }
        let spec = DiskSpec { key: stored::disk_key(disk.key), capacity_bytes: disk.capacity };
        let parent = match &decision {
            Decision::Incremental(_) => self.parent.map(|point| point.id()),
            Decision::Full(_) => None,
        };
        let context = || format!("backing up {}", disk.label);
        let writer = self.sink.disk(spec, parent).await;
        let mut writer = writer.map_err(|e| Error::repository(context(), e))?;
        let scope = match changed {
            Some(map) => Scope::Changed(map.changed().clone()),
            None => Scope::Allocated,
        };
        let to_read = scope.to_read(&*source, u64::from(writer.chunk_size())).await?;
        self.report.tell(Event::DiskPlanned {
            key: disk.key,
            label: &disk.label,
            capacity: disk.capacity,
            decision: &decision,
            to_read,
        });
        let read = pipeline::copy(&*source, &scope, &mut *writer, disk.key, to_read, self.report).await?;
        let summary = writer.finish().await.map_err(|e| Error::repository(context(), e))?;
        let transport = source.transport().to_owned();
        source.close().await?;
        self.report.tell(Event::DiskDone { key: disk.key });
        let metadata = stored::encode(&DiskMetadata::new(disk, &decision, &transport))?;
        let (key, capacity) = (disk.key, disk.capacity);
        Ok((DiskOutcome { key, capacity, decision, read, audited, transport, summary }, metadata))
    }

    /// Asks the server for what changed, where the facts allow an incremental backup.
    async fn decide(
        &self,
        disk: &DiskConfig,
        parent: Option<&ParentDisk>,
    ) -> Result<(Decision, Option<ChangedMap>), Error> {
        let decision = decide(self.backup.full, disk, parent);
        let Decision::Incremental(since) = &decision else { return Ok((decision, None)) };
        match cbt::query(self.backup.vm.vm(), self.snapshot, disk.key, disk.capacity, since).await? {
            Answer::Map(map) => Ok((decision, Some(map))),
            Answer::Refused(fault) => Ok((Decision::Full(Reason::Refused { fault }), None)),
        }
    }
}

/// A disk of the latest restore point.
pub(super) type ParentDisk = (Arc<dyn StoredDisk>, DiskMetadata);

/// The disk in the latest restore point, if it has it.
pub(super) async fn in_parent(
    point: Option<&dyn StoredPoint>,
    disk: &DiskConfig,
) -> Result<Option<ParentDisk>, Error> {
    let Some(point) = point else { return Ok(None) };
    let key = stored::disk_key(disk.key);
    if !point.info().disks.iter().any(|d| d.key == key) {
        return Ok(None);
    }
    let reader = point
        .disk(&key)
        .await
        .map_err(|e| Error::repository(format!("reading the parent of {}", disk.label), e))?;
    let metadata = DiskMetadata::from_bytes(reader.metadata())?;
    Ok(Some((reader, metadata)))
}

/// What the facts say, before the server is asked.
pub(super) fn decide(full: bool, disk: &DiskConfig, parent: Option<&ParentDisk>) -> Decision {
    if full {
        return Decision::Full(Reason::Requested);
    }
    let parent_id = parent.and_then(|(_, metadata)| metadata.parsed_change_id());
    cbt::decide(Facts {
        parent: parent.map(|(reader, metadata)| ParentFacts {
            change_id: parent_id.as_ref(),
            capacity: reader.capacity(),
            backing_uuid: metadata.backing_uuid.as_deref(),
            distrusted: metadata.full_because == Some(Reason::Distrusted),
        }),
        snapshot_change_id: disk.change_id.as_ref(),
        capacity: disk.capacity,
        backing_uuid: disk.backing_uuid.as_deref(),
    })
}
