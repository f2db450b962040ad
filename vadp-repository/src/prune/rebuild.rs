//! The index out of what packs say of themselves. See docs/repository-format.md, "Rebuilding the index".

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::{Stream, StreamExt};

use super::PruneReport;
use super::apply::remove;
use super::compact::MOST_ENTRIES;
use super::rewrite::store_index;
use crate::error::Result;
use crate::format::bytes::ByteReader;
use crate::format::header::ObjectHeader;
use crate::format::index::IndexObject;
use crate::format::pack::{PackRecord, content_of, parse_frame, trailer_of};
use crate::ids::{IndexId, PackId};
use crate::repository::lease::{Lease, VALID};
use crate::repository::{PACKS, Repository, Shared, index_name, load, pack_name, pack_of};
use crate::store::StoredObject;

/// Packs that are asked at a time.
const READ_AHEAD: usize = 8;
/// The last bytes of a pack, in which nearly every trailer is whole.
const TAIL_BYTES: u64 = 64 << 10;

/// What a rebuild of the index found and did.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Packs that no usable index object named, and that are named now.
    pub packs_found: u64,
    /// Chunks and pages in them.
    pub chunks_found: u64,
    /// Damaged index objects that were replaced and removed.
    pub objects_replaced: u64,
    /// Packs that no usable index object names and whose own list is damaged, and why. What only they hold is lost, unless a copy of an index
    /// object comes back from elsewhere.
    pub damaged: Vec<(PackId, String)>,
    /// Index objects that the store refused to remove, and why. They stay replaced all the same.
    pub refused: Vec<(String, String)>,
}

impl Repository {
    /// Names packs again that no usable index object names, by the list that each pack has at its end; and replaces damaged index
    /// objects. For a repository whose index objects were lost or altered. What the index still says is not read again.
    ///
    /// Backups and restores may go on; a prune may not, so this takes its lease. It may be stopped or die at any moment, and be run again.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) while a prune works; [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat) and
    /// [`WrongKey`](crate::ErrorKind::WrongKey) when an object cannot be read by this program or key; [`Store`](crate::ErrorKind::Store).
    pub async fn rebuild_index(&self) -> Result<RebuildReport> {
        self.shared.require_writable()?;
        let mut lease = Lease::take(&self.shared, VALID).await?;
        let done = rebuild(&self.shared, &mut lease, &BTreeSet::new()).await;
        lease.give_back(&self.shared).await;
        done
    }
}

/// As [`Repository::rebuild_index`], for who has the lease. Packs in `except` are not named.
pub(crate) async fn rebuild(
    shared: &Arc<Shared>,
    lease: &mut Lease,
    except: &BTreeSet<PackId>,
) -> Result<RebuildReport> {
    // Packs before the index: a pack whose backup ends meanwhile is named then.
    let packs = shared.store.list(PACKS).await?;
    load::rebuild(shared).await?;
    let damaged: Vec<IndexId> = shared.index().damaged().keys().copied().collect();
    let mut read = read_unnamed(shared, packs, except);
    let mut report = RebuildReport::default();
    let (mut found, mut entries) = (Vec::new(), 0);
    while let Some((pack, record)) = read.next().await {
        let record = match record {
            Ok(record) => record,
            Err(error) if error.is_not_found() => continue,
            Err(error) if error.is_damage() => {
                report.damaged.push((pack, error.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        if entries > 0 && entries + record.entries.len() > MOST_ENTRIES {
            lease.keep(shared).await?;
            // Only the last one supersedes: until it is there, the damaged ones say that something is missing.
            store_index(shared, IndexObject { supersedes: Vec::new(), packs: std::mem::take(&mut found) })
                .await?;
            entries = 0;
        }
        entries += record.entries.len();
        report.packs_found += 1;
        report.chunks_found += record.entries.len() as u64;
        found.push(record);
    }
    drop(read);
    if found.is_empty() && damaged.is_empty() {
        return Ok(report);
    }
    lease.keep(shared).await?;
    store_index(shared, IndexObject { supersedes: damaged.clone(), packs: found }).await?;
    let mut removal = PruneReport::default();
    for id in damaged {
        if remove(shared, &index_name(id)?, &mut removal).await? {
            report.objects_replaced += 1;
        }
    }
    report.refused = removal.refused;
    load::rebuild(shared).await?;
    Ok(report)
}

/// Asks packs that no usable index object names what is in them.
pub(crate) fn read_unnamed(
    shared: &Arc<Shared>,
    packs: Vec<StoredObject>,
    except: &BTreeSet<PackId>,
) -> impl Stream<Item = (PackId, Result<PackRecord>)> + Unpin {
    let named: HashSet<PackId> = shared.index().packs().iter().map(|pack| pack.pack).collect();
    let packs = packs.into_iter().filter_map(|object| Some((pack_of(&object.name)?, object.size)));
    let unnamed = packs.filter(|(pack, _)| !named.contains(pack) && !except.contains(pack));
    let read = futures::stream::iter(unnamed.collect::<Vec<_>>())
        .map(move |(pack, size)| async move { (pack, read_record(shared, pack, size).await) });
    Box::pin(read.buffered(READ_AHEAD))
}

/// Asks a pack what is in it.
async fn read_record(shared: &Arc<Shared>, pack: PackId, size: u64) -> Result<PackRecord> {
    let name = pack_name(pack)?;
    let at = size.saturating_sub(TAIL_BYTES);
    let header = shared.store.get_range(&name, 0..ObjectHeader::BYTES as u64);
    let tail = shared.store.get_range(&name, at..size);
    let (header, tail) = futures::future::try_join(header, tail).await?;
    // Before a length is believed, the header has to be that of a pack.
    content_of(&ObjectHeader::parse(&mut ByteReader::new(&header), shared.config.repository)?)?;
    let trailer = trailer_of(pack, size, &tail)?;
    let sealed = match trailer.start.checked_sub(at) {
        Some(skip) => tail.slice((skip as usize).min(tail.len())..),
        None => shared.store.get_range(&name, trailer.clone()).await?,
    };
    let length = (trailer.end - trailer.start) as usize;
    let sealed = sealed.slice(..length.min(sealed.len()));
    shared
        .compute(move |shared| {
            parse_frame(pack, shared.config.repository, &shared.keyring(), &header, trailer, &sealed)
        })
        .await
}
