//! Who is logged in, and what belongs to each session.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vim_api::types as t;

use crate::clock::Moment;
use crate::fault::{Outcome, fault};
use crate::inventory::views::View;
use crate::property_collector::Collector;
use crate::random;
use crate::signed::Signed;
use crate::wire::{self, Answer, Call};
use crate::world::{Shared, World};

/// A session that is idle for longer is forgotten, as on a vCenter.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The name of the cookie.
pub(crate) const COOKIE: &str = "vmware_soap_session";

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
    login: Moment,
    last_active: Moment,
    address: String,
    agent: String,
    calls: i64,
    /// How the session ended, for those who still hold on to it.
    pub(crate) end: Arc<OnceLock<End>>,
    /// The PropertyCollectors, the one that every session has included.
    pub(crate) collectors: BTreeMap<String, Collector>,
    pub(crate) views: BTreeMap<String, View>,
    /// What `ContinueRetrievePropertiesEx` has yet to give out.
    pub(crate) pages: BTreeMap<String, Vec<t::ObjectContent>>,
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

    fn end(&mut self, cookie: &str, how: End) -> bool {
        let ended = self.live.remove(cookie);
        if let Some(session) = &ended {
            let _ = session.end.set(how);
        }
        ended.is_some()
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
            locale: "en".to_owned(),
            message_locale: "en".to_owned(),
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
        let idle = |session: &Session| now.since(session.last_active) > IDLE_LIMIT;
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

    fn begin_session(&mut self, user: String, caller: &Caller, call: &Call) -> Answer {
        let opened = self.open_session(user, caller);
        let info = self.sessions.get(&opened.0).map(Session::info);
        let mut answer = Answer::maybe(call, info.as_ref());
        answer.set_cookie = Some(opened.set_cookie());
        answer
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
            collectors: BTreeMap::from([(Collector::DEFAULT.to_owned(), Collector::default())]),
            views: BTreeMap::new(),
            pages: BTreeMap::new(),
        };
        self.sessions.live.insert(cookie.clone(), session);
        self.touch();
        Opened(cookie)
    }

    fn end_session(&mut self, cookie: &str, how: End) {
        if self.sessions.end(cookie, how) {
            self.touch();
        }
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
            return Err(refused());
        }
        Ok(world.begin_session(user, caller, call))
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
                Ok(world.begin_session(token.user, caller, call))
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
                Ok(world.begin_session(user, caller, call))
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
            world.end_session(&found, End::Expired);
        }
        Ok(Answer::void())
    })
}
