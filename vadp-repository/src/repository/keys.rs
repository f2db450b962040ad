//! Key slots in the store: adding one, and finding the one that a secret opens.
//! See docs/repository-format.md, "Key slot".

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{KEYS, blocking, id_of, key_name};
use crate::crypto::{Keyring, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::key_slot::{KeySlot, MAX_BYTES, SlotKind, Stretch};
use crate::ids::{KeySlotId, RepositoryId};
use crate::secret::{Secret, SecretKind};
use crate::store::ChunkStore;

/// Seals the keyring for `secret` and stores it.
pub(super) async fn add_slot(
    store: &dyn ChunkStore,
    repository: RepositoryId,
    keyring: &Keyring,
    secret: &Secret,
) -> Result<KeySlotId> {
    let (id, salt) = (KeySlotId::from_bytes(random()?), random()?);
    let (kind, key) = match &secret.0 {
        SecretKind::Password(password) => {
            (SlotKind::Password(Stretch::DEFAULT), stretched(password, Stretch::DEFAULT, salt).await?)
        }
        SecretKind::RawKey(key) => (SlotKind::RawKey, Zeroizing::new(*key.expose_secret())),
        SecretKind::Provider(provider) => {
            let key = Zeroizing::new(random()?);
            (SlotKind::Provider(provider.wrap(&key).await?), key)
        }
    };
    let slot = KeySlot::new(repository, id, crate::time::to_micros(SystemTime::now()), salt, kind);
    store.create(&key_name(id)?, slot.seal(&key, keyring)?.into()).await?;
    Ok(id)
}

/// Opens the first slot that `secret` fits.
pub(super) async fn open_slot(
    store: &dyn ChunkStore,
    repository: RepositoryId,
    secret: &Secret,
) -> Result<Keyring> {
    let mut names: Vec<_> = store.list(KEYS).await?.into_iter().map(|object| object.name).collect();
    names.sort_unstable();
    let mut tried = 0;
    let mut unreadable = None;
    for id in names.iter().filter_map(|name| KeySlotId::parse(id_of(KEYS, name)?).ok()) {
        let object = store.get(&key_name(id)?, MAX_BYTES).await?;
        let slot = match KeySlot::parse(&object) {
            Ok(slot) => slot,
            // One bad slot must not lock out the holders of the others.
            Err(error) => {
                unreadable = Some(
                    Error::new(error.kind(), format!("key slot {id} cannot be read")).with_source(error),
                );
                continue;
            }
        };
        if slot.repository != repository || slot.slot != id {
            continue;
        }
        let Some(key) = slot_key(secret, &slot).await? else { continue };
        tried += 1;
        if let Some(keyring) = slot.open(&key)? {
            return Ok(keyring);
        }
    }
    let message = match tried {
        0 => "the repository has no key slot of this kind: another kind of secret opens it",
        _ => "wrong password or key: no key slot of the repository opens with it",
    };
    let error = Error::new(ErrorKind::WrongKey, message);
    match (unreadable, tried) {
        // Nothing could be tried because of damage: then the secret is not to blame.
        (Some(unreadable), 0) => Err(unreadable),
        (Some(unreadable), _) => Err(error.with_source(unreadable)),
        (None, _) => Err(error),
    }
}

/// The key-encryption key that `secret` gives for a slot; `None` when the slot is of another kind or another provider.
async fn slot_key(secret: &Secret, slot: &KeySlot) -> Result<Option<Zeroizing<[u8; 32]>>> {
    match (&secret.0, &slot.kind) {
        (SecretKind::Password(password), SlotKind::Password(cost)) => {
            stretched(password, *cost, slot.salt).await.map(Some)
        }
        (SecretKind::RawKey(key), SlotKind::RawKey) => Ok(Some(Zeroizing::new(*key.expose_secret()))),
        (SecretKind::Provider(provider), SlotKind::Provider(wrapped)) => match provider.unwrap(wrapped).await
        {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.kind() == ErrorKind::WrongKey => Ok(None),
            Err(error) => Err(error),
        },
        _ => Ok(None),
    }
}

async fn stretched(password: &SecretString, cost: Stretch, salt: [u8; 32]) -> Result<Zeroizing<[u8; 32]>> {
    let password = password.clone();
    blocking(move || cost.key(password.expose_secret().as_bytes(), &salt)).await
}
