//! Who is logged in, and what belongs to each session.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vim_api::types as t;

use crate::authorization;
use crate::clock::Moment;
use crate::events::Draft;
use crate::fault::{Outcome, fault};
use crate::history;
use crate::inventory::views::View;
use crate::property_collector::Collector;
use crate::random;
use crate::signed::Signed;
use crate::wire::{self, Answer, Call};
use crate::world::{Shared, World};

/// The name of the cookie.
pub(crate) const COOKIE: &str = "vmware_soap_session";

/// The languages that a session may speak.
pub(crate) const LOCALES: [&str; 2] = ["en", "en_US"];

/// How long a token of the STS can be used.
pub(crate) const TOKEN_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How long a clone ticket can be used.
const TICKET_LIMIT: Duration = Duration::from_secs(3 * 60);

/// The live sessions, by the value of their cookie.
#[derive(Default)]
pub(crate) struct Sessions {
    live: BTreeMap<String, Session>,
    /// Tickets that were given out and not used: for whom, and when.
    tickets: BTreeMap<String, (String, Moment)>,
    /// Assertions of the STS, to the byte.
    pub(crate) tokens: BTreeMap<String, Token>,
    /// Who may ask for tokens by signing: certificates as DER, and the users they stand for.
    pub(crate) solution_users: BTreeMap<Vec<u8>, String>,
}

/// What is known of a token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) user: String,
    pub(crate) given: Moment,
    /// Whether services may show it to others, which a session of the REST services wants.
    pub(crate) delegatable: bool,
    /// The certificate, as DER, of the key that has to sign what shows the token.
    pub(crate) bound_to: Option<Vec<u8>>,
}

/// One session.
pub(crate) struct Session {
    /// `UserSession.key`, which is not the cookie.
    pub(crate) key: String,
    pub(crate) user: String,
    pub(crate) login: Moment,
    pub(crate) last_active: Moment,
    pub(crate) address: String,
    pub(crate) agent: String,
    pub(crate) calls: i64,
    /// How the session ended, for those who still hold on to it.
    pub(crate) end: Arc<OnceLock<End>>,
    /// The PropertyCollectors, the one that every session has included.
    pub(crate) collectors: BTreeMap<String, Collector>,
    pub(crate) views: BTreeMap<String, View>,
    /// Collectors of events and of tasks.
    pub(crate) histories: BTreeMap<String, history::collector::Collector>,
    locale: String,
}

/// The cookie of a session that has just begun.
pub(crate) struct Opened(String);

impl Opened {
    /// As a `Set-Cookie` header gives it out.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{COOKIE}=\"{}\"; Path=/; HttpOnly; Secure", self.0)
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    LoggedOut,
    Expired,
}

/// Where a call came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The session's id, if the call brought one: the cookie's value, or at a service beside what its header says.
    pub(crate) cookie: Option<String>,
    /// At a service beside: the value of the cookie that it gave out itself.
    pub(crate) beside: Option<String>,
    /// Address of the client.
    pub(crate) address: String,
    /// Its `User-Agent`.
    pub(crate) agent: String,
}

impl Sessions {
    /// All of them, with their cookies.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Session)> {
        self.live.iter()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The session of a cookie.
    pub(crate) fn get(&self, cookie: &str) -> Option<&Session> {
        self.live.get(cookie)
    }

    /// The session of a cookie.
    pub(crate) fn get_mut(&mut self, cookie: &str) -> Option<&mut Session> {
        self.live.get_mut(cookie)
    }

    fn end(&mut self, cookie: &str, how: End) -> Option<Session> {
        let ended = self.live.remove(cookie)?;
        let _ = ended.end.set(how);
        Some(ended)
    }
}

impl Session {
    /// As the API shows it.
    pub(crate) fn info(&self) -> t::UserSession {
        t::UserSession {
            key: self.key.clone(),
            user_name: self.user.clone(),
            full_name: self.user.clone(),
            login_time: self.login.date_time(),
            last_active_time: self.last_active.date_time(),
            locale: self.locale.clone(),
            message_locale: self.locale.clone(),
            extension_session: Some(false),
            ip_address: Some(self.address.clone()),
            user_agent: Some(self.agent.clone()),
            call_count: Some(self.calls),
            ..Default::default()
        }
    }
}

impl World {
    /// Ends the sessions that were idle for too long. Answers whether there was one.
    pub(crate) fn expire_idle(&mut self) -> bool {
        let now = self.clock.now();
        let limit = self.stored.options.session_timeout();
        let idle = |session: &Session| now.since(session.last_active) > limit;
        let due: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, session)| idle(session))
            .map(|(cookie, _)| cookie.clone())
            .collect();
        due.iter().for_each(|cookie| self.end_session(cookie, End::Expired));
        !due.is_empty()
    }

    /// Ends all sessions of a user, or with `None` of everybody. Answers how many.
    pub(crate) fn expire_sessions(&mut self, user: Option<&str>) -> usize {
        let of_user = |session: &Session| user.is_none_or(|user| session.user == user);
        let due: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, session)| of_user(session))
            .map(|(cookie, _)| cookie.clone())
            .collect();
        due.iter().for_each(|cookie| self.end_session(cookie, End::Expired));
        due.len()
    }

    /// Ends one session as if it had been idle for too long.
    pub(crate) fn expire_session(&mut self, cookie: &str) {
        self.end_session(cookie, End::Expired);
    }

    /// Notes that a session is in use.
    pub(crate) fn note_activity(&mut self, cookie: &str) {
        let now = self.clock.now();
        if let Some(session) = self.sessions.get_mut(cookie) {
            session.last_active = now;
            session.calls += 1;
        }
    }

    fn is_live(&self, caller: &Caller) -> bool {
        caller.cookie.as_deref().is_some_and(|cookie| self.sessions.get(cookie).is_some())
    }

    /// # Errors
    /// `NoPermission` for a user who has no permission on anything.
    fn begin_session(&mut self, user: String, caller: &Caller, call: &Call) -> Outcome<Answer> {
        if !self.rights(&user).are_any() {
            let event = t::NoAccessUserEvent { ip_address: caller.address.clone(), ..Default::default() };
            let text = format!("Cannot login user {user}@{}: no permission", caller.address);
            self.post(Draft::new(event, &text).by(&user));
            tracing::info!(user, address = caller.address, "login refused: no permission");
            return Err(authorization::no_permission(&self.root(), authorization::VIEW));
        }
        let opened = self.open_session(user, caller);
        let info = self.sessions.get(&opened.0).map(Session::info);
        let mut answer = Answer::maybe(call, info.as_ref());
        answer.set_cookie = Some(opened.set_cookie());
        Ok(answer)
    }

    /// Begins a session.
    pub(crate) fn open_session(&mut self, user: String, caller: &Caller) -> Opened {
        let cookie = random::hex(20);
        let now = self.clock.now();
        let session = Session {
            key: random::uuid(),
            user,
            login: now,
            last_active: now,
            address: caller.address.clone(),
            agent: caller.agent.clone(),
            calls: 1,
            end: Arc::default(),
            collectors: BTreeMap::from([(self.mode().collector_id().to_owned(), Collector::default())]),
            views: BTreeMap::new(),
            histories: BTreeMap::new(),
            locale: LOCALES[0].to_owned(),
        };
        let event = t::UserLoginSessionEvent {
            ip_address: caller.address.clone(),
            user_agent: Some(caller.agent.clone()),
            locale: session.locale.clone(),
            session_id: session.key.clone(),
            ..Default::default()
        };
        let text = format!("User {}@{} logged in as {}", session.user, caller.address, caller.agent);
        self.post(Draft::new(event, &text).by(&session.user));
        tracing::info!(
            user = session.user,
            address = session.address,
            agent = session.agent,
            "session begins"
        );
        self.sessions.live.insert(cookie.clone(), session);
        self.touch();
        Opened(cookie)
    }

    fn end_session(&mut self, cookie: &str, how: End) {
        let Some(session) = self.sessions.end(cookie, how) else { return };
        let event = t::UserLogoutSessionEvent {
            ip_address: Some(session.address.clone()),
            user_agent: Some(session.agent.clone()),
            call_count: Some(session.calls),
            session_id: Some(session.key.clone()),
            login_time: Some(session.login.date_time()),
            ..Default::default()
        };
        let text = format!(
            "User {}@{} logged out (login time: {}, number of API invocations: {}, user agent: {})",
            session.user,
            session.address,
            session.login.date_time().as_str(),
            session.calls,
            session.agent
        );
        self.post(Draft::new(event, &text).by(&session.user));
        tracing::info!(user = session.user, address = session.address, calls = session.calls, how = ?how, "session ends");
        self.touch();
    }
}

/// `SessionManager.Login`.
pub(crate) fn login(shared: &Shared, caller: &Caller, call: &Call) -> Outcome<Answer> {
    let user: String = call.required("userName")?;
    let password: String = call.required("password")?;
    let refused = || {
        fault(t::InvalidLogin::default(), "Cannot complete login due to an incorrect user name or password.")
    };
    shared.update(|world| {
        let known = world.stored.users.iter().find(|record| record.name == user);
        if world.is_live(caller) || !known.is_some_and(|record| record.password.verify(&password)) {
            let event =
                t::BadUsernameSessionEvent { ip_address: caller.address.clone(), ..Default::default() };
            let text = format!("Cannot login {user}@{}", caller.address);
            world.post(Draft::new(event, &text).by(&user));
            tracing::info!(user, address = caller.address, "login refused");
            return Err(refused());
        }
        world.begin_session(user, caller, call)
    })
}

impl Token {
    fn is_shown_rightly(&self, call: &Call) -> bool {
        let Some(certificate) = &self.bound_to else { return true };
        Signed::read(&call.envelope).is_ok_and(|signed| signed.is_by(certificate))
    }
}

/// `SessionManager.LoginByToken`. A real server checks the signature over the token; this one knows its own by their bytes.
pub(crate) fn login_by_token(shared: &Shared, caller: &Caller, call: &Call) -> Outcome<Answer> {
    let assertion = wire::in_security(&call.envelope, "Assertion").ok().flatten();
    shared.update(|world| {
        let now = world.clock.now();
        let live = world.is_live(caller);
        let token = assertion.as_ref().and_then(|assertion| world.sessions.tokens.get(assertion));
        match token.cloned() {
            Some(token) if !live && now.since(token.given) <= TOKEN_LIMIT && token.is_shown_rightly(call) => {
                world.begin_session(token.user, caller, call)
            }
            _ => Err(fault(
                t::InvalidLogin::default(),
                "Cannot complete login due to an incorrect user name or password.",
            )),
        }
    })
}

/// `SessionManager.AcquireCloneTicket`.
pub(crate) fn clone_ticket(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let ticket = format!("cst-VCT-{}", random::uuid());
    shared.update(|world| {
        let now = world.clock.now();
        let Some(session) = world.sessions.get(cookie) else {
            return Err(crate::fault::not_authenticated(&call.this));
        };
        let user = session.user.clone();
        world.sessions.tickets.insert(ticket.clone(), (user, now));
        Ok(Answer::one(call, &ticket))
    })
}

/// `SessionManager.CloneSession`. A ticket is good for one session, and not for long.
pub(crate) fn clone(shared: &Shared, caller: &Caller, call: &Call) -> Outcome<Answer> {
    let ticket: String = call.required("cloneTicket")?;
    shared.update(|world| {
        let now = world.clock.now();
        let live = world.is_live(caller);
        match world.sessions.tickets.remove(&ticket) {
            Some((user, given)) if !live && now.since(given) <= TICKET_LIMIT => {
                world.begin_session(user, caller, call)
            }
            _ => Err(fault(t::InvalidLogin::default(), "The clone ticket is unknown, used or too old.")),
        }
    })
}

/// `SessionManager.Logout`.
pub(crate) fn logout(shared: &Shared, cookie: &str) -> Answer {
    shared.update(|world| world.end_session(cookie, End::LoggedOut));
    Answer::void()
}

/// `SessionManager.SessionIsActive`.
pub(crate) fn is_active(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let key: String = call.required("sessionID")?;
    let user: String = call.required("userName")?;
    let active = shared
        .read(|world| world.sessions.iter().any(|(_, session)| session.key == key && session.user == user));
    Ok(Answer::one(call, &active))
}

/// `SessionManager.TerminateSession`. A session cannot end itself.
pub(crate) fn terminate(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let keys: Vec<String> = call.list("sessionId")?;
    shared.update(|world| {
        for key in keys {
            let found = world.sessions.iter().find(|(_, session)| session.key == key);
            let Some(found) = found.map(|(cookie, _)| cookie.clone()) else {
                return Err(fault(t::NotFound::default(), format!("There is no session \"{key}\".")));
            };
            if found == cookie {
                return Err(crate::fault::invalid_argument("sessionId", "A session cannot end itself."));
            }
            let user = world.sessions.get(cookie).map(|session| session.user.clone()).unwrap_or_default();
            let whose = world.sessions.get(&found).map(|session| session.user.clone()).unwrap_or_default();
            let text = format!("A session for user '{whose}' has stopped");
            let event = t::SessionTerminatedEvent {
                session_id: key,
                terminated_username: whose,
                ..Default::default()
            };
            world.post(Draft::new(event, &text).by(&user));
            world.end_session(&found, End::Expired);
        }
        Ok(Answer::void())
    })
}

/// `SessionManager.AcquireLocalTicket`: the way in without a password, for programs on the server itself.
pub(crate) fn no_local_tickets() -> crate::fault::Fault {
    fault(t::NotSupported::default(), "Local tickets are for programs that run on the server's own machine.")
}

/// `SessionManager.SetLocale`.
pub(crate) fn set_locale(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let locale: String = call.required("locale")?;
    if !LOCALES.contains(&locale.as_str()) {
        let message = format!("The server does not speak \"{locale}\".");
        return Err(fault(t::InvalidLocale::default(), message));
    }
    shared.update(|world| {
        if let Some(session) = world.sessions.get_mut(cookie) {
            session.locale = locale;
        }
    });
    Ok(Answer::void())
}

/// `SessionManager.UpdateServiceMessage`.
pub(crate) fn set_message(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let message: String = call.required("message")?;
    shared.update(|world| {
        world.stored.options.message = message;
        world.touch();
    });
    Ok(Answer::void())
}
