//! The tags of objects by name: what outlives a vCenter.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Cardinality, Category, CategoryId, NewCategory, Tag, TagId, Tags};
use crate::error::Error;
use crate::moref::MoRef;

/// A tag that an object has, with all that it takes to make it anew. Its JSON is this crate's own and stays readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagAssignment {
    /// Name of the category.
    pub category: String,
    /// The category's description.
    pub category_description: String,
    /// How many tags of the category an object may have.
    pub cardinality: Cardinality,
    /// Types of the objects that may have tags of the category; empty for all.
    pub associable_types: Vec<String>,
    /// Name of the tag.
    pub tag: String,
    /// The tag's description.
    pub description: String,
}

/// What is known of a server's tags by name, as far as it was needed.
struct Known {
    categories: Vec<Category>,
    tags: BTreeMap<CategoryId, Vec<Tag>>,
}

impl Tags {
    /// The tags of many objects by name, in the order of the objects: what a backup keeps. Each tag and category is asked for
    /// once, however many objects have it.
    pub async fn read_assignments<T>(
        &self,
        objects: &[MoRef<T>],
    ) -> Result<Vec<(MoRef<T>, Vec<TagAssignment>)>, Error> {
        let attached = self.attached(objects).await?;
        let ids: BTreeSet<&TagId> = attached.iter().flat_map(|(_, tags)| tags).collect();
        let tags = self.each(ids.into_iter().collect(), |id| async move { self.tag(id).await }).await?;
        let ids: BTreeSet<&CategoryId> = tags.iter().map(|tag| &tag.category_id).collect();
        let categories =
            self.each(ids.into_iter().collect(), |id| async move { self.category(id).await }).await?;
        let assignment = |id: &TagId| {
            let tag = tags.iter().find(|tag| tag.id == *id)?;
            let category = categories.iter().find(|category| category.id == tag.category_id)?;
            Some(TagAssignment {
                category: category.name.clone(),
                category_description: category.description.clone(),
                cardinality: category.cardinality.clone(),
                associable_types: category.associable_types.clone(),
                tag: tag.name.clone(),
                description: tag.description.clone(),
            })
        };
        let named = |(object, ids): (MoRef<T>, Vec<TagId>)| {
            let assignments = ids.iter().filter_map(assignment).collect();
            (object, assignments)
        };
        Ok(attached.into_iter().map(named).collect())
    }

    /// Gives an object the tags of these names, in one batch. With `create`, categories and tags that are missing are made.
    ///
    /// Returns what did not succeed, empty when all did: a machine that is restored is not to fail for a tag. Tags that the
    /// object has already are kept.
    pub async fn restore<T>(
        &self,
        object: &MoRef<T>,
        assignments: &[TagAssignment],
        create: bool,
    ) -> Vec<Error> {
        if assignments.is_empty() {
            return Vec::new();
        }
        let mut known = match self.categories().await {
            Ok(categories) => Known { categories, tags: BTreeMap::new() },
            Err(error) => return vec![error.while_doing("looking for the categories of tags")],
        };
        let (mut ids, mut failures) = (Vec::new(), Vec::new());
        for assignment in assignments {
            match self.resolve(assignment, &mut known, create).await {
                Ok(id) => ids.push(id),
                Err(error) => failures.push(error.while_doing(&format!(
                    "restoring the tag {:?} of the category {:?}",
                    assignment.tag, assignment.category
                ))),
            }
        }
        let what = format!("attaching tags to {object}");
        match self.attach_all(object, &ids).await {
            Ok(said) => failures.extend(said.into_iter().map(|said| Error::rest(format!("{what}: {said}")))),
            Err(error) => failures.push(error.while_doing(&what)),
        }
        failures
    }

    async fn resolve(&self, wanted: &TagAssignment, known: &mut Known, create: bool) -> Result<TagId, Error> {
        let missing = |what: &str| {
            Err(Error::not_found(format!("this vCenter has no such {what}, and none was to be created")))
        };
        let category = match known.categories.iter().find(|category| category.name == wanted.category) {
            Some(category) => category.id.clone(),
            None if !create => return missing("category"),
            None => {
                let new = NewCategory {
                    name: wanted.category.clone(),
                    description: wanted.category_description.clone(),
                    cardinality: wanted.cardinality.clone(),
                    associable_types: wanted.associable_types.clone(),
                };
                let id = self.create_category(&new).await?;
                let NewCategory { name, description, cardinality, associable_types } = new;
                known.categories.push(Category {
                    id: id.clone(),
                    name,
                    description,
                    cardinality,
                    associable_types,
                });
                id
            }
        };
        let tags = match known.tags.get_mut(&category) {
            Some(tags) => tags,
            None => known.tags.entry(category.clone()).or_insert(self.tags(&category).await?),
        };
        if let Some(tag) = tags.iter().find(|tag| tag.name == wanted.tag) {
            return Ok(tag.id.clone());
        }
        if !create {
            return missing("tag");
        }
        let id = self.create_tag(&category, &wanted.tag, &wanted.description).await?;
        tags.push(Tag {
            id: id.clone(),
            category_id: category,
            name: wanted.tag.clone(),
            description: wanted.description.clone(),
        });
        Ok(id)
    }
}
