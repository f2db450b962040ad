//! The REST services: sessions, the two styles of paths and answers, and who may ask.

mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use vim_api::ApiVersion;

use super::http::{Answered, plain};
use crate::clock::Moment;
use crate::random;
use crate::tagging::{Operation, Refusal, Reply};
use crate::wire::MAX_REQUEST;
use crate::world::{Shared, World};

const SESSION_ID: &str = "vmware-api-session-id";

/// Sessions of the REST services alone.
#[derive(Default)]
pub(crate) struct RestSessions {
    pub(crate) live: BTreeMap<String, RestSession>,
    /// Those that signed requests have used up.
    nonces: BTreeSet<String>,
}

pub(crate) struct RestSession {
    pub(crate) user: String,
    pub(crate) begun: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Api,
    Rest,
}

/// A request, taken apart.
struct Asked {
    style: Style,
    head: Parts,
    /// Below the base, percent-encoded.
    path: String,
    action: Option<String>,
    body: Bytes,
}

impl RestSessions {
    /// Ends those of a user, or with `None` of everybody. Answers how many.
    pub(crate) fn expire(&mut self, user: Option<&str>) -> usize {
        let before = self.live.len();
        self.live.retain(|_, session| user.is_some_and(|user| session.user != user));
        let ended = before - self.live.len();
        if ended > 0 {
            tracing::info!(user, sessions = ended, "REST sessions end");
        }
        ended
    }
}

/// The session that a request shows, live or not.
pub(super) fn session_of(headers: &HeaderMap) -> Option<String> {
    headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// Answers a request below `/api` or `/rest`.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answered {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await.map_err(io::Error::other)?.to_bytes();
    let since = |id| ApiVersion::parse(id).is_some_and(|since| shared.settings.version >= since);
    let path = head.uri.path().to_owned();
    let (style, path) = match (path.strip_prefix("/api/"), path.strip_prefix("/rest/")) {
        (Some(path), _) if since("7.0.2.0") => (Style::Api, path.to_owned()),
        (_, Some(path)) => (Style::Rest, path.to_owned()),
        _ => return Ok(plain(StatusCode::NOT_FOUND, "text/html", "<html>404 Not Found</html>".to_owned())),
    };
    let key = if style == Style::Api { "action=" } else { "~action=" };
    let query = head.uri.query().unwrap_or_default();
    let action = query.split('&').find_map(|pair| pair.strip_prefix(key)).map(str::to_owned);
    let asked = Asked { style, head, path, action, body };
    let done = shared.update(|world| asked.carry_out(world, since("8.0.3.0")));
    Ok(match done {
        Ok(reply) => asked.reply(reply),
        Err(refusal) => asked.refuse(&refusal),
    })
}

impl Asked {
    fn carry_out(&self, world: &mut World, shared_sessions: bool) -> Result<Reply, Refusal> {
        let is_session = match self.style {
            Style::Api => self.path == "session",
            Style::Rest => self.path == "com/vmware/cis/session",
        };
        if is_session && self.head.method == Method::POST && self.action.is_none() {
            return self.begin(world);
        }
        let shown = self.head.headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let own = world.rest.live.get(shown).map(|session| (session.user.clone(), session.begun));
        let known = own.clone().or_else(|| {
            let session = shared_sessions.then(|| world.sessions.get(shown)).flatten()?;
            Some((session.user.clone(), world.clock.now()))
        });
        let Some((user, begun)) = known else { return Err(Refusal::unauthenticated()) };
        world.note_activity(shown);
        let is_info = match self.style {
            Style::Api => self.head.method == Method::GET,
            Style::Rest => self.action.as_deref() == Some("get"),
        };
        if is_session && is_info {
            return Ok(Reply::Value(json!({ "user": user, "created_time": begun.date_time().as_str() })));
        }
        if is_session && self.head.method == Method::DELETE && own.is_some() {
            world.rest.live.remove(shown);
            tracing::info!(user, "REST session ends");
            return Ok(Reply::Nothing);
        }
        self.tagging(world, &user)
    }

    fn begin(&self, world: &mut World) -> Result<Reply, Refusal> {
        let user = proof::user(world, &self.head, &self.body).ok_or_else(Refusal::unauthenticated)?;
        let id = random::hex(16);
        let begun = world.clock.now();
        tracing::info!(user, "REST session begins");
        world.rest.live.insert(id.clone(), RestSession { user, begun });
        Ok(Reply::Created(json!(id)))
    }

    fn tagging(&self, world: &mut World, user: &str) -> Result<Reply, Refusal> {
        let no_service = || Refusal::not_found("There is no such service.");
        let base = if self.style == Style::Api { "cis/tagging/" } else { "com/vmware/cis/tagging/" };
        let mut steps = self.path.strip_prefix(base).ok_or_else(no_service)?.split('/');
        let resource = steps.next().unwrap_or_default();
        let id = match (steps.next().map(decoded), self.style) {
            (Some(id), Style::Rest) => {
                Some(id.strip_prefix("id:").map(str::to_owned).ok_or_else(no_service)?)
            }
            (id, _) => id,
        };
        if steps.next().is_some() {
            return Err(no_service());
        }
        let body = match self.body.as_ref() {
            [] => Value::Null,
            body => serde_json::from_slice(body).map_err(|error| Refusal::invalid(error.to_string()))?,
        };
        let wrapped = self.style == Style::Rest;
        let operation = Operation {
            method: self.head.method.as_str(),
            resource,
            id,
            action: self.action.as_deref(),
            body: if wrapped && !body["create_spec"].is_null() { body["create_spec"].clone() } else { body },
            nulls: wrapped,
        };
        // Taken out while it is worked on: what the user may do is for the rest of the world to say.
        let mut tagging = std::mem::take(&mut world.tagging);
        let done = tagging.carry_out(operation, &world.rights(user), &world.root());
        world.tagging = tagging;
        done
    }

    fn reply(&self, reply: Reply) -> super::http::Response {
        let (status, value) = match reply {
            Reply::Nothing => (StatusCode::NO_CONTENT, None),
            Reply::Value(value) => (StatusCode::OK, Some(value)),
            Reply::Created(value) => (StatusCode::CREATED, Some(value)),
        };
        match self.style {
            Style::Api => self.json(status, value),
            Style::Rest => self.json(StatusCode::OK, value.map(|value| json!({ "value": value }))),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> super::http::Response {
        let message = json!({ "id": "vsphere.sim", "default_message": refusal.message, "args": [] });
        let status = match refusal.error_type {
            "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED" => StatusCode::FORBIDDEN,
            "NOT_FOUND" => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        let challenge = "SIGN realm=\"vsphere-sim\",sts=\"/sts/STSService\", Basic realm=\"vsphere-sim\"";
        let value = match self.style {
            Style::Api => json!({ "error_type": refusal.error_type, "messages": [message] }),
            Style::Rest => json!({
                "type": format!("com.vmware.vapi.std.errors.{}", refusal.error_type.to_lowercase()),
                "value": { "messages": [message] },
            }),
        };
        let mut response = self.json(status, Some(value));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }

    fn json(&self, status: StatusCode, value: Option<Value>) -> super::http::Response {
        plain(status, "application/json", value.map(|value| value.to_string()).unwrap_or_default())
    }
}

/// What is percent-encoded, decoded; what is not text then stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
