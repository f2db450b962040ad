//! Sessions of the REST services.
//!
//! From 8.0.3 on the API's session is theirs, too. A server before that wants one of its own, made with what the client
//! was logged in with.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;
use zeroize::Zeroizing;

use super::Client;
use super::session::{Credentials, TOKEN_LIFETIME};
use super::span::CallSpan;
use crate::dynamic::Poly;
use crate::error::{Error, Fault};
use crate::rest::{RestStyle, accept, read};
use crate::sso::{Holder, SamlToken};
use crate::transport::Request;
use crate::types::InvalidLogin;
use crate::version;

const SESSION_ID: &str = "vmware-api-session-id";

/// The first versions with paths below `/api`, and with one session for everything.
const API_SINCE: [u16; 4] = [7, 0, 2, 0];
const SHARED_SINCE: [u16; 4] = [8, 0, 3, 0];

/// Held while a session is made, so that many tasks that lose it together make one.
#[derive(Default)]
pub(super) struct RestState(tokio::sync::Mutex<Known>);

#[derive(Default)]
struct Known {
    session: Option<Arc<RestSession>>,
    /// Given for the REST services alone.
    password: Option<Password>,
}

#[derive(Clone)]
struct Password {
    user: String,
    password: SecretString,
}

/// A session that the server was seen to accept.
pub(crate) struct RestSession {
    pub(crate) style: RestStyle,
    /// The id of a session of the REST services alone; without one it is the API's.
    own: Option<SecretString>,
}

/// One request.
pub(crate) struct RestRequest {
    pub(crate) method: Method,
    /// Below `/api` or `/rest`.
    pub(crate) path: String,
    /// JSON; empty for none.
    pub(crate) body: Bytes,
    /// It changes nothing, and may be sent twice.
    pub(crate) reads: bool,
}

/// What came back, which is no error.
pub(crate) struct RestAnswer {
    pub(crate) style: RestStyle,
    pub(crate) body: Bytes,
    /// What was asked, for errors.
    pub(crate) context: String,
}

/// What a session is asked for with.
enum Proof {
    Password(Password),
    Token(SamlToken),
}

impl RestRequest {
    /// How it is told of: without the query, which may hold more than a log should, but for the action.
    fn label(&self, style: RestStyle) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let action = query.split('&').find_map(|pair| pair.trim_start_matches('~').strip_prefix("action="));
        let action = action.map(|action| format!(" ({action})")).unwrap_or_default();
        format!("{}/{path}{action}", style.base())
    }
}

impl Client {
    /// Sends a request in a session that is made or renewed if need be, and again as the client's retry policy says.
    pub(crate) async fn rest_send(&self, request: &RestRequest) -> Result<RestAnswer, Error> {
        self.retrying(request.method.as_str(), request.reads, || self.rest_in_session(request)).await
    }

    /// The session, made if there is none, or if it is the one that was `lost`.
    pub(crate) async fn rest_session(
        &self,
        lost: Option<&Arc<RestSession>>,
    ) -> Result<Arc<RestSession>, Error> {
        let mut known = self.0.rest.0.lock().await;
        if let Some(session) = &known.session
            && !lost.is_some_and(|lost| Arc::ptr_eq(lost, session))
        {
            return Ok(session.clone());
        }
        known.session = None;
        let session = Arc::new(self.make_rest_session(known.password.clone()).await?);
        known.session = Some(session.clone());
        Ok(session)
    }

    pub(crate) async fn rest_login(&self, user: &str, password: &SecretString) -> Result<(), Error> {
        self.end_rest_session().await;
        let password = Password { user: user.to_owned(), password: password.clone() };
        let mut known = self.0.rest.0.lock().await;
        known.session = Some(Arc::new(self.make_rest_session(Some(password.clone())).await?));
        known.password = Some(password);
        Ok(())
    }

    /// Ends a session of the REST services alone, and forgets what was given for it.
    pub(crate) async fn end_rest_session(&self) {
        let known = std::mem::take(&mut *self.0.rest.0.lock().await);
        let Some(session) = known.session.filter(|session| session.own.is_some()) else { return };
        let path = session.style.session_path().to_owned();
        let request = RestRequest { method: Method::DELETE, path, body: Bytes::new(), reads: false };
        match self.rest_exchange(&session, &request).await {
            Err(error) if !error.is_session_lost() => {
                tracing::warn!(host = self.host(), %error, "a REST session is left behind")
            }
            _ => {}
        }
    }

    async fn rest_in_session(&self, request: &RestRequest) -> Result<RestAnswer, Error> {
        let session = self.rest_session(None).await?;
        let error = match self.rest_exchange(&session, request).await {
            Err(error) if error.is_session_lost() => error,
            result => return result,
        };
        tracing::info!(host = self.host(), "the session of the REST services was lost");
        let session = self.rest_session(Some(&session)).await?;
        if !request.reads {
            return Err(error.with_advice(
                "the session was lost and is renewed; the request was not carried out, so repeat it if it is still wanted",
            ));
        }
        self.rest_exchange(&session, request).await
    }

    async fn make_rest_session(&self, password: Option<Password>) -> Result<RestSession, Error> {
        if !self.is_vcenter() {
            return Err(Error::invalid_input(format!(
                "{} has no REST services: only a vCenter has them, so connect to the one that manages this host",
                self.host()
            )));
        }
        let told = version::numbers(&self.content().about.api_version);
        let version = told.or_else(|| version::numbers(self.version().id())).unwrap_or_default();
        let mut style = if version >= API_SINCE { RestStyle::Api } else { RestStyle::Rest };
        if password.is_none()
            && version >= SHARED_SINCE
            && let Some(session) = self.shared_rest_session(&mut style).await?
        {
            return Ok(session);
        }
        let proof = match password {
            Some(password) => Proof::Password(password),
            None => self.rest_proof().await?,
        };
        loop {
            match self.begin_rest_session(style, &proof).await {
                Err(error) if style == RestStyle::Api && error.is_not_found() => style = RestStyle::Rest,
                result => return Ok(RestSession { style, own: Some(result?) }),
            }
        }
    }

    /// The API's session, if the server takes it. `None` where it does not.
    async fn shared_rest_session(&self, style: &mut RestStyle) -> Result<Option<RestSession>, Error> {
        let mut renewed = false;
        loop {
            let generation = self.session_generation();
            let session = RestSession { style: *style, own: None };
            let (method, query) = match style {
                RestStyle::Api => (Method::GET, ""),
                RestStyle::Rest => (Method::POST, "?~action=get"),
            };
            let path = format!("{}{query}", style.session_path());
            let request = RestRequest { method, path, body: Bytes::new(), reads: true };
            match self.rest_exchange(&session, &request).await {
                Ok(_) => return Ok(Some(session)),
                Err(error) if *style == RestStyle::Api && error.is_not_found() => *style = RestStyle::Rest,
                Err(error) if error.is_session_lost() && !renewed => {
                    // Either it is lost or not taken here. A call of the API tells, and renews one that is lost.
                    self.server_time().await?;
                    if self.session_generation() == generation {
                        return Ok(None);
                    }
                    renewed = true;
                }
                Err(error) if error.is_session_lost() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    async fn rest_proof(&self) -> Result<Proof, Error> {
        // A token is asked for without holding what logins wait for.
        let credentials = self.0.session.credentials.lock().await.clone();
        match credentials {
            Some(Credentials::Password { user, password }) => {
                Ok(Proof::Password(Password { user, password }))
            }
            Some(Credentials::Sso { user, password }) => {
                self.issue_token(&user, &password, TOKEN_LIFETIME).await.map(Proof::Token)
            }
            Some(Credentials::SolutionUser(identity)) => {
                let token = self.issue_key_token(&identity, Holder::SolutionUser, TOKEN_LIFETIME).await;
                token.map(Proof::Token)
            }
            Some(Credentials::Tokens(source)) => source().await.map(Proof::Token),
            Some(Credentials::Extension { .. }) | None => Err(Error::session_lost(format!(
                "the REST services of {} want a session of their own, as they do not take the API's (servers before 8.0.3 \
                 never do), and what this client was logged in with makes no second one",
                self.host()
            ))
            .with_advice("give user and password to rest().login(..)")),
        }
    }

    async fn begin_rest_session(&self, style: RestStyle, proof: &Proof) -> Result<SecretString, Error> {
        let context = format!("beginning a session of the REST services of {}", self.host());
        let path = format!("{}/{}", style.base(), style.session_path());
        let authorization = match proof {
            Proof::Password(given) => basic(given)?,
            Proof::Token(token) => {
                token.authorization(&Method::POST, &path, &self.0.transport.endpoint().authority(), b"")?
            }
        };
        let mut request = Request::new(Method::POST, path);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(AUTHORIZATION, authorization);
        // Then the server sets no cookie, which a foreign page could make a browser send.
        request.headers.insert("vmware-use-header-authn", HeaderValue::from_static("true"));
        let response = match accept(self.post_beside(&self.0.transport, request, &context).await?, &context) {
            Err(error) if error.is_session_lost() => return Err(refusal(&context, proof, &error)),
            result => result?,
        };
        let id: SecretString =
            read::<String>(&RestAnswer { style, body: response.body, context: context.clone() })?.into();
        match id.expose_secret() {
            text if text.is_empty() || HeaderValue::from_str(text).is_err() => {
                Err(Error::broken_protocol(format!("{context}: the session's id fits into no header")))
            }
            _ => Ok(id),
        }
    }

    async fn rest_exchange(&self, session: &RestSession, request: &RestRequest) -> Result<RestAnswer, Error> {
        let label = request.label(session.style);
        let context = format!("{} {label} on {}", request.method, self.host());
        let mut http =
            Request::new(request.method.clone(), format!("{}/{}", session.style.base(), request.path));
        http.body = request.body.clone();
        http.replayable = request.reads;
        http.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        http.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if !http.body.is_empty() {
            http.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let shared = session.own.is_none().then(|| self.session_cookie()).flatten();
        // The cookie's value is in quotes, the header's is not.
        let id = session.own.as_ref().or(shared.as_ref()).map(|id| id.expose_secret().trim_matches('"'));
        if let Some(mut id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            id.set_sensitive(true);
            http.headers.insert(SESSION_ID, id);
        }
        let span = CallSpan::new(request.method.as_str(), &label);
        span.sent(http.body.len());
        let result = async {
            let response = self.post_beside(&self.0.transport, http, &context).await?;
            span.received(response.body.len());
            accept(response, &context)
        };
        let result = result.instrument(span.inner()).await;
        span.end(result.as_ref().err());
        Ok(RestAnswer { style: session.style, body: result?.body, context })
    }
}

fn basic(given: &Password) -> Result<HeaderValue, Error> {
    if given.user.contains(':') {
        return Err(Error::invalid_input(
            "a user name with a colon can't begin a session of the REST services",
        ));
    }
    let pair = Zeroizing::new(format!("{}:{}", given.user, given.password.expose_secret()));
    let text = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))));
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| Error::invalid_input("the password fits into no header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn refusal(context: &str, proof: &Proof, error: &Error) -> Error {
    let message = error.rest_fault().map(ToString::to_string).unwrap_or_default();
    match proof {
        Proof::Password(_) => {
            let fault = Fault { fault: Poly::new(InvalidLogin::default()), message };
            Error::from_fault(context, fault)
        }
        Proof::Token(_) => Error::token(format!("{context}: the token was refused: {message}")).with_advice(
            "it has to be delegatable, and in its time by the server's clock; and the server has to allow bearer tokens there",
        ),
    }
}
