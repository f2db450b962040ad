//! Tags: categories, tags, and which object has which.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vim_api::MoRef;

use crate::authorization::{Rights, elsewhere};
use crate::random;

/// All that is known of tags.
#[derive(Default)]
pub(crate) struct Tagging {
    categories: BTreeMap<String, Category>,
    tags: BTreeMap<String, Tag>,
    /// Which tag is on which object.
    attached: BTreeSet<(String, Object)>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    name: String,
    description: String,
    cardinality: String,
    associable_types: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    name: String,
    description: String,
    category_id: String,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Object {
    #[serde(rename = "type")]
    type_name: String,
    id: String,
}

impl Object {
    fn reference(&self) -> MoRef {
        MoRef::of_type(&self.type_name, self.id.clone())
    }
}

/// What is asked for.
pub(crate) struct Operation<'a> {
    pub(crate) method: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) id: Option<String>,
    pub(crate) action: Option<&'a str>,
    pub(crate) body: Value,
    /// Whether an object without tags is told with `null`, and not left out: both were seen.
    pub(crate) nulls: bool,
}

pub(crate) enum Reply {
    Nothing,
    Value(Value),
    Created(Value),
}

/// An error of a REST service.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

pub(crate) type Outcome<T = Reply> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn unauthenticated() -> Self {
        Self { error_type: "UNAUTHENTICATED", message: "Authentication required.".to_owned() }
    }

    fn unauthorized(privilege: &str, object: &MoRef) -> Self {
        let message = format!("{privilege} is missing on {}.", object.value());
        Self { error_type: "UNAUTHORIZED", message }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { error_type: "NOT_FOUND", message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { error_type: "INVALID_ARGUMENT", message: message.into() }
    }

    fn exists(name: &str) -> Self {
        Self { error_type: "ALREADY_EXISTS", message: format!("There is one that is called {name}.") }
    }
}

impl Object {
    pub(crate) fn new(type_name: &str, id: &str) -> Self {
        Self { type_name: type_name.to_owned(), id: id.to_owned() }
    }
}

impl Tagging {
    /// The id of a tag, by its category's name and its own.
    pub(crate) fn tag_named(&self, category: &str, name: &str) -> Option<String> {
        let of_it = |tag: &Tag| {
            tag.name == name
                && self.categories.get(&tag.category_id).is_some_and(|found| found.name == category)
        };
        self.tags.iter().find(|(_, tag)| of_it(tag)).map(|(id, _)| id.clone())
    }

    /// The tags on an object, each with its category's name before its own.
    pub(crate) fn names_on(&self, object: &Object) -> Vec<(String, String)> {
        let on = self.attached.iter().filter(|(_, on)| on == object);
        let tags = on.filter_map(|(tag, _)| self.tags.get(tag));
        tags.filter_map(|tag| Some((self.categories.get(&tag.category_id)?.name.clone(), tag.name.clone())))
            .collect()
    }

    /// The ids of the objects of a type that a tag is on.
    pub(crate) fn on_tag(&self, tag: &str, type_name: &str) -> Vec<String> {
        let on = self.attached.iter().filter(|(id, on)| id == tag && on.type_name == type_name);
        on.map(|(_, on)| on.id.clone()).collect()
    }

    /// Does what is asked for, as far as a user's rights go: what is not the user's to read is left out of lists.
    pub(crate) fn carry_out(&mut self, asked: Operation<'_>, rights: &Rights<'_>, root: &MoRef) -> Outcome {
        let privilege = elsewhere::of_tags(&asked);
        if !rights.has(root, privilege) {
            return Err(Refusal::unauthorized(privilege, root));
        }
        let id = asked.id.as_deref();
        match (asked.method, asked.resource, id, asked.action) {
            ("GET", "category", None, None) => {
                Ok(Reply::Value(json!(self.categories.keys().collect::<Vec<_>>())))
            }
            ("GET", "category", Some(id), None) => {
                Ok(Reply::Value(with_id(id, self.categories.get(id).ok_or_else(|| missing(id))?)))
            }
            ("POST", "category", None, None) => self.add_category(read(asked.body)?),
            ("DELETE", "category", Some(id), None) => {
                self.categories.remove(id).ok_or_else(|| missing(id))?;
                self.tags.retain(|_, tag| tag.category_id != id);
                self.attached.retain(|(tag, _)| self.tags.contains_key(tag));
                Ok(Reply::Nothing)
            }
            ("GET", "tag", None, None) => Ok(Reply::Value(json!(self.tags.keys().collect::<Vec<_>>()))),
            ("GET", "tag", Some(id), None) => {
                Ok(Reply::Value(with_id(id, self.tags.get(id).ok_or_else(|| missing(id))?)))
            }
            ("POST", "tag", None, None) => self.add_tag(read(asked.body)?),
            ("POST", "tag", id, Some("list-tags-for-category")) => {
                let named = asked.body["category_id"].as_str();
                let category = id.or(named).unwrap_or_default();
                self.categories.get(category).ok_or_else(|| missing(category))?;
                let of = self.tags.iter().filter(|(_, tag)| tag.category_id == category);
                Ok(Reply::Value(json!(of.map(|(id, _)| id).collect::<Vec<_>>())))
            }
            ("DELETE", "tag", Some(id), None) => {
                self.tags.remove(id).ok_or_else(|| missing(id))?;
                self.attached.retain(|(tag, _)| tag != id);
                Ok(Reply::Nothing)
            }
            ("POST", "tag-association", id, Some(action)) => {
                self.associate(id, action, asked.body, asked.nulls, rights)
            }
            _ => Err(Refusal::not_found("There is no such operation.")),
        }
    }

    fn add_category(&mut self, new: Category) -> Outcome {
        if self.categories.values().any(|category| category.name == new.name) {
            return Err(Refusal::exists(&new.name));
        }
        if !["SINGLE", "MULTIPLE"].contains(&new.cardinality.as_str()) {
            return Err(Refusal::invalid(format!("The cardinality {} is unknown.", new.cardinality)));
        }
        let id = format!("urn:vmomi:InventoryServiceCategory:{}:GLOBAL", random::uuid());
        self.categories.insert(id.clone(), new);
        Ok(Reply::Created(json!(id)))
    }

    fn add_tag(&mut self, new: Tag) -> Outcome {
        self.categories.get(&new.category_id).ok_or_else(|| missing(&new.category_id))?;
        if self.tags.values().any(|tag| (&tag.name, &tag.category_id) == (&new.name, &new.category_id)) {
            return Err(Refusal::exists(&new.name));
        }
        let id = format!("urn:vmomi:InventoryServiceTag:{}:GLOBAL", random::uuid());
        self.tags.insert(id.clone(), new);
        Ok(Reply::Created(json!(id)))
    }

    fn associate(
        &mut self,
        id: Option<&str>,
        action: &str,
        mut body: Value,
        nulls: bool,
        rights: &Rights<'_>,
    ) -> Outcome {
        let is_seen = |object: &Object| rights.has(&object.reference(), elsewhere::SEE_TAGS);
        let seen = |object: Object| match is_seen(&object) {
            true => Ok(object),
            false => Err(Refusal::unauthorized(elsewhere::SEE_TAGS, &object.reference())),
        };
        let mut field = |name: &str| body[name].take();
        match (id, action) {
            (Some(id), "attach") => {
                self.attach(id, seen(read(field("object_id"))?)?)?;
                Ok(Reply::Nothing)
            }
            (Some(id), "detach") => {
                self.detach(id, seen(read(field("object_id"))?)?)?;
                Ok(Reply::Nothing)
            }
            (None, "attach-multiple-tags-to-object") => {
                let object = seen(read(field("object_id"))?)?;
                let tags: Vec<String> = read(field("tag_ids"))?;
                let failed = tags.iter().filter_map(|tag| self.attach(tag, object.clone()).err());
                let messages: Vec<Value> = failed
                    .map(|refusal| json!({ "id": "vsphere.sim", "default_message": refusal.message, "args": [] }))
                    .collect();
                Ok(Reply::Value(json!({ "success": messages.is_empty(), "error_messages": messages })))
            }
            (None, "list-attached-tags-on-objects") => {
                let objects: Vec<Object> = read(field("object_ids"))?;
                let told = objects.iter().filter(|object| is_seen(object)).filter_map(|object| {
                    let on: Vec<&String> =
                        self.attached.iter().filter(|(_, on)| on == object).map(|(tag, _)| tag).collect();
                    let tags = if on.is_empty() && nulls { Value::Null } else { json!(on) };
                    (nulls || !on.is_empty()).then(|| json!({ "object_id": object, "tag_ids": tags }))
                });
                Ok(Reply::Value(json!(told.collect::<Vec<_>>())))
            }
            (None, "list-attached-objects-on-tags") => {
                let tags: Vec<String> = read(field("tag_ids"))?;
                let told = tags.iter().map(|id| {
                    let on = self.attached.iter().filter(|(tag, _)| tag == id).map(|(_, on)| on);
                    let on: Vec<&Object> = on.filter(|on| is_seen(on)).collect();
                    json!({ "tag_id": id, "object_ids": on })
                });
                Ok(Reply::Value(json!(told.collect::<Vec<_>>())))
            }
            _ => Err(Refusal::not_found("There is no such operation.")),
        }
    }

    pub(crate) fn detach(&mut self, id: &str, object: Object) -> Outcome<()> {
        self.tags.get(id).ok_or_else(|| missing(id))?;
        self.attached.remove(&(id.to_owned(), object));
        Ok(())
    }

    pub(crate) fn attach(&mut self, id: &str, object: Object) -> Outcome<()> {
        let tag = self.tags.get(id).ok_or_else(|| missing(id))?;
        let category = self.categories.get(&tag.category_id).ok_or_else(|| missing(&tag.category_id))?;
        if !category.associable_types.is_empty() && !category.associable_types.contains(&object.type_name) {
            let message =
                format!("The tag {} is not for objects of the type {}.", tag.name, object.type_name);
            return Err(Refusal::invalid(message));
        }
        let of_category =
            |id: &str| self.tags.get(id).is_some_and(|other| other.category_id == tag.category_id);
        let other =
            |(other, on): &(String, Object)| other.as_str() != id && *on == object && of_category(other);
        if category.cardinality == "SINGLE" && self.attached.iter().any(other) {
            let message = format!("The object has another tag of the category {}.", category.name);
            return Err(Refusal::invalid(message));
        }
        self.attached.insert((id.to_owned(), object));
        Ok(())
    }
}

fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!("There is no {id}."))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Outcome<T> {
    serde_json::from_value(value).map_err(|error| Refusal::invalid(error.to_string()))
}

fn with_id(id: &str, record: &impl Serialize) -> Value {
    let mut value = json!(record);
    value["id"] = json!(id);
    value["used_by"] = json!([]);
    value
}
