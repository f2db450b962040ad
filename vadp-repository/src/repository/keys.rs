//! Key slots in the store: which there are, adding, removing and rotating them, and finding the one that a secret opens.
//! See docs/repository-format.md, "Key slot" and "Care of keys".

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::lease::{self, Lease};
use super::{KEYS, OpenKeys, Repository, blocking, id_of, key_name, load};
use crate::crypto::{Keyring, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::key_slot::{KeySlot, MAX_BYTES, SlotKind, Stretch};
use crate::ids::{KeySlotId, RepositoryId};
use crate::secret::{Secret, SecretKind};
use crate::store::ChunkStore;

/// How often the slots are listed anew when some vanish while they are read: each time a rotation has ended meanwhile.
const ATTEMPTS: usize = 5;

/// What kind of secret opens a key slot.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySlotKind {
    /// A password, by Argon2id.
    Password,
    /// A key of 32 bytes.
    RawKey,
    /// A caller's key provider.
    Provider,
}

/// A key slot, as a listing shows it. Whose it is, is not stored.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlotInfo {
    /// The slot's name.
    pub id: KeySlotId,
    /// What opens it.
    pub kind: KeySlotKind,
    /// When it was made, by the clock of its maker.
    pub created: SystemTime,
    /// Whether it is the one that has opened the repository here.
    pub is_own: bool,
}

/// What a rotation of keys has done.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRotation {
    /// The new slots, in the order of the secrets.
    pub added: Vec<KeySlotId>,
    /// Slots that are gone.
    pub removed: Vec<KeySlotId>,
    /// Slots that the store keeps although they were to be removed, and why. Their holders read what was written up to now.
    pub refused: Vec<(KeySlotId, String)>,
}

impl Repository {
    /// The key slots, oldest first. Those that cannot be read are left out; a check names them.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store).
    pub async fn key_slots(&self) -> Result<Vec<KeySlotInfo>> {
        let own = self.shared.own_slot();
        let mut slots = Slots::read(&*self.shared.store, self.id()).await?.readable;
        slots.reverse();
        Ok(slots.iter().map(|slot| KeySlotInfo::new(slot, own)).collect())
    }

    /// Adds a key slot, so that `secret` opens the repository too. Together with [`remove_key`](Self::remove_key) this changes a password.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the keys were rotated since the repository was opened: open it again;
    /// [`KeyProvider`](ErrorKind::KeyProvider) or [`Store`](ErrorKind::Store).
    pub async fn add_key(&self, secret: &Secret) -> Result<KeySlotId> {
        let shared = &self.shared;
        shared.require_writable()?;
        let id = add_slot(&*shared.store, self.id(), &shared.keyring(), secret).await?;
        // A slot of an old keyring would look like any other, and open less.
        if let Err(error) = self.require_own_slot().await {
            shared.store.remove(&key_name(id)?).await?;
            return Err(error);
        }
        Ok(id)
    }

    /// Removes a key slot, whether it can be read or not. The slot that has opened the repository here cannot be removed, so one that
    /// opens always stays: to change a password, add the new one, open the repository with it, and remove the old slot.
    ///
    /// Whoever has copied the slot and knows its secret goes on to know the keyring; see [`rotate_keys`](Self::rotate_keys).
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for the slot of this very repository value; [`NotFound`](ErrorKind::NotFound);
    /// [`WrongKey`](ErrorKind::WrongKey) when something is sealed with a key that only other slots hold; [`Conflict`](ErrorKind::Conflict)
    /// while somebody prunes, repairs or changes keys; [`Denied`](ErrorKind::Denied) when the store keeps the slot.
    pub async fn remove_key(&self, slot: KeySlotId) -> Result<()> {
        self.shared.require_writable()?;
        if slot == self.shared.own_slot() {
            return Err(Error::invalid(format!(
                "key slot {slot} is the one that has opened the repository: open it by another slot to remove this one"
            )));
        }
        let lease = Lease::take(&self.shared, lease::VALID).await?;
        let done = self.remove_slot(slot).await;
        lease.give_back(&self.shared).await;
        done
    }

    /// Seals what is written from now on with a new key, and makes new slots for the holders of `secrets`; the old slots go. Data are
    /// not written anew, and chunks are recognised as before. After a secret has leaked, give a new one in its place.
    ///
    /// Slots that none of the secrets opens cannot be made anew. With `drop_others` they are removed, and their holders have to be added
    /// again; without, nothing is done.
    ///
    /// This repository value, and what is opened later, uses the new key. Writers elsewhere that have the repository open complete what
    /// they have begun with the old one, and are told to open it again as soon as they meet something that was sealed with the new.
    /// A rotation that was interrupted leaves old and new slots beside each other, all of which open: rotate again.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) without secrets, when there are other slots, or after some 1,000 rotations;
    /// [`WrongKey`](ErrorKind::WrongKey) when something is sealed with a key that none of the secrets gives; [`Conflict`](ErrorKind::Conflict)
    /// while somebody prunes, repairs or changes keys; [`KeyProvider`](ErrorKind::KeyProvider) or [`Store`](ErrorKind::Store).
    pub async fn rotate_keys(&self, secrets: &[Secret], drop_others: bool) -> Result<KeyRotation> {
        self.shared.require_writable()?;
        if secrets.is_empty() {
            return Err(Error::invalid("a rotation of keys needs the secret of at least one holder"));
        }
        let lease = Lease::take(&self.shared, lease::VALID).await?;
        let done = self.rotate(secrets, drop_others).await;
        lease.give_back(&self.shared).await;
        done
    }

    async fn remove_slot(&self, slot: KeySlotId) -> Result<()> {
        let store = &self.shared.store;
        let name = key_name(slot)?;
        if !store.list(KEYS).await?.iter().any(|object| object.name == name.as_str()) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{} has no key slot {slot}", self.location()),
            ));
        }
        self.require_own_slot().await?;
        self.require_all_epochs().await?;
        store.remove(&name).await
    }

    async fn rotate(&self, secrets: &[Secret], drop_others: bool) -> Result<KeyRotation> {
        let shared = &self.shared;
        let old = Slots::read(&*shared.store, self.id()).await?;
        let mut keyring = Keyring::joined(&shared.keyring(), &shared.keyring())?;
        let mut others = Vec::new();
        for slot in &old.readable {
            match open_by_any(secrets, slot).await? {
                // What an interrupted rotation has begun to use must not get lost.
                Some(found) => keyring = keyring.joined(&found)?,
                None => others.push(slot.slot),
            }
        }
        others.extend(old.unreadable.iter().map(|(id, _)| *id));
        if !others.is_empty() && !drop_others {
            let names: Vec<String> = others.iter().map(ToString::to_string).collect();
            return Err(Error::invalid(format!(
                "none of the secrets opens the key slots {}: give the secrets of all holders, or drop the others",
                names.join(", ")
            )));
        }
        let next = keyring.with_new_epoch()?;
        shared.set_keys(OpenKeys::new(keyring, shared.own_slot()));
        self.require_all_epochs().await?;
        let mut rotation = KeyRotation::default();
        for secret in secrets {
            rotation.added.push(add_slot(&*shared.store, self.id(), &next, secret).await?);
        }
        // Not before: what is sealed with a key that is in no slot is lost.
        if let Some(own) = rotation.added.first() {
            shared.set_keys(OpenKeys::new(next, *own));
        }
        for id in old.readable.iter().map(|slot| slot.slot).chain(old.unreadable.iter().map(|(id, _)| *id)) {
            match shared.store.remove(&key_name(id)?).await {
                Ok(()) => rotation.removed.push(id),
                Err(error) if error.kind() == ErrorKind::Denied => {
                    rotation.refused.push((id, error.to_string()))
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rotation)
    }

    /// Fails unless the slot that has opened the repository is still there, and can be read.
    async fn require_own_slot(&self) -> Result<()> {
        let own = self.shared.own_slot();
        let slots = Slots::read(&*self.shared.store, self.id()).await?;
        match slots.readable.iter().any(|slot| slot.slot == own) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Conflict,
                format!("key slot {own}, which has opened the repository, has gone: open it again"),
            )),
        }
    }

    /// Fails when something is sealed with a key that this keyring lacks, and which would be lost with its slot.
    async fn require_all_epochs(&self) -> Result<()> {
        load::rebuild(&self.shared).await?;
        self.shared.require_all()?;
        let unreadable = self.list_points(None).await?.unreadable.into_iter();
        match unreadable.map(|point| point.error).find(|error| error.kind() == ErrorKind::WrongKey) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl KeySlotInfo {
    fn new(slot: &KeySlot, own: KeySlotId) -> Self {
        let kind = match slot.kind {
            SlotKind::Password(_) => KeySlotKind::Password,
            SlotKind::RawKey => KeySlotKind::RawKey,
            SlotKind::Provider(_) => KeySlotKind::Provider,
        };
        Self {
            id: slot.slot,
            kind,
            created: crate::time::from_micros(slot.created),
            is_own: slot.slot == own,
        }
    }
}

/// The slots of a repository.
struct Slots {
    /// Newest first, so that a slot that a rotation has just made is found before the one that it replaces.
    readable: Vec<KeySlot>,
    unreadable: Vec<(KeySlotId, Error)>,
}

impl Slots {
    async fn read(store: &dyn ChunkStore, repository: RepositoryId) -> Result<Self> {
        for _ in 1..ATTEMPTS {
            match Self::read_once(store, repository).await {
                Err(error) if error.is_not_found() => {}
                done => return done,
            }
        }
        Self::read_once(store, repository).await
    }

    async fn read_once(store: &dyn ChunkStore, repository: RepositoryId) -> Result<Self> {
        let mut slots = Self { readable: Vec::new(), unreadable: Vec::new() };
        let listed = store.list(KEYS).await?;
        for id in listed.iter().filter_map(|object| KeySlotId::parse(id_of(KEYS, &object.name)?).ok()) {
            let slot = store.get(&key_name(id)?, MAX_BYTES).await.and_then(|object| KeySlot::parse(&object));
            match slot {
                Ok(slot) if slot.repository == repository && slot.slot == id => slots.readable.push(slot),
                Ok(_) => {}
                Err(error) if error.is_of_store() || error.is_not_found() => return Err(error),
                // One bad slot must not lock out the holders of the others.
                Err(error) => slots.unreadable.push((
                    id,
                    Error::new(error.kind(), format!("key slot {id} cannot be read")).with_source(error),
                )),
            }
        }
        slots.readable.sort_unstable_by_key(|slot| (std::cmp::Reverse(slot.created), slot.slot));
        Ok(slots)
    }
}

/// Seals the keyring for `secret` and stores it.
pub(super) async fn add_slot(
    store: &dyn ChunkStore,
    repository: RepositoryId,
    keyring: &Keyring,
    secret: &Secret,
) -> Result<KeySlotId> {
    let id = KeySlotId::from_bytes(random()?);
    store.create(&key_name(id)?, seal_slot(repository, id, keyring, secret).await?.into()).await?;
    Ok(id)
}

/// The bytes of a key slot for `secret`.
pub(crate) async fn seal_slot(
    repository: RepositoryId,
    id: KeySlotId,
    keyring: &Keyring,
    secret: &Secret,
) -> Result<Vec<u8>> {
    let salt = random()?;
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
    slot.seal(&key, keyring)
}

/// Opens the first slot that `secret` fits.
pub(super) async fn open_slot(
    store: &dyn ChunkStore,
    repository: RepositoryId,
    secret: &Secret,
) -> Result<(Keyring, KeySlotId)> {
    let Slots { readable, unreadable } = Slots::read(store, repository).await?;
    let mut tried = 0;
    for slot in &readable {
        let Some(key) = slot_key(secret, slot).await? else { continue };
        tried += 1;
        if let Some(keyring) = slot.open(&key)? {
            return Ok((keyring, slot.slot));
        }
    }
    let message = match tried {
        0 => "the repository has no key slot of this kind: another kind of secret opens it",
        _ => "wrong password or key: no key slot of the repository opens with it",
    };
    let error = Error::new(ErrorKind::WrongKey, message);
    match (unreadable.into_iter().next(), tried) {
        // Nothing could be tried because of damage: then the secret is not to blame.
        (Some((_, unreadable)), 0) => Err(unreadable),
        (Some((_, unreadable)), _) => Err(error.with_source(unreadable)),
        (None, _) => Err(error),
    }
}

async fn open_by_any(secrets: &[Secret], slot: &KeySlot) -> Result<Option<Keyring>> {
    for secret in secrets {
        if let Some(keyring) = open_by(secret, slot).await? {
            return Ok(Some(keyring));
        }
    }
    Ok(None)
}

/// The keyring of a slot; `None` when the secret does not open it.
pub(crate) async fn open_by(secret: &Secret, slot: &KeySlot) -> Result<Option<Keyring>> {
    match slot_key(secret, slot).await? {
        Some(key) => slot.open(&key),
        None => Ok(None),
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
