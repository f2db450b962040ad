//! Making and opening a repository, see docs/repository-format.md, "Write order" and "Versions".

use std::sync::Arc;
use std::time::SystemTime;

use super::{
    CONFIG, InitOptions, KEYS, Limits, OpenOptions, Repository, Shared, blocking, config_name, id_of, keys,
    load,
};
use crate::crypto::{Keyring, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::{CHUNK_SIZES, Config};
use crate::ids::RepositoryId;
use crate::index::Index;
use crate::secret::Secret;
use crate::store::ChunkStore;

pub(super) async fn init(
    store: Arc<dyn ChunkStore>,
    secret: &Secret,
    options: InitOptions,
) -> Result<Repository> {
    let InitOptions { chunk_size, limits } = options;
    limits.check()?;
    if !CHUNK_SIZES.contains(&chunk_size) || !chunk_size.is_power_of_two() {
        return Err(Error::invalid(format!(
            "the chunk size must be a power of two from 256 KiB to 4 MiB, not {chunk_size} bytes"
        )));
    }
    refuse_occupied(&*store).await?;
    let repository = RepositoryId::from_bytes(random()?);
    let keyring = Keyring::new(random()?, random()?);
    let created = crate::time::to_micros(SystemTime::now());
    let config = Config { repository, chunk_size, created, writable: true };
    keys::add_slot(&*store, repository, &keyring, secret).await?;
    let object = config.to_bytes(&keyring.digests());
    store.create(&config_name()?, object.into()).await.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => occupied(&*store).with_source(error),
        _ => error,
    })?;
    Ok(Repository { shared: Arc::new(Shared::new(store, config, keyring, limits.into())) })
}

pub(super) async fn open(
    store: Arc<dyn ChunkStore>,
    secret: &Secret,
    options: OpenOptions,
) -> Result<Repository> {
    options.limits.check()?;
    let object =
        store.get(&config_name()?, Config::BYTES as u64).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::Damaged => {
                let message =
                    format!("{} holds no backup repository: check the path, or init one", store.describe());
                Error::new(ErrorKind::NotARepository, message).with_source(error)
            }
            _ => error,
        })?;
    let config = Config::parse(&object)?;
    let keyring = keys::open_slot(&*store, config.repository, secret).await?;
    Config::verify(&object, &keyring.digests())?;
    let shared = Arc::new(Shared::new(store, config, keyring, options));
    if let Some(cache) = shared.index_cache.clone() {
        *shared.index_mut() = blocking(move || Ok(Index::from_cache(Some(cache)))).await?;
    }
    load::refresh(&shared).await?;
    load::store(&shared).await?;
    Ok(Repository { shared })
}

impl Limits {
    fn check(&self) -> Result<()> {
        let bytes = 4 << 20..=1 << 30;
        if !bytes.contains(&self.in_flight_bytes) {
            return Err(Error::invalid("in_flight_bytes must be from 4 MiB to 1 GiB"));
        }
        if !(1 << 20..=1 << 30).contains(&self.pack_bytes) {
            return Err(Error::invalid("pack_bytes must be from 1 MiB to 1 GiB"));
        }
        if !(1..=1024).contains(&self.workers) {
            return Err(Error::invalid("workers must be from 1 to 1024"));
        }
        Ok(())
    }
}

/// Key slots alone are what an interrupted `init` leaves; everything else is not ours to build on.
async fn refuse_occupied(store: &dyn ChunkStore) -> Result<()> {
    let objects = store.list("").await?;
    if objects.iter().any(|object| object.name == CONFIG) {
        return Err(occupied(store));
    }
    match objects.iter().find(|object| id_of(KEYS, &object.name).is_none()) {
        Some(foreign) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("{} is not empty (it holds {}): choose an empty place", store.describe(), foreign.name),
        )),
        None => Ok(()),
    }
}

fn occupied(store: &dyn ChunkStore) -> Error {
    let message =
        format!("{} already holds a repository: open it, or choose another place", store.describe());
    Error::new(ErrorKind::AlreadyExists, message)
}
