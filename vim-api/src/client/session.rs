//! Login, logout, and the one renewal of a session that was lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::Client;
use crate::dynamic::Poly;
use crate::error::{Error, Fault};
use crate::mo::{self, Managed};
use crate::sso::{Holder, SamlToken, SigningIdentity};
use crate::types::{NotAuthenticated, UserSession};

/// Long enough for the one login that a token is asked for.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

const COOKIE: &str = "vmware_soap_session";

#[derive(Default)]
pub(super) struct SessionState {
    cookie: Mutex<Option<SecretString>>,
    /// Held while logging in, so that many tasks that lose the session together log in once.
    pub(super) credentials: tokio::sync::Mutex<Option<Credentials>>,
    generation: AtomicU64,
}

type TokenSource = dyn Fn() -> BoxFuture<'static, Result<SamlToken, Error>> + Send + Sync;

/// What a session can be had with, as often as it takes. A ticket or a cookie is none of these: it is good for one.
#[derive(Clone)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: SecretString,
    },
    /// By a token of the STS, a new one for each session.
    Sso {
        user: String,
        password: SecretString,
    },
    /// By a token that is bound to the key.
    SolutionUser(SigningIdentity),
    Tokens(Arc<TokenSource>),
    /// The certificate is the connection's own.
    Extension {
        key: String,
    },
}

impl SessionState {
    /// Grows by one with each login. What belongs to a session, such as a filter, is gone when it has grown.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn cookie_header(&self) -> Option<HeaderValue> {
        let cookie = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
        cookie.as_ref().and_then(cookie_header)
    }

    /// Keeps the session's cookie.
    pub(super) fn take_cookies(&self, headers: &HeaderMap) {
        if let Some(value) = session_cookie(headers) {
            self.set_cookie(value);
        }
    }

    fn set_cookie(&self, value: SecretString) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn forget_cookie(&self) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(super) fn cookie_header(value: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{COOKIE}={}", value.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The session's cookie among those that an answer sets, without the attributes behind it.
pub(super) fn session_cookie(headers: &HeaderMap) -> Option<SecretString> {
    let set = headers.get_all(http::header::SET_COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = set.filter_map(|text| text.split(';').next()?.split_once('='));
    let found = pairs.rfind(|(name, _)| name.trim() == COOKIE);
    found.map(|(_, value)| SecretString::from(value.trim()))
}

impl Client {
    /// Logs in. The credentials are kept, in memory that is wiped, to renew the session when the server drops it (it
    /// does so after 30 idle minutes or more); [`logout`](Self::logout) forgets them.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when user or password is wrong, or when this session is logged in already.
    pub async fn login(&self, user: &str, password: &SecretString) -> Result<UserSession, Error> {
        let credentials = Credentials::Password { user: user.to_owned(), password: password.clone() };
        self.login_with(credentials).await
    }

    /// Logs in with a token that the vCenter's STS gives for this password: the way for users of every identity source, and
    /// the one that VMware recommends. The session is renewed like any other, with a token of its own.
    ///
    /// # Errors
    /// As [`issue_token`](Self::issue_token), and the fault `InvalidLogin` when the vCenter does not take the token.
    pub async fn login_sso(&self, user: &str, password: &SecretString) -> Result<UserSession, Error> {
        let credentials = Credentials::Sso { user: user.to_owned(), password: password.clone() };
        self.login_with(credentials).await
    }

    /// Logs in as the solution user whose certificate is registered at the STS: the way for a service, without a password
    /// and without the tunnel. The session is renewed like any other, with a token of its own.
    ///
    /// # Errors
    /// As [`issue_key_token`](Self::issue_key_token), and the fault `InvalidLogin` when the vCenter does not take the
    /// token.
    pub async fn login_solution_user(&self, identity: &SigningIdentity) -> Result<UserSession, Error> {
        self.login_with(Credentials::SolutionUser(identity.clone())).await
    }

    /// Logs in with a token of `source`, which is asked for another one when the session has to be renewed.
    ///
    /// The client waits for it, so it must not call the API through this client; and it is kept, so one that holds this
    /// client keeps both for ever.
    ///
    /// # Errors
    /// That of the source; as [`login_by_token`](Self::login_by_token).
    pub async fn login_by_tokens_of<F>(
        &self,
        source: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<UserSession, Error>
    where
        F: Future<Output = Result<SamlToken, Error>> + Send + 'static,
    {
        self.login_with(Credentials::Tokens(Arc::new(move || source().boxed()))).await
    }

    /// Logs in with a token. It can't be renewed when it is lost: a token lives for minutes, a session for as long as it is
    /// used.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when the token has ended, is not of this vCenter's STS, or when this session is logged in
    /// already.
    pub async fn login_by_token(&self, token: &SamlToken) -> Result<UserSession, Error> {
        self.end_beside().await;
        let mut credentials = self.0.session.credentials.lock().await;
        *credentials = None;
        let session = self.session_manager()?.login_by_token(None).with_token(token).await?;
        self.0.session.generation.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    /// Logs in as the extension `key`, such as `com.example.backup`, by the
    /// [certificate](crate::Connect::client_certificate) that the connection shows and that the extension was registered
    /// with. A vCenter asks for certificates in its [tunnel](crate::Connect::sdk_tunnel) only. The session is renewed like
    /// any other.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when the extension is not registered or has another certificate; `NoClientCertificate` when
    /// the connection shows none; `NotFound` on a host, which has no extensions.
    pub async fn login_extension(&self, key: &str) -> Result<UserSession, Error> {
        self.login_with(Credentials::Extension { key: key.to_owned() }).await
    }

    /// Takes up a session by the value of its cookie ([`session_cookie`](Self::session_cookie)): one of another process,
    /// or of a run before. It is one and the same session, so whoever logs out ends it for all. It can't be renewed
    /// when it is lost.
    ///
    /// # Errors
    /// Fault `NotAuthenticated` when there is no such session (any more). Then this client has none.
    pub async fn resume(&self, cookie: &SecretString) -> Result<UserSession, Error> {
        self.end_beside().await;
        *self.0.session.credentials.lock().await = None;
        self.0.session.set_cookie(cookie.clone());
        match self.current_session().await {
            Ok(session) => {
                self.0.session.generation.fetch_add(1, Ordering::AcqRel);
                Ok(session)
            }
            Err(error) => {
                self.0.session.forget_cookie();
                Err(error)
            }
        }
    }

    /// A ticket with which one other client of the same server gets a session of its own, for the same user, without
    /// knowing the password. It can be used once and only for a few minutes.
    ///
    /// # Errors
    /// When the call fails. A host alone may not have it (fault `NotSupported`).
    pub async fn clone_ticket(&self) -> Result<SecretString, Error> {
        self.session_manager()?.acquire_clone_ticket().await.map(SecretString::from)
    }

    /// Gets a session with a [ticket](Self::clone_ticket). It can't be renewed when it is lost.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when the ticket is unknown, used, or too old.
    pub async fn login_by_clone_ticket(&self, ticket: &SecretString) -> Result<UserSession, Error> {
        self.end_beside().await;
        let mut credentials = self.0.session.credentials.lock().await;
        *credentials = None;
        self.0.session.forget_cookie();
        let session = self.session_manager()?.clone_session(ticket.expose_secret()).await?;
        self.0.session.generation.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    /// This client's session as the server has it.
    ///
    /// # Errors
    /// Fault `NotAuthenticated` when there is none; that of a call that failed.
    pub async fn current_session(&self) -> Result<UserSession, Error> {
        let found = self.session_manager()?.get(mo::SessionManager::CURRENT_SESSION).await?;
        found.ok_or_else(|| {
            let fault = Fault { fault: Poly::new(NotAuthenticated::default()), message: String::new() };
            Error::from_fault(format!("{} knows no session of this client", self.host()), fault)
        })
    }

    /// Sessions that an earlier run of this program left behind: of this session's user, program (`User-Agent`) and
    /// address, and not used for at least `idle`. A run that lives on uses its session now and then (see
    /// [`keep_alive`](Self::keep_alive)), so choose `idle` well above that.
    ///
    /// Pass their keys to [`SessionManager::terminate_session`](mo::SessionManager::terminate_session): a server has room
    /// for a limited number, and keeps those that nobody ends for 30 minutes or more.
    ///
    /// # Errors
    /// Fault `NoPermission` without the privilege `Sessions.TerminateSession`; that of a call that failed.
    pub async fn leftover_sessions(&self, idle: Duration) -> Result<Vec<UserSession>, Error> {
        let own = self.current_session().await?;
        let all = self.session_manager()?.get(mo::SessionManager::SESSION_LIST).await?.unwrap_or_default();
        // By the server's clock: ours may differ.
        let now = self.server_time().await?.to_system_time();
        let unused_for =
            |session: &UserSession| now?.duration_since(session.last_active_time.to_system_time()?).ok();
        let left = |session: &UserSession| {
            session.key != own.key
                && session.user_name == own.user_name
                && session.user_agent == own.user_agent
                && session.ip_address == own.ip_address
                && unused_for(session).is_some_and(|unused| unused >= idle)
        };
        Ok(all.into_iter().filter(left).collect())
    }

    /// Logs out: the server ends the session at once and forgets what belongs to it.
    ///
    /// # Errors
    /// When the call fails. Fault `NotAuthenticated` when there was no session.
    pub async fn logout(&self) -> Result<(), Error> {
        self.end_beside().await;
        let mut credentials = self.0.session.credentials.lock().await;
        *credentials = None;
        let result = self.session_manager()?.logout().await;
        self.0.session.forget_cookie();
        result
    }

    /// The end of a program's use of the server: logs out, for this client and all its clones. A session that is gone
    /// already, or that there never was, is no error.
    ///
    /// Not called, the session stays until the server drops it: nothing can be sent from a destructor. The next run
    /// finds it among the [leftovers](Self::leftover_sessions).
    ///
    /// # Errors
    /// When the server could not be reached.
    pub async fn close(self) -> Result<(), Error> {
        match self.logout().await {
            Err(error) if error.is_session_lost() => Ok(()),
            result => result,
        }
    }

    /// The value of the session's cookie, with which another library can use the same session.
    pub fn session_cookie(&self) -> Option<SecretString> {
        self.0.session.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often this client has got a session.
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
        self.login_once(known).await?;
        Ok(true)
    }

    async fn login_with(&self, new: Credentials) -> Result<UserSession, Error> {
        self.end_beside().await;
        let mut credentials = self.0.session.credentials.lock().await;
        let session = self.login_once(&new).await?;
        *credentials = Some(new);
        Ok(session)
    }

    async fn login_once(&self, credentials: &Credentials) -> Result<UserSession, Error> {
        let manager = self.session_manager()?;
        let session = match credentials {
            Credentials::Password { user, password } => {
                manager.login(user, password.expose_secret(), None).await?
            }
            Credentials::Sso { user, password } => {
                let token = self.issue_token(user, password, TOKEN_LIFETIME).await?;
                manager.login_by_token(None).with_token(&token).await?
            }
            Credentials::SolutionUser(identity) => {
                let token = self.issue_key_token(identity, Holder::SolutionUser, TOKEN_LIFETIME).await?;
                manager.login_by_token(None).with_token(&token).await?
            }
            Credentials::Tokens(source) => manager.login_by_token(None).with_token(&source().await?).await?,
            Credentials::Extension { key } => manager.login_extension_by_certificate(key, None).await?,
        };
        self.0.session.generation.fetch_add(1, Ordering::AcqRel);
        Ok(session)
    }

    /// Ends what was begun beside the session, in the name of whoever had logged in.
    async fn end_beside(&self) {
        #[cfg(feature = "rest")]
        self.end_rest_session().await;
    }

    fn session_manager(&self) -> Result<mo::SessionManager, Error> {
        self.manager("SessionManager", |content| content.session_manager.as_ref())
    }
}
