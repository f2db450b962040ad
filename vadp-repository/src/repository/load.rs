//! Loading index objects, see docs/repository-format.md, "Index" and "Reading".

use std::collections::HashSet;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};

use super::{INDEX, Shared, blocking, id_of, index_name};
use crate::error::{Error, ErrorKind, Result};
use crate::format::index::{IndexObject, MAX_BYTES};
use crate::ids::IndexId;
use crate::index::Index;

/// Index objects that are read at a time.
const READ_AHEAD: usize = 4;

/// How often the index is listed anew when objects vanish while they are loaded: each time a prune has ended meanwhile. A slow
/// reader may meet several in a row.
const ATTEMPTS: usize = 20;

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
    let listed = list(shared).await?;
    let present: HashSet<IndexId> = listed.iter().copied().collect();
    // What is no longer there was replaced by a prune, or is lost: then what it said counts no more.
    if is_spoilt || !known.is_subset(&present) {
        return rebuild(shared).await;
    }
    let unseen = listed.into_iter().filter(|id| !known.contains(id)).collect();
    let (mut objects, mut gone) = (ahead(shared, unseen), HashSet::new());
    while let Some((id, object)) = objects.try_next().await? {
        if !take_in(&mut shared.index_mut(), id, object.as_ref(), &mut gone)? {
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
        let listed = list(shared).await?;
        let mut gone = HashSet::new();
        let mut rebuilt = loop {
            if let Some(index) = build(shared, listed.clone(), &mut gone).await? {
                break index;
            }
        };
        if let Some((id, object)) = &shared.unnamed {
            rebuilt.add(*id, object)?;
        }
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
    listed: Vec<IndexId>,
    gone: &mut HashSet<IndexId>,
) -> Result<Option<Index>> {
    let mut index = Index::new(shared.index_cache.clone());
    let mut objects = ahead(shared, listed);
    while let Some((id, object)) = objects.try_next().await? {
        if !take_in(&mut index, id, object.as_ref(), gone)? {
            return Ok(None);
        }
    }
    Ok(Some(index))
}

/// Takes an object in, unless it is superseded; `false` when it supersedes one that is in already.
fn take_in(
    index: &mut Index,
    id: IndexId,
    object: Result<&IndexObject, &String>,
    gone: &mut HashSet<IndexId>,
) -> Result<bool> {
    let supersedes = object.iter().flat_map(|object| &object.supersedes);
    let new: Vec<IndexId> = supersedes.filter(|id| !gone.contains(id)).copied().collect();
    gone.extend(&new);
    if new.iter().any(|id| index.has_object(id)) {
        return Ok(false);
    }
    match (index.has_object(&id), gone.contains(&id)) {
        (true, _) => {}
        (false, true) => index.skip(id),
        (false, false) => index.push(id, object)?,
    }
    Ok(true)
}

pub(crate) async fn list(shared: &Shared) -> Result<Vec<IndexId>> {
    let objects = shared.store.list(INDEX).await?;
    let mut ids: Vec<_> =
        objects.iter().filter_map(|object| IndexId::parse(id_of(INDEX, &object.name)?).ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Index objects, some of which are read and opened while one is worked on.
pub(crate) fn ahead(
    shared: &Arc<Shared>,
    ids: Vec<IndexId>,
) -> impl Stream<Item = Result<(IndexId, Loaded)>> + Unpin {
    Box::pin(futures::stream::iter(ids).map(|id| load_one(shared, id)).buffered(READ_AHEAD))
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
                IndexObject::open(id, shared.config.repository, &shared.keyring(), object.into())
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
        // Nor one that is sealed with a newer key or written by a newer program: the rest is read and written on. But nothing may be
        // removed then.
        Err(error) if matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::UnsupportedFormat) => {
            tracing::warn!(index = %id, %error, "an index object is passed over");
            shared.note_beyond(error.kind(), format!("{name}: {error}"));
            Ok((id, Err(error.to_string())))
        }
        Err(error) => Err(Error::new(error.kind(), format!("cannot read {name}")).with_source(error)),
    }
}
