//! Passwords and cookies as kept in files: hashed, compared in constant time.

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::descriptor::fill_random;
use crate::{Error, ErrorKind, Result, hex};

/// A salted SHA-256 of a password.
///
/// One round is enough here: the passwords of a simulator guard made-up machines. `Debug` shows salt and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    salt: String,
    sha256: String,
}

impl PasswordHash {
    /// Hashes a password under a fresh salt.
    ///
    /// # Errors
    /// `Io` if the operating system gives no random numbers.
    pub fn new(password: &str) -> Result<Self> {
        let mut salt = [0; 16];
        fill_random(&mut salt)?;
        let salt = hex::encode(&salt);
        let sha256 = digest(&salt, password);
        Ok(Self { salt, sha256 })
    }

    /// Whether the password is the one that was hashed.
    pub fn verify(&self, password: &str) -> bool {
        equal(&self.sha256, &digest(&self.salt, password))
    }
}

/// The hash of a session cookie: files show who is logged in, without letting their reader log in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CookieHash(String);

impl CookieHash {
    /// Hashes the cookie's value: without name, quotes and attributes.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty value.
    pub fn new(cookie: &str) -> Result<Self> {
        if cookie.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "a session cookie cannot be empty"));
        }
        Ok(Self(digest("cookie", cookie)))
    }

    pub(super) fn matches(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

fn digest(salt: &str, secret: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(salt.as_bytes());
    context.update(&[0]);
    context.update(secret.as_bytes());
    hex::encode(context.finish().as_ref())
}

fn equal(left: &str, right: &str) -> bool {
    constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}
