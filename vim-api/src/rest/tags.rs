//! Tags and their categories, which belong to the vCenter's single sign-on domain and not to its inventory.

mod assignments;
mod operation;

use futures::{StreamExt, TryStreamExt};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::answer::texts;
use super::{Rest, RestStyle};
use crate::error::Error;
use crate::moref::MoRef;

pub use assignments::TagAssignment;
use operation::Operation;

/// Most objects, or tags, in one question.
const BATCH: usize = 300;

/// Questions that are asked side by side where there is none for many at once.
const PARALLEL: usize = 8;

/// The tagging service. See [`Rest::tags`].
///
/// Errors are those of [`Rest::get`]; what else is to be known stands with each method.
#[derive(Debug, Clone)]
pub struct Tags(Rest);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// An id that was kept as text.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// As the server writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The id of a tag, such as `urn:vmomi:InventoryServiceTag:..:GLOBAL`. Other single sign-on domains do not know it.
    TagId
}

id! {
    /// The id of a category, such as `urn:vmomi:InventoryServiceCategory:..:GLOBAL`. Other single sign-on domains do not
    /// know it.
    CategoryId
}

/// How many tags of a category an object may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cardinality {
    /// One.
    #[serde(rename = "SINGLE")]
    Single,
    /// Any number.
    #[serde(rename = "MULTIPLE")]
    Multiple,
    /// What a newer server calls it.
    #[serde(untagged)]
    Other(String),
}

/// A category of tags.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Category {
    /// Its id.
    pub id: CategoryId,
    /// Its name, of which there is one in the domain.
    pub name: String,
    /// What people wrote about it; may be empty.
    #[serde(default)]
    pub description: String,
    /// How many of its tags an object may have.
    pub cardinality: Cardinality,
    /// Types of the objects that may have its tags, such as `VirtualMachine`. Empty for all types.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub associable_types: Vec<String>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Tag {
    /// Its id.
    pub id: TagId,
    /// The category that it is of.
    pub category_id: CategoryId,
    /// Its name, of which there is one in the category.
    pub name: String,
    /// What people wrote about it; may be empty.
    #[serde(default)]
    pub description: String,
}

/// A category to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewCategory {
    /// Its name.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// How many of its tags an object may have.
    pub cardinality: Cardinality,
    /// Types of the objects that may have its tags, such as `VirtualMachine`; empty for all types. Types can be added later,
    /// and not taken away.
    pub associable_types: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ObjectId {
    #[serde(rename = "type")]
    type_name: String,
    id: String,
}

#[derive(Deserialize)]
struct TagsOfObject {
    object_id: ObjectId,
    #[serde(default, deserialize_with = "null_as_empty")]
    tag_ids: Vec<TagId>,
}

#[derive(Deserialize)]
struct ObjectsOfTag {
    tag_id: TagId,
    #[serde(default, deserialize_with = "null_as_empty")]
    object_ids: Vec<ObjectId>,
}

#[derive(Deserialize)]
struct BatchResult {
    success: bool,
    #[serde(default, deserialize_with = "null_as_empty")]
    error_messages: Vec<Value>,
}

fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl<T> From<&MoRef<T>> for ObjectId {
    fn from(object: &MoRef<T>) -> Self {
        Self { type_name: object.type_name().to_owned(), id: object.value().to_owned() }
    }
}

impl Tags {
    pub(super) fn new(rest: Rest) -> Self {
        Self(rest)
    }

    /// All categories.
    pub async fn categories(&self) -> Result<Vec<Category>, Error> {
        let ids: Vec<CategoryId> = self.list(Operation::on("category")).await?;
        self.each(ids, |id| async move { self.category(&id).await }).await
    }

    /// A category by its id.
    pub async fn category(&self, id: &CategoryId) -> Result<Category, Error> {
        self.get(Operation::on("category").id(id.as_str())).await
    }

    /// The category of that name, if there is one. It is looked for among all: the server can't be asked for a name.
    pub async fn find_category(&self, name: &str) -> Result<Option<Category>, Error> {
        Ok(self.categories().await?.into_iter().find(|category| category.name == name))
    }

    /// Makes a category. The error's type is `ALREADY_EXISTS` where there is one of that name.
    pub async fn create_category(&self, new: &NewCategory) -> Result<CategoryId, Error> {
        self.create(Operation::on("category"), json!(new)).await
    }

    /// Deletes a category with its tags, which are taken from all objects.
    pub async fn delete_category(&self, id: &CategoryId) -> Result<(), Error> {
        self.delete(Operation::on("category").id(id.as_str())).await
    }

    /// All tags of a category.
    pub async fn tags(&self, category: &CategoryId) -> Result<Vec<Tag>, Error> {
        let operation = Operation::on("tag").old_id(category.as_str()).action("list-tags-for-category");
        let ids: Option<Vec<TagId>> = self.query(operation, &json!({ "category_id": category })).await?;
        self.each(ids.unwrap_or_default(), |id| async move { self.tag(&id).await }).await
    }

    /// A tag by its id.
    pub async fn tag(&self, id: &TagId) -> Result<Tag, Error> {
        self.get(Operation::on("tag").id(id.as_str())).await
    }

    /// The tag of that name in the category of that name, if there is one.
    pub async fn find_tag(&self, category: &str, name: &str) -> Result<Option<Tag>, Error> {
        let Some(category) = self.find_category(category).await? else { return Ok(None) };
        Ok(self.tags(&category.id).await?.into_iter().find(|tag| tag.name == name))
    }

    /// Makes a tag. The error's type is `ALREADY_EXISTS` where the category has one of that name.
    pub async fn create_tag(
        &self,
        category: &CategoryId,
        name: &str,
        description: &str,
    ) -> Result<TagId, Error> {
        let new = json!({ "name": name, "description": description, "category_id": category });
        self.create(Operation::on("tag"), new).await
    }

    /// Deletes a tag, which is taken from all objects.
    pub async fn delete_tag(&self, id: &TagId) -> Result<(), Error> {
        self.delete(Operation::on("tag").id(id.as_str())).await
    }

    /// Gives a tag to an object. One that has it keeps it. The error's type is `INVALID_ARGUMENT` where the category does not
    /// allow it: by the object's type, or for another of its tags on the object.
    pub async fn attach<T>(&self, tag: &TagId, object: &MoRef<T>) -> Result<(), Error> {
        self.change("attach", tag, object).await
    }

    /// Takes a tag from an object. One that does not have it is no error.
    pub async fn detach<T>(&self, tag: &TagId, object: &MoRef<T>) -> Result<(), Error> {
        self.change("detach", tag, object).await
    }

    /// Gives many tags to one object. The server gives those that it can: what it says of the others is returned, in no
    /// particular order, and is empty when all were given.
    pub async fn attach_all<T>(&self, object: &MoRef<T>, tags: &[TagId]) -> Result<Vec<String>, Error> {
        let operation = Operation::on("tag-association").action("attach-multiple-tags-to-object");
        let mut failures = Vec::new();
        for tags in tags.chunks(BATCH) {
            let body = json!({ "object_id": ObjectId::from(object), "tag_ids": tags });
            let result: BatchResult = self.post(operation, &body).await?;
            let said = texts(&result.error_messages);
            if !result.success && said.is_empty() {
                failures.push(format!("not all tags were attached to {object}, for no reason that was told"));
            }
            failures.extend(said);
        }
        Ok(failures)
    }

    /// The tags of many objects, in the order of the objects. An object that is not there, or that the account does not see,
    /// has none.
    pub async fn attached<T>(&self, objects: &[MoRef<T>]) -> Result<Vec<(MoRef<T>, Vec<TagId>)>, Error> {
        let operation = Operation::on("tag-association").action("list-attached-tags-on-objects");
        let mut found = Vec::with_capacity(objects.len());
        for objects in objects.chunks(BATCH) {
            let ids: Vec<ObjectId> = objects.iter().map(ObjectId::from).collect();
            let answer: Option<Vec<TagsOfObject>> =
                self.query(operation, &json!({ "object_ids": ids })).await?;
            let answer = answer.unwrap_or_default();
            found.extend(objects.iter().map(|object| {
                // An object without tags may be left out.
                let of = |one: &TagsOfObject| {
                    one.object_id.id == object.value() && one.object_id.type_name == object.type_name()
                };
                let told = answer.iter().find(|one| of(one));
                (object.clone(), told.map(|told| told.tag_ids.clone()).unwrap_or_default())
            }));
        }
        Ok(found)
    }

    /// The objects that have each of the tags, in the order of the tags.
    pub async fn objects(&self, tags: &[TagId]) -> Result<Vec<(TagId, Vec<MoRef>)>, Error> {
        let operation = Operation::on("tag-association").action("list-attached-objects-on-tags");
        let mut found = Vec::with_capacity(tags.len());
        for tags in tags.chunks(BATCH) {
            let answer: Option<Vec<ObjectsOfTag>> =
                self.query(operation, &json!({ "tag_ids": tags })).await?;
            let answer = answer.unwrap_or_default();
            found.extend(tags.iter().map(|tag| {
                let told = answer.iter().find(|one| one.tag_id == *tag);
                let objects = told.map(|told| told.object_ids.as_slice()).unwrap_or_default();
                let moref = |object: &ObjectId| MoRef::of_type(&object.type_name, object.id.as_str());
                (tag.clone(), objects.iter().map(moref).collect())
            }));
        }
        Ok(found)
    }

    async fn change<T>(&self, action: &'static str, tag: &TagId, object: &MoRef<T>) -> Result<(), Error> {
        let operation = Operation::on("tag-association").id(tag.as_str()).action(action);
        let body = json!({ "object_id": ObjectId::from(object) });
        self.post(operation, &body).await.map(|IgnoredAny| ())
    }

    /// Asks about each, several at a time. What is deleted meanwhile is left out.
    async fn each<I, T, F>(&self, ids: Vec<I>, ask: impl Fn(I) -> F) -> Result<Vec<T>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        futures::stream::iter(ids.into_iter().map(ask))
            .buffered(PARALLEL)
            .filter_map(|found| async {
                match found {
                    Err(error) if error.is_not_found() => None,
                    found => Some(found),
                }
            })
            .try_collect()
            .await
    }

    async fn list<T: DeserializeOwned>(&self, operation: Operation<'_>) -> Result<Vec<T>, Error> {
        Ok(self.get::<Option<Vec<T>>>(operation).await?.unwrap_or_default())
    }

    async fn get<T: DeserializeOwned>(&self, operation: Operation<'_>) -> Result<T, Error> {
        self.0.get(&operation.path(self.0.style().await?)).await
    }

    async fn create<T: DeserializeOwned>(&self, operation: Operation<'_>, new: Value) -> Result<T, Error> {
        let body = match self.0.style().await? {
            RestStyle::Api => new,
            RestStyle::Rest => json!({ "create_spec": new }),
        };
        self.post(operation, &body).await
    }

    async fn post<T: DeserializeOwned>(&self, operation: Operation<'_>, body: &Value) -> Result<T, Error> {
        self.0.post(&operation.path(self.0.style().await?), body).await
    }

    async fn query<T: DeserializeOwned>(&self, operation: Operation<'_>, body: &Value) -> Result<T, Error> {
        self.0.query(&operation.path(self.0.style().await?), body).await
    }

    async fn delete(&self, operation: Operation<'_>) -> Result<(), Error> {
        self.0.delete(&operation.path(self.0.style().await?)).await
    }
}
