//! Managed types: properties from the sidecar, methods from the WSDL and the sidecar together.

use std::collections::{BTreeMap, BTreeSet};

use super::check_ancestry;
use super::names::{Names, card};
use super::versions::Versions;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{DataType, Field, ManagedType, Method, MethodResult, Model, Property, TypeRef};
use crate::schema::{Declared, Element, RawType, Schema};
use crate::sidecar::{self, Flag, Member, Sidecar};
use crate::wsdl::{Operation, Wsdl};

/// Owner of the operations whose owner nobody states; also the root of vSphere's managed types.
const ROOT: &str = "ManagedObject";

/// Declared by every operation, so it says nothing about any.
const IMPLIED_FAULT: &str = "RuntimeFault";

/// Adds the managed types of the model's last service.
pub(super) fn add(
    model: &mut Model,
    schema: &Schema,
    wsdl: &Wsdl,
    names: &Names<'_>,
    versions: &Versions,
    sidecar: Option<&Sidecar>,
) -> Result<()> {
    let service = model.services.len() - 1;
    let context = Context { schema, names, versions, types: &model.types };
    let mut left: BTreeMap<&str, &Operation> = wsdl.operations.iter().map(|o| (o.name.as_str(), o)).collect();
    let managed = &mut model.managed;
    for (name, stated) in sidecar.iter().flat_map(|s| &s.managed) {
        let since = versions.since(name, &stated.since)?;
        let readable = stated.properties.iter().filter(|_| service == 0);
        let properties = readable.map(|p| context.property(name, p, since)).collect::<Result<Vec<_>>>()?;
        let mut methods = Vec::with_capacity(stated.methods.len());
        for method in &stated.methods {
            let operation = left.remove(method.wsdl.as_str()).ok_or_else(|| {
                let message = format!(
                    "the sidecar gives {name:?} the method {:?}, which is no operation of the WSDL or was given before",
                    method.wsdl
                );
                Error::new(ErrorKind::Contradiction, message)
            })?;
            methods.push(context.method(operation, Some(method), since)?);
        }
        let base = stated.extends.clone();
        let vmodl = Some(stated.vmodl.clone());
        let new = ManagedType { name: name.clone(), service, base, since, properties, methods, vmodl };
        if managed.insert(name.clone(), new).is_some() {
            let message = format!("{name:?} is a managed type of two services");
            return Err(Error::new(ErrorKind::Duplicate, message));
        }
    }

    let root = managed.entry(ROOT.to_owned()).or_insert_with(|| ManagedType {
        name: ROOT.to_owned(),
        service,
        base: None,
        since: 0,
        properties: Vec::new(),
        methods: Vec::new(),
        vmodl: None,
    });
    for operation in wsdl.operations.iter().filter(|o| left.contains_key(o.name.as_str())) {
        root.methods.push(context.method(operation, None, 0)?);
    }
    check_ancestry(managed, |m| m.base.as_deref())?;
    check_properties(managed)
}

#[derive(Clone, Copy)]
struct Context<'a> {
    schema: &'a Schema,
    names: &'a Names<'a>,
    versions: &'a Versions,
    types: &'a BTreeMap<String, DataType>,
}

impl Context<'_> {
    fn property(&self, owner: &str, stated: &Member, owner_since: u8) -> Result<Property> {
        let user = format!("{owner}.{}", stated.name);
        let (ty, card) = self.names.in_sidecar(&user, &stated.ty, &stated.flags)?;
        let since = self.versions.since_within(&user, &stated.since, owner_since)?;
        Ok(Property { name: stated.name.clone(), ty, card, since, privilege: stated.privilege.clone() })
    }

    fn method(
        &self,
        operation: &Operation,
        stated: Option<&sidecar::Method>,
        owner_since: u8,
    ) -> Result<Method> {
        let name = &operation.name;
        let is_task = name.ends_with("_Task");
        if stated.is_some_and(|s| s.task != is_task) {
            return Err(contradiction(
                name,
                "the sidecar and the name disagree about whether it starts a task",
            ));
        }
        let since = stated.map_or(Ok(0), |s| self.versions.since_within(name, &s.since, owner_since))?;
        Ok(Method {
            name: name.clone(),
            vmodl: stated.map(|s| s.name.clone()),
            params: self.params(operation, stated, since)?,
            result: self.result(operation, stated)?,
            task_result: self.task_result(name, stated.filter(|_| is_task))?,
            is_task,
            faults: self.faults(operation)?,
            since,
            privilege: stated.and_then(|s| s.privilege.clone()),
        })
    }

    fn params(
        &self,
        operation: &Operation,
        stated: Option<&sidecar::Method>,
        since: u8,
    ) -> Result<Vec<Field>> {
        let name = &operation.name;
        let Some(Declared::Named(RawType::Named(request))) = self.schema.elements.get(&operation.input)
        else {
            let message = format!(
                "operation {name:?}: its input {:?} is no element with a named type",
                operation.input
            );
            return Err(Error::new(ErrorKind::Dangling, message));
        };
        let complex = self.schema.complex.get(request).ok_or_else(|| {
            Error::new(
                ErrorKind::Dangling,
                format!("operation {name:?}: its request type {request:?} is not defined"),
            )
        })?;
        let Some((this, params)) = complex.own.split_first().filter(|_| complex.base.is_none()) else {
            return Err(unsupported(name, "its request type does not begin with _this"));
        };
        if this.name != "_this" || self.names.in_schema(name, &this.ty)? != TypeRef::MoRef(None) {
            return Err(unsupported(name, "its request type does not begin with _this"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = params.iter().find(|param| !seen.insert(param.name.as_str())) {
            let message = format!("operation {name:?} has the parameter {:?} twice", twice.name);
            return Err(Error::new(ErrorKind::Duplicate, message));
        }
        let members = stated.map_or(&[][..], |s| &s.params);
        if let Some(member) = members.iter().find(|member| !seen.contains(member.name.as_str())) {
            return Err(contradiction(
                name,
                &format!("the sidecar gives it the unknown parameter {:?}", member.name),
            ));
        }
        params
            .iter()
            .map(|param| {
                let member = members.iter().find(|member| member.name == param.name);
                self.param(name, param, member, since)
            })
            .collect()
    }

    fn param(
        &self,
        method: &str,
        element: &Element,
        stated: Option<&Member>,
        method_since: u8,
    ) -> Result<Field> {
        let user = format!("{method}({})", element.name);
        let card = card(element.optional, element.many);
        let ty = self.names.in_schema(&user, &element.ty)?;
        let name = element.name.clone();
        let Some(stated) = stated else {
            return Ok(Field { name, ty, card, since: method_since, secret: false, privilege: None });
        };
        Ok(Field {
            name,
            ty: self.names.refine(&user, (ty, card), &stated.ty, &stated.flags)?,
            card,
            since: self.versions.since_within(&user, &stated.since, method_since)?,
            secret: stated.flags.contains(&Flag::Secret),
            privilege: stated.privilege.clone(),
        })
    }

    /// What the call itself returns.
    fn result(
        &self,
        operation: &Operation,
        stated: Option<&sidecar::Method>,
    ) -> Result<Option<MethodResult>> {
        let name = &operation.name;
        let elements = match self.schema.elements.get(&operation.output) {
            Some(Declared::Inline(elements)) => elements.as_slice(),
            Some(Declared::Named(_)) => return Err(unsupported(name, "its response has a named type")),
            None => {
                let message = format!("operation {name:?}: its output {:?} is not defined", operation.output);
                return Err(Error::new(ErrorKind::Dangling, message));
            }
        };
        let is_task = stated.is_some_and(|s| s.task);
        let task = self.names.task.as_str();
        let stated = stated.map(|s| if s.task { Some(task) } else { s.result.as_deref() });
        let element = match elements {
            [] if stated.flatten().is_some() => {
                return Err(contradiction(name, "the sidecar states a result, the schema has none"));
            }
            [] => return Ok(None),
            [only] => only,
            _ => return Err(unsupported(name, "its response has more than one element")),
        };
        let card = card(element.optional, element.many);
        let ty = self.names.in_schema(name, &element.ty)?;
        let ty = match stated {
            None => ty,
            // The reference to the task is typed only if the sidecar knows the managed type of tasks.
            Some(Some(_)) if is_task && !self.names.is_managed(task) => ty,
            Some(Some(text)) => self.names.refine(name, (ty, card), text, &[])?,
            Some(None) => {
                return Err(contradiction(name, "the schema has a result, the sidecar states none"));
            }
        };
        Ok(Some(MethodResult { ty, card }))
    }

    /// What the task leaves behind; the schema does not know.
    fn task_result(&self, name: &str, stated: Option<&sidecar::Method>) -> Result<Option<MethodResult>> {
        let Some((stated, text)) = stated.and_then(|s| Some((s, s.result.as_ref()?))) else {
            return Ok(None);
        };
        let (ty, card) = self.names.in_sidecar(name, text, &stated.result_flags)?;
        Ok(Some(MethodResult { ty, card }))
    }

    fn faults(&self, operation: &Operation) -> Result<Vec<String>> {
        let mut faults = BTreeSet::new();
        for element in &operation.faults {
            let Some(Declared::Named(RawType::Named(fault))) = self.schema.elements.get(element) else {
                let message = format!("operation {:?}: its fault {element:?} is not defined", operation.name);
                return Err(Error::new(ErrorKind::Dangling, message));
            };
            if !self.types.contains_key(fault) {
                let message = format!("operation {:?}: its fault {fault:?} is no data type", operation.name);
                return Err(Error::new(ErrorKind::Dangling, message));
            }
            if fault != IMPLIED_FAULT {
                faults.insert(fault.clone());
            }
        }
        Ok(faults.into_iter().collect())
    }
}

/// No property may repeat another one of the same type or of an ancestor. The chain of ancestors is known to end.
fn check_properties(managed: &BTreeMap<String, ManagedType>) -> Result<()> {
    for item in managed.values() {
        let mut seen = BTreeSet::new();
        let chain = std::iter::successors(Some(item), |m| managed.get(m.base.as_deref()?));
        if let Some(property) = chain.flat_map(|m| &m.properties).find(|p| !seen.insert(p.name.as_str())) {
            let message = format!(
                "{:?} has the property {:?} twice, counting inherited ones",
                item.name, property.name
            );
            return Err(Error::new(ErrorKind::Duplicate, message));
        }
    }
    Ok(())
}

fn contradiction(method: &str, what: &str) -> Error {
    Error::new(ErrorKind::Contradiction, format!("operation {method:?}: {what}"))
}

fn unsupported(method: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("operation {method:?}: {what}; vSphere's WSDL has no such thing"),
    )
}
