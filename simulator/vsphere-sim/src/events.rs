//! Events: posted where something happens, read by `EventManager` and its collectors.

pub(crate) mod filter;
mod kinds;

use vim_api::dynamic::{Element, IsA, Poly, Value, get_path, type_info};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::history::{Ring, collector};
use crate::inventory::moref;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// What has happened of late.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) ring: Ring<Poly<t::Event>>,
}

/// An event that is about to be posted.
pub(crate) struct Draft {
    event: Poly<t::Event>,
    message: String,
    user: String,
    entity: Option<MoRef>,
    chain: Option<i32>,
}

impl Draft {
    /// An event of some type with the text for people.
    pub(crate) fn new(event: impl IsA<t::Event>, message: &str) -> Self {
        Self {
            event: Poly::new(event),
            message: message.to_owned(),
            user: String::new(),
            entity: None,
            chain: None,
        }
    }

    /// Who has brought it about; the server itself unless this says otherwise.
    pub(crate) fn by(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// The object that it is about.
    pub(crate) fn on(mut self, entity: &MoRef) -> Self {
        self.entity = Some(entity.clone());
        self
    }

    /// Another event of which this is a consequence.
    pub(crate) fn in_chain(mut self, chain: i32) -> Self {
        self.chain = Some(chain);
        self
    }
}

impl World {
    /// Posts an event: its key, its time and what surrounds its object are filled in.
    pub(crate) fn post(&mut self, draft: Draft) {
        let Draft { mut event, message, user, entity, chain } = draft;
        let lineage = self.lineage_of(entity.as_ref());
        let key = self.events.ring.next_key();
        event.key = key;
        event.chain_id = chain.unwrap_or(key);
        event.created_time = self.clock.now().date_time();
        event.user_name = user;
        event.full_formatted_message = Some(message);
        if let Some(entity) = &entity {
            self.surround(&mut event, entity, &lineage);
        }
        self.events.ring.push(lineage, event);
    }

    /// Posts an event about a machine, in the name of who began the task that holds it. The message begins with the
    /// machine and where it is, and `what` follows.
    pub(crate) fn post_of_machine(&mut self, id: &str, event: impl IsA<t::Event>, what: &str) {
        let machine: MoRef = moref::<mo::VirtualMachine>(id).cast();
        let task =
            self.machine(id).and_then(|machine| machine.busy.as_ref()).and_then(|task| self.tasks.get(task));
        let (user, chain) = task.map_or((String::new(), None), |task| {
            let reason = task.info().reason.downcast_ref::<t::TaskReasonUser>();
            (
                reason.map(|reason| reason.user_name.clone()).unwrap_or_default(),
                Some(task.info().event_chain_id),
            )
        });
        let host = self.host_of(&machine).map(|host| self.name_of(&host.cast())).unwrap_or_default();
        let message = format!("{} on {host} {what}", self.name_of(&machine));
        let draft = Draft::new(event, &message).by(&user).on(&machine);
        self.post(match chain {
            Some(chain) => draft.in_chain(chain),
            None => draft,
        });
    }

    /// Posts what a changed configuration brings: the event of it, and one more if the name has changed.
    pub(crate) fn post_reconfigured(&mut self, id: &str, old_name: &str, spec: t::VirtualMachineConfigSpec) {
        if let Some(new_name) = spec.name.clone().filter(|name| name != old_name) {
            let old_name = old_name.to_owned();
            let text = format!("is renamed from {old_name}");
            let event = t::VmRenamedEvent { old_name, new_name, ..Default::default() };
            self.post_of_machine(id, event, &text);
        }
        let event = t::VmReconfiguredEvent { config_spec: spec, ..Default::default() };
        self.post_of_machine(id, event, "is reconfigured");
    }

    /// Posts that a machine needs consolidation now, or does no more.
    pub(crate) fn post_consolidation(&mut self, id: &str, before: bool, now: bool) {
        let (event_type_id, severity, what) = match (before, now) {
            (false, true) => {
                ("com.vmware.vc.VmDiskConsolidationNeeded", "warning", "needs consolidation of its disks")
            }
            (true, false) => {
                ("com.vmware.vc.VmDiskConsolidatedEvent", "info", "has had its disks consolidated")
            }
            _ => return,
        };
        let event = t::EventEx {
            event_type_id: event_type_id.to_owned(),
            severity: Some(severity.to_owned()),
            object_id: Some(id.to_owned()),
            object_type: Some("VirtualMachine".to_owned()),
            ..Default::default()
        };
        self.post_of_machine(id, event, what);
    }

    /// An object as an argument of an event.
    pub(crate) fn entity_argument(&self, entity: &MoRef) -> t::ManagedEntityEventArgument {
        t::ManagedEntityEventArgument { base: self.named(entity), entity: entity.cast() }
    }

    fn named(&self, entity: &MoRef) -> t::EntityEventArgument {
        t::EntityEventArgument { name: self.name_of(entity), ..Default::default() }
    }

    fn name_of(&self, entity: &MoRef) -> String {
        match self
            .node(entity, None)
            .and_then(|node| self.property(node, crate::inventory::Wanted::whole("name"), None))
        {
            Some(Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// Fills the arguments that every event may have.
    fn surround(&self, event: &mut t::Event, entity: &MoRef, lineage: &[MoRef]) {
        for object in lineage {
            let base = self.named(object);
            match object.type_name() {
                "VirtualMachine" => {
                    event.vm = Some(Box::new(t::VmEventArgument { base, vm: object.cast() }));
                }
                "HostSystem" => {
                    event.host = Some(Box::new(t::HostEventArgument { base, host: object.cast() }));
                }
                "ComputeResource" | "ClusterComputeResource" => {
                    let argument = t::ComputeResourceEventArgument { base, compute_resource: object.cast() };
                    event.compute_resource = Some(Box::new(argument));
                }
                "Datacenter" => {
                    event.datacenter =
                        Some(Box::new(t::DatacenterEventArgument { base, datacenter: object.cast() }));
                }
                "Datastore" if object == entity => {
                    event.ds = Some(Box::new(t::DatastoreEventArgument { base, datastore: object.cast() }));
                }
                "Network" if object == entity => {
                    event.net = Some(Box::new(t::NetworkEventArgument { base, network: object.cast() }));
                }
                _ => {}
            }
        }
    }

    /// A property of `EventManager`.
    pub(crate) fn event_property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "latestEvent" => self.events.ring.iter().next_back()?.value.to_value(),
            "description" => kinds::description().to_value(),
            "maxCollector" => collector::MOST.try_into().map(Value::Int).ok()?,
            _ => return None,
        })
    }
}

/// Carries out a call to `EventManager`.
pub(crate) fn call(shared: &Shared, cookie: &str, user: &str, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "QueryEvents" => collector::query_events(shared, cookie, call),
        "CreateCollectorForEvents" => collector::create_for_events(shared, cookie, call),
        "LogUserEvent" => log(shared, user, call),
        "PostEvent" => post(shared, user, call),
        "RetrieveArgumentDescription" => arguments(call),
        _ => Err(method_not_found(call)),
    }
}

fn log(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let entity: MoRef = call.required("entity")?;
    let message: String = call.required("msg")?;
    shared.update(|world| {
        if world.node(&entity, None).is_none() {
            return Err(not_found(&entity));
        }
        let event = t::GeneralUserEvent {
            base: t::GeneralEvent { message: message.clone(), ..Default::default() },
            entity: Some(Box::new(world.entity_argument(&entity))),
        };
        let text = format!("User logged event: {message}");
        world.post(Draft::new(event, &text).by(user).on(&entity));
        Ok(Answer::void())
    })
}

/// An event of a client's own. What it says of itself is kept; key, time and user are the server's.
fn post(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let event: Poly<t::Event> = call.required("eventToPost")?;
    let task: Option<t::TaskInfo> = call.optional("taskInfo")?;
    if event.type_name() == "Event" || event.unknown_type().is_some() {
        let message = format!("The server knows no event \"{}\".", event.type_name());
        return Err(fault(t::InvalidEvent::default(), message));
    }
    let entity = [
        event.vm.as_ref().map(|vm| vm.vm.cast()),
        event.host.as_ref().map(|host| host.host.cast()),
        event.ds.as_ref().map(|store| store.datastore.cast()),
        event.compute_resource.as_ref().map(|resource| resource.compute_resource.cast()),
        event.datacenter.as_ref().map(|datacenter| datacenter.datacenter.cast()),
    ];
    let entity: Option<MoRef> = entity.into_iter().flatten().next();
    let text = |path: &str| match get_path(event.as_object(), path) {
        Ok(Some(Value::String(text))) => Some(text),
        _ => None,
    };
    let message =
        event.full_formatted_message.clone().or_else(|| text("message")).or_else(|| text("eventTypeId"));
    shared.update(|world| {
        if let Some(entity) = entity.as_ref().filter(|entity| world.node(entity, None).is_none()) {
            return Err(not_found(entity));
        }
        world.post(Draft {
            event,
            message: message.unwrap_or_default(),
            user: user.to_owned(),
            entity,
            chain: task.map(|task| task.event_chain_id),
        });
        Ok(Answer::void())
    })
}

/// What a type of event may be about.
fn arguments(call: &Call) -> Outcome<Answer> {
    let id: String = call.required("eventTypeId")?;
    let Some(info) = type_info(id.trim_start_matches("vim.event.")).filter(|info| info.is_a(event_type()))
    else {
        return Err(invalid_argument("eventTypeId", format!("There is no event \"{id}\".")));
    };
    let about_machines = type_info("VmEvent").is_some_and(|machine| info.is_a(machine));
    let all: &[(&str, &str)] = if about_machines {
        &[
            ("vm", "VirtualMachine"),
            ("host", "HostSystem"),
            ("computeResource", "ComputeResource"),
            ("datacenter", "Datacenter"),
        ]
    } else {
        &[]
    };
    let argument = |(name, kind): &(&str, &str)| t::EventArgDesc {
        name: (*name).to_owned(),
        r#type: (*kind).to_owned(),
        ..Default::default()
    };
    Ok(Answer::many(call, &all.iter().map(argument).collect::<Vec<_>>()))
}

fn event_type() -> &'static vim_api::dynamic::TypeInfo {
    <t::Event as vim_api::dynamic::DataObject>::INFO
}
