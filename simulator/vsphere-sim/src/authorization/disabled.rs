//! Methods that are disabled on a machine for a while, as backup products do with migration.
//!
//! The calls are not part of the published schema; their form is that of clients which use them. Each entry belongs to
//! the source that made it, and only that source takes it back.

use std::collections::BTreeMap;
use std::fs;

use sim_store::state::DisabledMethod;
use vim_api::MoRef;
use vim_api::dynamic::method;
use vim_api::types as t;
use vim_api::xml::{Limits, Reader, Writer};

use super::subject_of;
use crate::fault::{Fault, Outcome, fault, invalid_argument, invalid_request, not_found};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The methods that the schema does not have.
pub(crate) const METHODS: [&str; 3] = ["DisableMethods", "EnableMethods", "QueryDisabledMethods"];

/// What the fake VDDK's `PrepareForAccess` disables, as the real one does by a call of [`METHODS`].
const PREPARED: &str = "RelocateVM_Task";

/// Refuses a method that is disabled on the machine that is called, or whose snapshot is.
pub(super) fn check(world: &World, call: &Call) -> Outcome<()> {
    if !matches!(call.this.type_name(), "VirtualMachine" | "VirtualMachineSnapshot") {
        return Ok(());
    }
    let machine = subject_of(world, &call.this);
    let mut disabled =
        world.machine(machine.value()).map_or_else(Vec::new, |machine| machine.disabled_methods.clone());
    if call.method == PREPARED {
        disabled.extend(world.prepared(machine.value()));
    }
    match disabled.iter().find(|entry| entry.method == call.method) {
        Some(entry) => Err(fault(
            t::MethodDisabled { source: Some(entry.source.clone()), ..Default::default() },
            format!("The method is disabled by '{}'", entry.source),
        )),
        None => Ok(()),
    }
}

/// Carries one of [`METHODS`] out.
pub(super) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "DisableMethods" => disable(shared, call),
        "EnableMethods" => enable(shared, call),
        _ => query(shared, call),
    }
}

fn disable(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let source: String = call.required("sourceId")?;
    let entities: Vec<MoRef> = call.list("entity")?;
    let methods = methods(call)?;
    if let Some(unknown) = methods.iter().find(|name| method(name).is_none()) {
        return Err(invalid_argument("method", format!("There is no method \"{unknown}\".")));
    }
    if call.optional::<bool>("sessionScope")? == Some(true) {
        return Err(fault(t::NotSupported::default(), "Methods are disabled until they are enabled again."));
    }
    shared.update(|world| {
        for entity in &entities {
            let known = &machine(world, entity)?.disabled_methods;
            let taken = known.iter().find(|entry| methods.contains(&entry.method) && entry.source != source);
            if let Some(entry) = taken {
                return Err(already_disabled(entry));
            }
        }
        for entity in &entities {
            let Some(machine) = world.machine_mut(entity.value()) else { return Err(not_found(entity)) };
            for method in &methods {
                let entry = DisabledMethod { method: method.clone(), source: source.clone() };
                if !machine.disabled_methods.contains(&entry) {
                    machine.disabled_methods.push(entry);
                }
            }
        }
        Ok(Answer::void())
    })
}

fn enable(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let source: String = call.required("sourceId")?;
    let entities: Vec<MoRef> = call.list("entity")?;
    let methods = methods(call)?;
    shared.update(|world| {
        for entity in &entities {
            machine(world, entity)?;
        }
        for entity in &entities {
            let Some(machine) = world.machine_mut(entity.value()) else { return Err(not_found(entity)) };
            machine
                .disabled_methods
                .retain(|entry| entry.source != source || !methods.contains(&entry.method));
        }
        Ok(Answer::void())
    })
}

/// No client's code for the answer was seen: the fields have the names that they have in the request.
fn query(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let entity: MoRef = call.required("entity")?;
    let mut writer = Writer::new(call.version);
    shared.read(|world| {
        for entry in &machine(world, &entity)?.disabled_methods {
            writer.open("returnval");
            for (name, value) in [("method", &entry.method), ("sourceId", &entry.source)] {
                writer.open(name);
                writer.text(value);
                writer.close(name);
            }
            writer.close("returnval");
        }
        Ok::<_, Fault>(())
    })?;
    Ok(Answer { xml: writer.finish(), ..Default::default() })
}

impl World {
    /// What `PrepareForAccess` of the fake VDDK has disabled on a machine: it notes that in `access.json`. Nobody who waits for
    /// updates is told of it.
    fn prepared(&self, machine: &str) -> Option<DisabledMethod> {
        let bytes = fs::read(self.data_dir.join("access.json")).ok()?;
        let mut prepared: BTreeMap<String, String> = serde_json::from_slice(&bytes).ok()?;
        let source = prepared.remove(machine)?;
        Some(DisabledMethod { method: PREPARED.to_owned(), source })
    }

    /// `ManagedEntity.disabledMethod`.
    pub(crate) fn disabled_methods(&self, entity: &MoRef) -> Vec<String> {
        let machine = self.machine(entity.value()).filter(|_| entity.type_name() == "VirtualMachine");
        let prepared = machine.and_then(|machine| self.prepared(&machine.id));
        let all = machine.into_iter().flat_map(|machine| machine.disabled_methods.iter().cloned());
        let mut names: Vec<String> = all.chain(prepared).map(|entry| entry.method).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn machine<'w>(world: &'w World, entity: &MoRef) -> Outcome<&'w crate::machine::Machine> {
    if entity.type_name() != "VirtualMachine" {
        let message =
            format!("Methods can be disabled on machines only here, and not on a {}.", entity.type_name());
        return Err(fault(t::NotSupported::default(), message));
    }
    world.machine(entity.value()).ok_or_else(|| not_found(entity))
}

fn already_disabled(entry: &DisabledMethod) -> Fault {
    let value = t::MethodAlreadyDisabledFault { source_id: entry.source.clone(), ..Default::default() };
    fault(value, format!("The method '{}' is already disabled by '{}'.", entry.method, entry.source))
}

/// The names in the argument: as such, or each in an element of its own beside a reason.
fn methods(call: &Call) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for xml in call.raw_list("method") {
        names.push(name_in(xml).map_err(|error| invalid_request(format!("{}: {error}", call.method)))?);
    }
    Ok(names)
}

fn name_in(xml: &str) -> Result<String, vim_api::xml::XmlError> {
    let limits = Limits { max_depth: 8, max_bytes: 64 << 10 };
    let mut reader = Reader::fragment(xml, limits)?;
    if reader.next_child()?.is_none() {
        return Err(reader.unexpected("a method without an element".to_owned()));
    }
    while let Some(child) = reader.next_child()? {
        if child.local() == "method" {
            return reader.text().map(std::borrow::Cow::into_owned);
        }
        reader.skip()?;
    }
    // No elements inside: the text is the name.
    let mut reader = Reader::fragment(xml, limits)?;
    reader.next_child()?;
    reader.text().map(std::borrow::Cow::into_owned)
}
