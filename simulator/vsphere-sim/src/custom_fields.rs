//! Custom attributes: fields that users define, and their values on inventory objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vim_api::dynamic::{Element, Value, managed_type};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::events::Draft;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::inventory::moref;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The first field's key.
const FIRST_KEY: i32 = 101;

/// Definitions and values.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CustomFields {
    fields: Vec<Field>,
    /// How many there have ever been: keys are not used again.
    made: i32,
    /// By object, `VirtualMachine:vm-101`, and key.
    values: BTreeMap<String, BTreeMap<i32, String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Field {
    key: i32,
    name: String,
    /// The type of the objects that have it; all of them if absent.
    on: Option<String>,
    /// Who may change the definition, and who the values: what it takes to create, read, update and delete.
    policies: [Option<[String; 4]>; 2],
}

impl Field {
    fn is_on(&self, object: &MoRef) -> bool {
        let info = managed_type(object.type_name());
        self.on.as_ref().is_none_or(|on| info.is_some_and(|info| info.is_a(on)))
    }

    fn to_wire(&self) -> t::CustomFieldDef {
        let policy = |policy: &Option<[String; 4]>| {
            policy.clone().map(|[create, read, update, delete]| {
                Box::new(t::PrivilegePolicyDef {
                    create_privilege: create,
                    read_privilege: read,
                    update_privilege: update,
                    delete_privilege: delete,
                    ..Default::default()
                })
            })
        };
        t::CustomFieldDef {
            key: self.key,
            name: self.name.clone(),
            r#type: "string".to_owned(),
            managed_object_type: self.on.clone(),
            field_def_privileges: policy(&self.policies[0]),
            field_instance_privileges: policy(&self.policies[1]),
            ..Default::default()
        }
    }
}

impl World {
    /// `CustomFieldsManager.field`.
    pub(crate) fn custom_field_property(&self, name: &str) -> Option<Value> {
        let all =
            || self.stored.custom_fields.fields.iter().map(|field| field.to_wire().to_value()).collect();
        (name == "field").then(|| Value::array("CustomFieldDef", all()))
    }

    /// `availableField`: what an object can have.
    pub(crate) fn custom_fields_of(&self, object: &MoRef) -> Vec<t::CustomFieldDef> {
        let fields = self.stored.custom_fields.fields.iter();
        fields.filter(|field| field.is_on(object)).map(Field::to_wire).collect()
    }

    /// What an object has: `value`, `customValue` and `summary.customValue`.
    pub(crate) fn custom_values(&self, object: &MoRef) -> Vec<t::CustomFieldStringValue> {
        let own = self.stored.custom_fields.values.get(&id_of(object));
        let value = |(key, value): (&i32, &String)| t::CustomFieldStringValue {
            base: t::CustomFieldValue { key: *key, ..Default::default() },
            value: value.clone(),
        };
        own.into_iter().flatten().map(value).collect()
    }
}

impl CustomFields {
    /// Forgets the values of an object that is gone.
    pub(crate) fn forget(&mut self, object: &MoRef) {
        self.values.remove(&id_of(object));
    }
}

/// Carries a call to the manager out.
pub(crate) fn call(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "AddCustomFieldDef" => add(shared, user, call),
        "RemoveCustomFieldDef" => {
            let key: i32 = call.required("key")?;
            shared.update(|world| {
                let field = field(world, key)?.clone();
                let all = &mut world.stored.custom_fields;
                all.fields.retain(|field| field.key != key);
                all.values.values_mut().for_each(|values| drop(values.remove(&key)));
                world.touch_all();
                let text = format!("Removed field definition {}", field.name);
                let event = t::CustomFieldDefRemovedEvent { base: definition(&field) };
                world.post(Draft::new(event, &text).by(user));
                Ok(Answer::void())
            })
        }
        "RenameCustomFieldDef" => {
            let key: i32 = call.required("key")?;
            let name = name_of(call.required("name")?)?;
            shared.update(|world| {
                unused(world, &name, Some(key))?;
                let field = field(world, key)?;
                let base = definition(field);
                name.clone_into(&mut field.name);
                world.touch_all();
                let text = format!("Renamed field definition from {} to {name}", base.name);
                let event = t::CustomFieldDefRenamedEvent { base, new_name: name };
                world.post(Draft::new(event, &text).by(user));
                Ok(Answer::void())
            })
        }
        "SetField" => {
            let key: i32 = call.required("key")?;
            let entity: MoRef = call.required("entity")?;
            shared.update(|world| set(world, user, &entity, key, call.required("value")?))
        }
        _ => Err(method_not_found(call)),
    }
}

/// `ExtensibleManagedObject.setCustomValue`, where the field is called by its name.
pub(crate) fn set_by_name(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let name: String = call.required("key")?;
    shared.update(|world| {
        let mut fields = world.stored.custom_fields.fields.iter();
        let found = fields.find(|field| field.name == name && field.is_on(&call.this)).map(|field| field.key);
        let key = found.ok_or_else(|| invalid_argument("key", format!("There is no field \"{name}\".")))?;
        set(world, user, &call.this, key, call.required("value")?)
    })
}

/// An empty value takes the field off the object.
fn set(world: &mut World, user: &str, entity: &MoRef, key: i32, value: String) -> Outcome<Answer> {
    if world.node(entity, None).is_none() {
        return Err(not_found(entity));
    }
    let field = field(world, key)?.clone();
    if !field.is_on(entity) {
        let message = format!("A {} does not have the field \"{}\".", entity.type_name(), field.name);
        return Err(invalid_argument("key", message));
    }
    let values = world.stored.custom_fields.values.entry(id_of(entity)).or_default();
    let before = if value.is_empty() { values.remove(&key) } else { values.insert(key, value.clone()) };
    world.touch();
    world.bump(entity.value());
    let text = format!("Changed custom field {} on {entity} to {value}", field.name);
    let event = t::CustomFieldValueChangedEvent {
        entity: world.entity_argument(entity),
        field_key: key,
        name: field.name,
        value,
        prev_state: before,
        ..Default::default()
    };
    world.post(Draft::new(event, &text).by(user).on(entity));
    Ok(Answer::void())
}

fn add(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let name = name_of(call.required("name")?)?;
    let on: Option<String> = call.optional("moType")?;
    if let Some(on) = on.as_ref().filter(|on| managed_type(on).is_none_or(|info| !info.is_a("ManagedEntity")))
    {
        return Err(invalid_argument("moType", format!("A {on} cannot have custom fields.")));
    }
    let policy = |argument: &str| -> Outcome<Option<[String; 4]>> {
        let policy: Option<t::PrivilegePolicyDef> = call.optional(argument)?;
        Ok(policy.map(|policy| {
            [policy.create_privilege, policy.read_privilege, policy.update_privilege, policy.delete_privilege]
        }))
    };
    let policies = [policy("fieldDefPolicy")?, policy("fieldPolicy")?];
    shared.update(|world| {
        unused(world, &name, None)?;
        let all = &mut world.stored.custom_fields;
        let field = Field { key: FIRST_KEY + all.made, name, on, policies };
        all.made += 1;
        all.fields.push(field.clone());
        world.touch_all();
        let text = format!("Created new custom field definition {}", field.name);
        let event = t::CustomFieldDefAddedEvent { base: definition(&field) };
        world.post(Draft::new(event, &text).by(user));
        Ok(Answer::one(call, &field.to_wire()))
    })
}

fn definition(field: &Field) -> t::CustomFieldDefEvent {
    t::CustomFieldDefEvent { field_key: field.key, name: field.name.clone(), ..Default::default() }
}

fn unused(world: &World, name: &str, except: Option<i32>) -> Outcome<()> {
    let mut fields = world.stored.custom_fields.fields.iter();
    if !fields.any(|field| field.name == name && Some(field.key) != except) {
        return Ok(());
    }
    let object = moref::<mo::CustomFieldsManager>("CustomFieldsManager").cast();
    let value = t::DuplicateName { name: name.to_owned(), object, ..Default::default() };
    Err(fault(value, format!("The name '{name}' already exists.")))
}

fn name_of(name: String) -> Outcome<String> {
    match name.chars().count() {
        1..=80 => Ok(name),
        _ => Err(invalid_argument("name", "A field has a name of 1 to 80 characters.")),
    }
}

fn field(world: &mut World, key: i32) -> Outcome<&mut Field> {
    let mut fields = world.stored.custom_fields.fields.iter_mut();
    fields
        .find(|field| field.key == key)
        .ok_or_else(|| invalid_argument("key", format!("There is no field {key}.")))
}

fn id_of(object: &MoRef) -> String {
    format!("{}:{}", object.type_name(), object.value())
}
