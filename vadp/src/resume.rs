//! What a run writes down beside its journal, so that another can go on when it has died while its snapshot lives.
//!
//! ```text
//!   NAME.resume   a line of JSON: machine, snapshot, its disks | { device key 4 | length 4 | receipt of the store } ..
//! ```
//!
//! A snapshot does not change. So what a receipt proves of one of its disks holds for whatever backup reads that snapshot.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vim_api::mo::{Managed, VirtualMachineSnapshot};

use crate::error::Error;
use crate::held::ConvertedTemplate;
use crate::journal::{Intent, Journal};
use crate::machine::{self, DiskConfig, ProtectedVm, VmIdentity};
use crate::snapshot::{Consistency, SnapshotAttempt, SnapshotGuard, SnapshotRecord};

/// The version of the file; another one is not gone on with.
const VERSION: u32 = 1;

/// No receipt is longer: of a disk of 64 TiB it would have this many bytes.
const LONGEST_RECEIPT: u32 = 1 << 30;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    vm: VmIdentity,
    snapshot: String,
    taken: SystemTime,
    consistency: Consistency,
    attempts: Vec<SnapshotAttempt>,
    taken_ms: Option<u64>,
    disks: Vec<HeaderDisk>,
}

/// What has to be the same for a receipt to be of this disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeaderDisk {
    key: i32,
    capacity: u64,
    file_name: String,
    backing_uuid: Option<String>,
    change_id: Option<String>,
}

/// The file of a run that is under way.
#[derive(Debug)]
pub(crate) struct ResumeLog {
    path: PathBuf,
    taken: SystemTime,
    /// Where the receipts begin.
    begin: u64,
    file: Mutex<File>,
}

/// The snapshot of a run that died, and what the store has of it.
pub(crate) struct Resumed {
    pub(crate) guard: SnapshotGuard,
    pub(crate) log: ResumeLog,
    /// The template that the run had made a machine.
    pub(crate) template: Option<ConvertedTemplate>,
}

impl ResumeLog {
    /// Begins the file of a snapshot. `disks` are those of its configuration.
    pub(crate) fn begin(
        journal: &Journal,
        vm: &ProtectedVm,
        snapshot: &str,
        record: &SnapshotRecord,
        disks: &[DiskConfig],
    ) -> Result<Self, Error> {
        let path = journal.resume_file(snapshot);
        let SnapshotRecord { consistency, attempts, taken_ms } = record.clone();
        let header = Header {
            version: VERSION,
            vm: vm.identity().clone(),
            snapshot: snapshot.to_owned(),
            taken: now(),
            consistency,
            attempts,
            taken_ms,
            disks: header_disks(disks),
        };
        let write = || -> io::Result<(File, u64)> {
            let mut line = serde_json::to_vec(&header)?;
            line.push(b'\n');
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
            file.write_all(&line)?;
            file.sync_data()?;
            Ok((file, line.len() as u64))
        };
        let (file, begin) = write().map_err(|e| failed(&path, e))?;
        Ok(Self { taken: header.taken, begin, file: Mutex::new(file), path })
    }

    /// Writes a receipt down. It is safe from the death of the process at once, and from that of the machine soon: a receipt that
    /// is lost means that something is read again.
    pub(crate) fn append(&self, key: i32, receipt: &Bytes) -> Result<(), Error> {
        let Ok(length) = u32::try_from(receipt.len()) else { return Ok(()) };
        if receipt.is_empty() {
            return Ok(());
        }
        let record = [&key.to_le_bytes()[..], &length.to_le_bytes(), receipt].concat();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&record)).map_err(|e| failed(&self.path, e))
    }

    /// The moment that the snapshot shows, give or take what taking it took.
    pub(crate) fn taken(&self) -> SystemTime {
        self.taken
    }

    /// The receipts of a disk.
    pub(crate) fn receipts(&self, key: i32) -> Result<Vec<Bytes>, Error> {
        let mut receipts = Vec::new();
        self.read(|found, receipt| {
            if found == key {
                receipts.push(receipt);
            }
        })?;
        Ok(receipts)
    }

    /// Reads whole records, and says where they end.
    fn read(&self, mut each: impl FnMut(i32, Bytes)) -> Result<u64, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = || -> io::Result<u64> {
            let mut end = file.seek(SeekFrom::Start(self.begin))?;
            let mut reader = BufReader::new(&mut *file);
            loop {
                let (mut key, mut length) = ([0; 4], [0; 4]);
                if reader.read_exact(&mut key).and_then(|()| reader.read_exact(&mut length)).is_err() {
                    return Ok(end);
                }
                let length = u32::from_le_bytes(length);
                let mut receipt = Vec::new();
                let whole = length <= LONGEST_RECEIPT
                    && reader.by_ref().take(length.into()).read_to_end(&mut receipt)? == length as usize;
                if !whole {
                    return Ok(end);
                }
                end += 8 + u64::from(length);
                each(i32::from_le_bytes(key), receipt.into());
            }
        };
        read().map_err(|e| failed(&self.path, e))
    }

    /// Removes the file: its snapshot is gone.
    pub(crate) fn end(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "a file for resuming stays until the journal is tidied");
        }
    }
}

/// Looks for the snapshot of a run of this machine that died, and takes it over. One that was overtaken by a restore point made
/// `later`, or that has changed, is left to the sweeper.
pub(crate) async fn find(
    vm: &ProtectedVm,
    journal: &Journal,
    later: Option<SystemTime>,
) -> Result<Option<Resumed>, Error> {
    for orphan in journal.orphans()? {
        let Some((of, name)) = orphan.intent().snapshot() else { continue };
        if !of.is_same(vm.identity()) {
            continue;
        }
        let (name, path) = (name.to_owned(), journal.resume_file(name));
        let Some((header, log)) = open(&path) else { continue };
        if header.snapshot != name || later.is_some_and(|later| later >= header.taken) {
            continue;
        }
        let Some(moref) = crate::snapshot::find_by_name(vm, &name).await? else { continue };
        let snapshot: VirtualMachineSnapshot = vm.client().bind(&moref);
        let config = snapshot.require(VirtualMachineSnapshot::CONFIG).await;
        let config =
            config.map_err(|e| Error::api(format!("reading the configuration of the snapshot {name}"), e))?;
        if header_disks(&machine::disks(&config)) != header.disks {
            tracing::warn!(
                snapshot = name,
                "the disks of a snapshot are not those that were noted: not resumed"
            );
            continue;
        }
        // What the dead run was writing when it died is no record.
        let end = log.read(|_, _| ())?;
        let file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(end).map_err(|e| failed(&path, e))?;
        drop(file);
        // Before the snapshot, as it was taken: should this run die too, a sweep gives them back the other way round.
        let template = adopt_template(vm, journal)?;
        let Some(entry) = journal.adopt(orphan)? else { continue };
        let Header { consistency, attempts, taken_ms, .. } = header;
        let record = SnapshotRecord { consistency, attempts, taken_ms };
        let guard = SnapshotGuard::adopted(vm.clone(), snapshot, name, entry, record);
        return Ok(Some(Resumed { guard, log, template }));
    }
    Ok(None)
}

fn adopt_template(vm: &ProtectedVm, journal: &Journal) -> Result<Option<ConvertedTemplate>, Error> {
    for orphan in journal.orphans()? {
        if let Intent::Template { vm: of } = orphan.intent()
            && of.is_same(vm.identity())
            && let Some(entry) = journal.adopt(orphan)?
        {
            return Ok(Some(ConvertedTemplate::adopted(vm.clone(), entry)));
        }
    }
    Ok(None)
}

/// To the microsecond, as stores keep it: the time of a point is compared with this.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH)
}

/// `None` for a file that is absent, damaged or of another version.
fn open(path: &Path) -> Option<(Header, ResumeLog)> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let mut line = Vec::new();
    BufReader::new(&mut file).take(1 << 20).read_until(b'\n', &mut line).ok()?;
    let header: Header = serde_json::from_slice(&line).ok()?;
    if header.version != VERSION {
        return None;
    }
    let (taken, begin) = (header.taken, line.len() as u64);
    Some((header, ResumeLog { path: path.to_owned(), taken, begin, file: Mutex::new(file) }))
}

fn header_disks(disks: &[DiskConfig]) -> Vec<HeaderDisk> {
    let disk = |disk: &DiskConfig| HeaderDisk {
        key: disk.key,
        capacity: disk.capacity,
        file_name: disk.file_name.clone(),
        backing_uuid: disk.backing_uuid.clone(),
        change_id: disk.change_id.as_ref().map(ToString::to_string),
    };
    disks.iter().map(disk).collect()
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::journal(format!("writing down in {} what is stored", path.display()), source)
}
