//! What opens a repository: a password, a raw key, or the caller's key provider.
//! See docs/repository-format.md, "Key slot".

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::Zeroizing;

use crate::crypto;
use crate::error::Result;

/// The future of a key provider's operation.
pub type KeyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Wraps and unwraps a 32-byte key-encryption key: a KMS, an HSM, a vault.
///
/// Errors should have the kind [`KeyProvider`](crate::ErrorKind::KeyProvider); answer
/// [`WrongKey`](crate::ErrorKind::WrongKey) for a blob that another provider wrapped, and the next slot is tried.
pub trait KeyProvider: Send + Sync + 'static {
    /// Seals `key` so that only this provider can open it. The blob has at most 64 KiB and is stored in the key slot.
    fn wrap<'a>(&'a self, key: &'a [u8; 32]) -> KeyFuture<'a, Vec<u8>>;

    /// Opens what [`wrap`](Self::wrap) gave.
    fn unwrap<'a>(&'a self, blob: &'a [u8]) -> KeyFuture<'a, Zeroizing<[u8; 32]>>;
}

/// What opens a repository. It has no `Debug`, and its memory is cleared on drop.
pub struct Secret(pub(crate) SecretKind);

pub(crate) enum SecretKind {
    Password(SecretString),
    RawKey(SecretBox<[u8; 32]>),
    Provider(Arc<dyn KeyProvider>),
}

impl Secret {
    /// A password. It is stretched with Argon2id; still, use a long one, since whoever copies the store can guess offline.
    pub fn password(password: impl Into<String>) -> Self {
        Self(SecretKind::Password(SecretString::from(password.into())))
    }

    /// A key of 32 bytes from a good random source.
    pub fn raw_key(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self(SecretKind::RawKey(SecretBox::init_with_mut(|place: &mut [u8; 32]| {
            place.copy_from_slice(&*key)
        })))
    }

    /// A new random key. Keep [`expose_raw_key`](Self::expose_raw_key) in a safe place: without it the backups are lost.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorKind::Internal) when the operating system has no randomness.
    pub fn random() -> Result<Self> {
        Ok(Self::raw_key(crypto::random()?))
    }

    /// The caller's own key service.
    pub fn provider(provider: Arc<dyn KeyProvider>) -> Self {
        Self(SecretKind::Provider(provider))
    }

    /// The bytes of a raw or random key; `None` for the other kinds.
    pub fn expose_raw_key(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            SecretKind::RawKey(key) => Some(key.expose_secret()),
            SecretKind::Password(_) | SecretKind::Provider(_) => None,
        }
    }
}
