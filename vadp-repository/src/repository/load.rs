//! Loading index objects, see docs/repository-format.md, "Index" and "Reading".

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::{INDEX, Shared, blocking, id_of, index_name};
use crate::error::{Error, Result};
use crate::format::index::{IndexObject, MAX_BYTES};
use crate::ids::IndexId;
use crate::index::Index;

/// Index objects that are read at a time.
const READ_AHEAD: usize = 4;

/// Bytes of index objects that are in memory at a time, unless one alone has more.
const BATCH_BYTES: u64 = 64 << 20;

/// How often the index is listed anew when objects vanish while they are loaded: each time a prune has ended meanwhile.
const ATTEMPTS: usize = 5;

/// Loads the index objects that have appeared since the last time.
pub(crate) async fn refresh(shared: &Arc<Shared>) -> Result<()> {
    for _ in 1..ATTEMPTS {
        match refresh_once(shared).await {
            Err(error) if error.is_not_found() => {}
            done => return done,
        }
    }
    refresh_once(shared).await
}

async fn refresh_once(shared: &Arc<Shared>) -> Result<()> {
    let (known, is_spoilt) = {
        let index = shared.index();
        (index.objects().clone(), index.is_spoilt())
    };
    let listed = list_sized(shared).await?;
    let present: HashSet<IndexId> = listed.iter().map(|(id, _)| *id).collect();
    // What is no longer there was replaced by a prune, or is lost: then what it said counts no more.
    if is_spoilt || !known.is_subset(&present) {
        return rebuild(shared).await;
    }
    let unseen: Vec<_> = listed.into_iter().filter(|(id, _)| !known.contains(id)).collect();
    let mut gone = HashSet::new();
    for batch in batches(&unseen) {
        let new = load(shared, batch).await?;
        if !take_in(&mut shared.index_mut(), &new, &mut gone)? {
            // Entries of superseded objects must go.
            return rebuild(shared).await;
        }
    }
    let shared = Arc::clone(shared);
    blocking(move || shared.index_mut().settle()).await
}

/// Builds the index anew.
pub(crate) async fn rebuild(shared: &Arc<Shared>) -> Result<()> {
    loop {
        let before = shared.index().objects().clone();
        let listed = list_sized(shared).await?;
        let mut gone = HashSet::new();
        let mut rebuilt = loop {
            if let Some(index) = build(shared, &listed, &mut gone).await? {
                break index;
            }
        };
        let rebuilt = blocking(move || {
            rebuilt.settle()?;
            rebuilt.store()?;
            Ok(rebuilt)
        });
        let rebuilt = rebuilt.await?;
        let mut index = shared.index_mut();
        // What a writer of this process has added meanwhile must not get lost.
        if *index.objects() == before {
            *index = rebuilt;
            return Ok(());
        }
    }
}

/// Writes the index into the cache, if there is one.
pub(crate) async fn store(shared: &Arc<Shared>) -> Result<()> {
    let shared = Arc::clone(shared);
    blocking(move || shared.index_mut().store()).await
}

/// An index of the listed objects; `None` when one was taken in that another one supersedes, which is in `gone` now.
async fn build(
    shared: &Arc<Shared>,
    listed: &[(IndexId, u64)],
    gone: &mut HashSet<IndexId>,
) -> Result<Option<Index>> {
    let mut index = Index::new(shared.index_cache.clone());
    for batch in batches(listed) {
        let objects = load(shared, batch).await?;
        if !take_in(&mut index, &objects, gone)? {
            return Ok(None);
        }
    }
    Ok(Some(index))
}

/// Takes objects in, but for those that are superseded; `false` when one that is in already is superseded.
fn take_in(index: &mut Index, objects: &[(IndexId, Loaded)], gone: &mut HashSet<IndexId>) -> Result<bool> {
    let supersedes = objects.iter().filter_map(|(_, object)| object.as_ref().ok()).flat_map(|o| &o.supersedes);
    let new: HashSet<IndexId> = supersedes.filter(|id| !gone.contains(id)).copied().collect();
    gone.extend(&new);
    if new.iter().any(|id| index.has_object(id)) {
        return Ok(false);
    }
    for (id, object) in objects {
        match (index.has_object(id), gone.contains(id)) {
            (true, _) => {}
            (false, true) => index.skip(*id),
            (false, false) => index.push(*id, object.as_ref())?,
        }
    }
    Ok(true)
}

/// Cuts a list of objects so that each part has not too many bytes.
fn batches(objects: &[(IndexId, u64)]) -> impl Iterator<Item = Vec<IndexId>> {
    let mut rest = objects;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let more = rest.iter().take_while(|(_, size)| {
            bytes += size;
            bytes <= BATCH_BYTES
        });
        let count = more.count().max(1).min(rest.len());
        let (batch, later) = rest.split_at(count);
        rest = later;
        (count > 0).then(|| batch.iter().map(|(id, _)| *id).collect())
    })
}

pub(crate) async fn list(shared: &Shared) -> Result<Vec<IndexId>> {
    Ok(list_sized(shared).await?.into_iter().map(|(id, _)| id).collect())
}

/// All index objects and their sizes.
async fn list_sized(shared: &Shared) -> Result<Vec<(IndexId, u64)>> {
    let objects = shared.store.list(INDEX).await?;
    let id = |name: &str| IndexId::parse(id_of(INDEX, name)?).ok();
    let mut ids: Vec<_> =
        objects.iter().filter_map(|object| Some((id(&object.name)?, object.size))).collect();
    ids.sort_unstable();
    Ok(ids)
}

pub(crate) async fn load(shared: &Arc<Shared>, ids: Vec<IndexId>) -> Result<Vec<(IndexId, Loaded)>> {
    futures::stream::iter(ids).map(|id| load_one(shared, id)).buffered(READ_AHEAD).try_collect().await
}

/// An index object, or why it is of no use.
pub(crate) type Loaded = Result<IndexObject, String>;

/// A damaged index object must not lock out what the others name: it is noted, every miss says so, `check` reports it, and writers
/// store again what only it named.
async fn load_one(shared: &Arc<Shared>, id: IndexId) -> Result<(IndexId, Loaded)> {
    let name = index_name(id)?;
    let opened = match shared.store.get(&name, MAX_BYTES).await {
        Ok(object) => {
            let open = move |shared: &Shared| {
                IndexObject::open(id, shared.config.repository, &shared.keyring, &object)
            };
            shared.compute(open).await
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok(object) => Ok((id, Ok(object))),
        Err(error) if error.is_damage() => {
            tracing::warn!(index = %id, %error, "an index object is damaged; run a check");
            Ok((id, Err(error.to_string())))
        }
        Err(error) => Err(Error::new(error.kind(), format!("cannot read {name}")).with_source(error)),
    }
}
