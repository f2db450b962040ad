//! What goes on: the server itself, its tasks and its sessions. No cookie, key or token is in it.

use std::time::Instant;

use serde_json::{Value, json};
use vim_api::types as t;

use super::inventory;
use crate::inventory::plain;
use crate::tasks;
use crate::world::Shared;

/// What clients have to know of the server to come to it.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Of the API.
    pub(crate) url: String,
    pub(crate) sha1: String,
    pub(crate) sha256: String,
    pub(crate) started: Instant,
}

/// `GET /v1/server`.
pub(super) fn server(shared: &Shared, about: &About) -> Value {
    let style = shared.style();
    shared.read(|world| {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "api_version": shared.settings.version.to_string(),
            "mode": format!("{:?}", world.mode()),
            "url": about.url,
            "sha1": about.sha1,
            "sha256": about.sha256,
            "data": shared.settings.data_dir.display().to_string(),
            "uptime_seconds": about.started.elapsed().as_secs(),
            "clock": { "now": world.clock.now().date_time().as_str(), "stands": world.clock.stands() },
            "wire": style,
            "revision": world.revision(),
            "counts": inventory::counts(world),
        })
    })
}

/// `GET /v1/tasks`: those of the recent past, the newest first.
pub(super) fn tasks(shared: &Shared) -> Value {
    shared.read(|world| json!({ "tasks": world.tasks.infos().rev().map(task).collect::<Vec<_>>() }))
}

/// `GET /v1/sessions`: of the API, then those that the REST services have to themselves.
pub(super) fn sessions(shared: &Shared) -> Value {
    shared.update_if(|world| world.expire_idle());
    shared.read(|world| {
        let now = world.clock.now();
        let api = world.sessions.iter().map(|(_, session)| {
            json!({
                "kind": "api",
                "user": session.user,
                "address": session.address,
                "agent": session.agent,
                "login": session.login.date_time().as_str(),
                "idle_seconds": now.since(session.last_active).as_secs(),
                "calls": session.calls,
            })
        });
        let rest = world.rest.live.values().map(|session| {
            json!({ "kind": "rest", "user": session.user, "login": session.begun.date_time().as_str() })
        });
        let mut sessions: Vec<Value> = api.chain(rest).collect();
        // Not in the order of the cookies, which would tell something of them.
        sessions.sort_by(|one, other| one["login"].as_str().cmp(&other["login"].as_str()));
        json!({ "sessions": sessions, "timeout_seconds": world.stored.options.session_timeout().as_secs() })
    })
}

fn task(info: &t::TaskInfo) -> Value {
    let state = match info.state {
        t::TaskInfoState::Queued => "queued",
        t::TaskInfoState::Running => "running",
        t::TaskInfoState::Success => "success",
        t::TaskInfoState::Error => "error",
        _ => "unknown",
    };
    let error = info
        .error
        .as_ref()
        .map(|error| json!({ "fault": error.fault.type_name(), "message": error.localized_message }));
    let reason = info.reason.downcast_ref::<t::TaskReasonUser>();
    json!({
        "id": info.key,
        "method": info.name,
        "what": tasks::label(&info.description_id),
        "entity": info.entity.as_ref().map(|entity| entity.value()),
        "entity_name": info.entity_name.as_deref().map(plain),
        "state": state,
        "progress": info.progress,
        "cancelled": info.cancelled,
        "user": reason.map(|reason| &reason.user_name),
        "queued": info.queue_time.as_str(),
        "started": info.start_time.as_ref().map(|time| time.as_str()),
        "completed": info.complete_time.as_ref().map(|time| time.as_str()),
        "error": error,
    })
}
