//! Login, logout, and the one renewal of a session that was lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::Client;
use crate::error::Error;
use crate::mo;
use crate::types::UserSession;

const COOKIE: &str = "vmware_soap_session";

#[derive(Default)]
pub(super) struct SessionState {
    cookie: Mutex<Option<SecretString>>,
    /// Held while logging in, so that many tasks that lose the session together log in once.
    credentials: tokio::sync::Mutex<Option<Credentials>>,
    generation: AtomicU64,
}

struct Credentials {
    user: String,
    password: SecretString,
}

/// Whether a call refused with `NotAuthenticated` may be sent again in a new session. Not those that are about the old
/// session itself.
pub(super) fn survives_login(method: &str) -> bool {
    !method.starts_with("Login") && !matches!(method, "Logout" | "TerminateSession")
}

impl SessionState {
    /// Grows by one with each login. What belongs to a session, such as a filter, is gone when it has grown.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn cookie_header(&self) -> Option<HeaderValue> {
        let cookie = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
        let mut header =
            HeaderValue::from_str(&format!("{COOKIE}={}", cookie.as_ref()?.expose_secret())).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Keeps the session's cookie, without the attributes behind it.
    pub(super) fn take_cookies(&self, headers: &HeaderMap) {
        for header in headers.get_all(http::header::SET_COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            let pair = text.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=')
                && name.trim() == COOKIE
            {
                let mut cookie = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
                *cookie = Some(SecretString::from(value.trim()));
            }
        }
    }

    fn forget_cookie(&self) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Client {
    /// Logs in. The credentials are kept, in memory that is wiped, to renew the session when the server drops it (it
    /// does so after 30 idle minutes); [`logout`](Self::logout) forgets them.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when user or password is wrong, or when this session is logged in already.
    pub async fn login(&self, user: &str, password: &SecretString) -> Result<UserSession, Error> {
        let mut credentials = self.0.session.credentials.lock().await;
        let session = self.login_once(user, password).await?;
        *credentials = Some(Credentials { user: user.to_owned(), password: password.clone() });
        Ok(session)
    }

    /// Logs out: the server ends the session at once and forgets what belongs to it.
    ///
    /// # Errors
    /// When the call fails. Fault `NotAuthenticated` when there was no session.
    pub async fn logout(&self) -> Result<(), Error> {
        let mut credentials = self.0.session.credentials.lock().await;
        *credentials = None;
        let result = self.session_manager()?.logout().await;
        self.0.session.forget_cookie();
        result
    }

    /// The value of the session's cookie, with which another library can use the same session.
    pub fn session_cookie(&self) -> Option<SecretString> {
        self.0.session.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often this client has logged in.
    pub fn session_generation(&self) -> u64 {
        self.0.session.generation()
    }

    /// Logs in anew unless another task did since `generation`. `false` when no credentials are known.
    pub(super) async fn renew_session(&self, generation: u64) -> Result<bool, Error> {
        let credentials = self.0.session.credentials.lock().await;
        if self.0.session.generation() != generation {
            return Ok(true);
        }
        let Some(known) = &*credentials else { return Ok(false) };
        tracing::info!(host = self.host(), "the session was lost; logging in again");
        self.0.session.forget_cookie();
        self.login_once(&known.user, &known.password).await?;
        Ok(true)
    }

    async fn login_once(&self, user: &str, password: &SecretString) -> Result<UserSession, Error> {
        let session = self.session_manager()?.login(user, password.expose_secret(), None).await?;
        self.0.session.generation.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    fn session_manager(&self) -> Result<mo::SessionManager, Error> {
        let moref = self.content().session_manager.as_ref();
        moref
            .map(|moref| self.bind(moref))
            .ok_or_else(|| Error::broken_protocol("the server names no SessionManager"))
    }
}
