//! The lease of who prunes, repairs or changes keys, and with it the store's clock. See docs/repository-format.md, "Tombstone and
//! lease".

use std::time::{Duration, Instant, SystemTime};

use crate::crypto::{Digests, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::VERSION;
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::ids::{LockId, RepositoryId};
use crate::repository::{LOCKS, Shared, id_of, lock_name};

const MAGIC: &[u8; 8] = b"VADPLOCK";
const BYTES: usize = 64;
/// How long a lease is good for.
pub(crate) const VALID: Duration = Duration::from_secs(3600);
/// No lease is honoured for longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The right to remove what others may count on, for a while.
pub(crate) struct Lease {
    id: LockId,
    taken: Instant,
    valid: Duration,
    /// When it was taken, by the store's clock.
    pub(crate) now: SystemTime,
}

impl Lease {
    /// Takes a lease, unless somebody else has one. Those that have run out are removed.
    pub(crate) async fn take(shared: &Shared, valid: Duration) -> Result<Self> {
        let id = LockId::from_bytes(random()?);
        let taken = Instant::now();
        let name = lock_name(id)?;
        let object = to_bytes(shared.config.repository, id, valid, &shared.digests);
        shared.store.create(&name, object.into()).await?;
        let listed = shared.store.list(LOCKS).await?;
        let own = listed.iter().find(|object| object.name == name.as_str());
        let Some(now) = own.map(|own| own.modified) else {
            return Err(Error::new(ErrorKind::Conflict, "the lease was removed by somebody: try again"));
        };
        for other in listed.iter().filter(|object| object.name != name.as_str()) {
            let Some(Ok(other_id)) = id_of(LOCKS, &other.name).map(LockId::parse) else { continue };
            let other_name = lock_name(other_id)?;
            let other_valid = match shared.store.get(&other_name, BYTES as u64).await {
                Ok(bytes) => parse(&bytes, shared.config.repository, other_id, &shared.digests),
                Err(error) if error.is_not_found() => continue,
                Err(error) if error.is_damage() => None,
                Err(error) => return Err(error),
            };
            // What is no lease of ours stops nobody. It stays, as a newer program may know what it is.
            let Some(valid) = other_valid else { continue };
            match now.duration_since(other.modified) {
                Ok(age) if age > valid => shared.store.remove(&other_name).await?,
                _ => {
                    shared.store.remove(&name).await?;
                    let message = format!(
                        "another prune, repair or change of keys holds the lease {}: wait until it has ended, or for {} minutes after it has died",
                        other_id,
                        valid.as_secs().div_ceil(60)
                    );
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
            }
        }
        Ok(Self { id, taken, valid, now })
    }

    /// Makes sure that the lease goes on to be good, before a step that must not be taken by two.
    pub(crate) async fn keep(&mut self, shared: &Shared) -> Result<()> {
        let age = self.taken.elapsed();
        if age < self.valid / 2 {
            return Ok(());
        }
        // A new one is taken only beside no other, so the old one has to go first.
        shared.store.remove(&lock_name(self.id)?).await?;
        let Self { id, taken, .. } = Self::take(shared, self.valid).await?;
        // The time of the first one stays: ages are counted from before the points were listed.
        (self.id, self.taken) = (id, taken);
        Ok(())
    }

    /// Ends it. A lease that stays costs an hour, and is no reason to call work that was done a failure.
    pub(crate) async fn give_back(self, shared: &Shared) {
        let removed = async { shared.store.remove(&lock_name(self.id)?).await };
        if let Err(error) = removed.await {
            tracing::warn!(%error, "a lease could not be given back; the next prune, repair or change of keys has to wait for its end");
        }
    }
}

fn to_bytes(repository: RepositoryId, id: LockId, valid: Duration, digests: &Digests) -> Vec<u8> {
    let mut bytes = ByteWriter::with_capacity(BYTES);
    bytes.array(MAGIC);
    bytes.array(&VERSION.to_le_bytes());
    bytes.array(&[0; 2]);
    bytes.array(repository.as_bytes());
    bytes.u32(u32::try_from(valid.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
    let tag = tag(bytes.as_slice(), id, digests);
    bytes.array(tag.as_bytes());
    bytes.into_vec()
}

/// How long a lease is good for; `None` when the bytes are none of this repository's, under this name.
fn parse(object: &[u8], repository: RepositoryId, id: LockId, digests: &Digests) -> Option<Duration> {
    let mut bytes = ByteReader::new(object);
    let is_ours = bytes.array::<8>().ok()? == *MAGIC
        && bytes.u16().ok()? == VERSION
        && bytes.zeros(2).is_ok()
        && bytes.array::<16>().ok()? == *repository.as_bytes();
    let seconds = bytes.u32().ok()?;
    let found = blake3::Hash::from_bytes(bytes.array().ok()?);
    let is_ours = is_ours && bytes.finish().is_ok() && found == tag(object.get(..BYTES - 32)?, id, digests);
    is_ours.then(|| Duration::from_secs(u64::from(seconds)).min(LONGEST))
}

fn tag(bytes: &[u8], id: LockId, digests: &Digests) -> blake3::Hash {
    digests.config_tag(&[bytes, id.as_bytes()].concat())
}
