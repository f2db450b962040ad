//! Which events a client wants.

use vim_api::dynamic::{DataObject, Poly, type_info};
use vim_api::types as t;

use super::kinds;
use crate::history::Item;
use crate::history::collector::{is_between, is_by};

/// Whether an event passes a filter.
pub(crate) fn matches(item: &Item<Poly<t::Event>>, spec: &t::EventFilterSpec) -> bool {
    let event = &item.value;
    let by_entity =
        spec.entity.as_ref().is_none_or(|by| item.is_within(&by.entity.cast(), &by.recursion.to_string()));
    let by_time = spec
        .time
        .as_ref()
        .is_none_or(|by| is_between(&event.created_time, by.begin_time.as_ref(), by.end_time.as_ref()));
    let by_user =
        spec.user_name.as_ref().is_none_or(|by| is_by(&event.user_name, by.system_user, &by.user_list));
    by_entity
        && by_time
        && by_user
        && spec.event_chain_id.is_none_or(|chain| event.chain_id == chain)
        && is_of_type(event, spec)
        && (spec.category.is_empty() || spec.category.iter().any(|wanted| wanted == kinds::category(event)))
        // No event here bears a tag; an empty one asks for those without.
        && (spec.tag.is_empty() || spec.tag.iter().any(String::is_empty))
        // There are no alarms, no schedules and no audits here.
        && spec.alarm.is_none()
        && spec.scheduled_task.is_none()
        && spec.auditable != Some(true)
        && spec.audit_id.is_empty()
}

/// Ids of types count alone where there are some; both may name a type that others extend.
fn is_of_type(event: &Poly<t::Event>, spec: &t::EventFilterSpec) -> bool {
    let info = event.as_object().type_info();
    let extends = |name: &String| {
        let name = name.strip_prefix("vim.event.").unwrap_or(name);
        type_info(name).is_some_and(|wanted| wanted.is_a(<t::Event as DataObject>::INFO) && info.is_a(wanted))
    };
    if !spec.event_type_id.is_empty() {
        let own = kinds::extended_id(event);
        return spec.event_type_id.iter().any(|wanted| own == Some(wanted.as_str()) || extends(wanted));
    }
    spec.r#type.is_empty() || spec.r#type.iter().any(extends)
}
