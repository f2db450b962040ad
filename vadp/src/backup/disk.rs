use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use vadp_repository::{DiskSpec, PointSink, StoredDisk, StoredPoint};
use vim_api::mo::{Managed, VirtualMachineSnapshot};

use super::{Backup, DiskOutcome};
use crate::capture::Part;
use crate::cbt::{self, Answer, ChangedMap, Decision, Facts, ParentFacts, Reason, Signs};
use crate::error::{Error, ErrorKind};
use crate::machine::DiskConfig;
use crate::pipeline::{ChunkSet, Copy, Engine, Scope, Telling};
use crate::progress::{Event, Report};
use crate::resume::ResumeLog;
use crate::stored::{self, DiskMetadata};
use crate::transport::DiskSource;
use crate::transport::retry::{Open, Patience, Retrying};

/// What the disks of a backup have in common.
pub(super) struct Work<'a> {
    pub(super) backup: &'a Backup<'a>,
    pub(super) engine: &'a Engine,
    pub(super) patience: Patience,
    pub(super) snapshot: &'a VirtualMachineSnapshot,
    pub(super) parent: Option<&'a dyn StoredPoint>,
    pub(super) sink: &'a dyn PointSink,
    /// What the store is known to have of this very snapshot, and where more of that is written down.
    pub(super) log: &'a ResumeLog,
    pub(super) report: &'a Report<'a>,
    pub(super) signs: &'a Signs,
}

/// How a disk is to be backed up.
struct Plan {
    decision: Decision,
    changed: Option<ChangedMap>,
    parent: Option<ParentDisk>,
}

impl Work<'_> {
    /// Backs up one disk: decide, open, audit, copy, finish. When that fails, the other disks of the run are given up too.
    pub(super) async fn run(&self, disk: &DiskConfig) -> Result<(DiskOutcome, Bytes), Error> {
        let done = self.back_up(disk).await;
        if done.is_err() {
            self.engine.stop();
        }
        done
    }

    async fn back_up(&self, disk: &DiskConfig) -> Result<(DiskOutcome, Bytes), Error> {
        let plan = self.engine.unless_stopped(Box::pin(self.decide(disk))).await?;
        // Opening is not broken off: what opens in the end would be open when the snapshot is removed.
        let source = Box::pin(Retrying::open(self.open(disk), self.patience.clone())).await?;
        let copied = self.engine.unless_stopped(Box::pin(self.copy(disk, &source, plan))).await;
        let closed = (Box::new(source) as Box<dyn DiskSource>).close().await;
        let done = copied?;
        closed?;
        self.report.tell(Event::DiskDone { key: disk.key });
        Ok(done)
    }

    fn open(&self, disk: &DiskConfig) -> Open {
        let (transport, vm) = (self.backup.transport.clone(), self.backup.vm.clone());
        let (snapshot, path) = (self.snapshot.moref().value().to_owned(), disk.file_name.clone());
        Arc::new(move || {
            let (transport, vm, snapshot, path) =
                (transport.clone(), vm.clone(), snapshot.clone(), path.clone());
            async move { transport.open_source(&vm, &snapshot, &path).await }.boxed()
        })
    }

    async fn copy(
        &self,
        disk: &DiskConfig,
        source: &dyn DiskSource,
        plan: Plan,
    ) -> Result<(DiskOutcome, Bytes), Error> {
        let Plan { mut decision, mut changed, parent } = plan;
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
            let audit = Box::pin(self.backup.audit.run(source, &**reader, map)).await?;
            audited = audit.bytes;
            if let Some(chunk) = audit.lie {
                tracing::error!(disk = %disk.label, chunk, "changed block tracking did not tell of a change");
                self.report.tell(Event::TrackingLied { key: disk.key, label: &disk.label, chunk });
                (decision, changed) = (Decision::Full(Reason::Distrusted), None);
            }
        }
        let spec = DiskSpec { key: stored::disk_key(disk.key), capacity_bytes: disk.capacity };
        let parent_point = match &decision {
            Decision::Incremental(_) => self.parent.map(|point| point.id()),
            Decision::Full(_) => None,
        };
        let context = || format!("backing up {}", disk.label);
        let sink = self.sink.disk(spec, parent_point).await;
        let mut sink = sink.map_err(|e| Error::repository(context(), e))?;
        let mut resumed = ChunkSet::default();
        for receipt in self.log.receipts(disk.key)? {
            let chunks = sink.resume(&receipt).await.map_err(|e| Error::repository(context(), e))?;
            chunks.into_iter().for_each(|chunk| resumed.insert(chunk));
        }
        let scope = match changed {
            Some(map) => Scope::Changed(map.changed().clone()),
            None => Scope::Allocated,
        };
        let merge_with = parent.as_ref().filter(|_| self.backup.audit.trusts_parts());
        let copy = Copy {
            engine: self.engine,
            source,
            scope: &scope,
            parent: merge_with.map(|(reader, _)| &**reader),
            chunk_size: u64::from(sink.chunk_size()),
            resumed: &resumed,
        };
        let to_read = copy.to_read().await?;
        self.report.tell(Event::DiskPlanned {
            key: disk.key,
            label: &disk.label,
            capacity: disk.capacity,
            decision: &decision,
            to_read,
        });
        let keep = |receipt: &Bytes| self.log.append(disk.key, receipt);
        let told = Telling { key: disk.key, total: to_read, report: self.report, keep: &keep };
        let read = Box::pin(copy.run(&mut *sink, &told)).await?;
        let summary = sink.finish().await.map_err(|e| Error::repository(context(), e))?;
        let transport = source.transport().to_owned();
        let descriptor = Part::of_disk(source.descriptor().await);
        let metadata = stored::encode(&DiskMetadata::new(disk, &decision, &transport, descriptor))?;
        let (key, capacity, resumed) = (disk.key, disk.capacity, resumed.length());
        Ok((DiskOutcome { key, capacity, decision, read, resumed, audited, transport, summary }, metadata))
    }

    /// Asks the server for what changed, where the facts allow an incremental backup.
    async fn decide(&self, disk: &DiskConfig) -> Result<Plan, Error> {
        let parent = in_parent(self.parent, disk).await?;
        let decision = decide(self.backup.full, disk, parent.as_ref(), self.signs);
        let Decision::Incremental(since) = &decision else {
            return Ok(Plan { decision, changed: None, parent });
        };
        let vm = self.backup.vm.vm();
        match cbt::query(vm, self.snapshot, disk.key, disk.capacity, since).await? {
            Answer::Map(map) => Ok(Plan { decision, changed: Some(map), parent }),
            Answer::Refused(fault) => {
                Ok(Plan { decision: Decision::Full(Reason::Refused { fault }), changed: None, parent })
            }
        }
    }
}

/// A disk of the latest restore point.
pub(crate) type ParentDisk = (Arc<dyn StoredDisk>, DiskMetadata);

/// The disk in the latest restore point, if it has it.
pub(crate) async fn in_parent(
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
pub(crate) fn decide(full: bool, disk: &DiskConfig, parent: Option<&ParentDisk>, signs: &Signs) -> Decision {
    if full {
        return Decision::Full(Reason::Requested);
    }
    let parent_id = parent.and_then(|(_, metadata)| metadata.parsed_change_id());
    cbt::decide(Facts {
        parent: parent.map(|(reader, metadata)| ParentFacts {
            change_id: parent_id.as_ref(),
            capacity: reader.capacity(),
            backing_uuid: metadata.backing_uuid.as_deref(),
            distrusted: metadata.full_because.as_ref().is_some_and(Reason::is_lasting),
        }),
        snapshot_change_id: disk.change_id.as_ref(),
        capacity: disk.capacity,
        backing_uuid: disk.backing_uuid.as_deref(),
        signs,
    })
}
