//! Loading index objects, see docs/repository-format.md, "Index" and "Reading".

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::{INDEX, Shared, id_of, index_name};
use crate::error::{Error, ErrorKind, Result};
use crate::format::index::{IndexObject, MAX_BYTES};
use crate::ids::IndexId;
use crate::index::Index;

/// Index objects that are read at a time.
const READ_AHEAD: usize = 4;

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
    let listed = list(shared).await?;
    let unseen: Vec<IndexId> = {
        let index = shared.index();
        listed.iter().copied().filter(|id| !index.has_object(id)).collect()
    };
    let new = load(shared, unseen).await?;
    let gone = superseded(&new);
    {
        let mut index = shared.index_mut();
        if !gone.iter().any(|id| index.has_object(id)) {
            return fill(&mut index, &new, &gone);
        }
    }
    // Entries of superseded objects must go.
    rebuild(shared).await
}

/// Builds the index anew.
pub(crate) async fn rebuild(shared: &Arc<Shared>) -> Result<()> {
    loop {
        let before = shared.index().objects().clone();
        let listed = list(shared).await?;
        let all = load(shared, listed).await?;
        let gone = superseded(&all);
        let mut rebuilt = Index::default();
        fill(&mut rebuilt, &all, &gone)?;
        if let Some((id, object)) = &shared.unnamed {
            rebuilt.add(*id, Ok(object))?;
        }
        let mut index = shared.index_mut();
        // What a writer of this process has added meanwhile must not get lost.
        if *index.objects() == before {
            *index = rebuilt;
            return Ok(());
        }
    }
}

fn fill(index: &mut Index, objects: &[(IndexId, Loaded)], gone: &HashSet<IndexId>) -> Result<()> {
    objects.iter().try_for_each(|(id, object)| match (index.has_object(id), gone.contains(id)) {
        (true, _) => Ok(()),
        (false, true) => {
            index.skip(*id);
            Ok(())
        }
        (false, false) => index.add(*id, object.as_ref()),
    })
}

fn superseded(objects: &[(IndexId, Loaded)]) -> HashSet<IndexId> {
    objects
        .iter()
        .filter_map(|(_, object)| object.as_ref().ok())
        .flat_map(|o| o.supersedes.iter().copied())
        .collect()
}

pub(crate) async fn list(shared: &Shared) -> Result<Vec<IndexId>> {
    let objects = shared.store.list(INDEX).await?;
    let mut ids: Vec<_> =
        objects.iter().filter_map(|object| IndexId::parse(id_of(INDEX, &object.name)?).ok()).collect();
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
                IndexObject::open(id, shared.config.repository, &shared.keyring(), &object)
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
