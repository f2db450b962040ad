//! The faults inside a fault.

use std::any::Any;

use crate::dynamic::{Poly, Slot};
use crate::types::{LocalizedMethodFault, MethodFault};

/// `fault`, and all that stand in it at any depth: `faultCause`, and the fields in which a fault of many parts (a cluster,
/// a group of machines) has one for each.
pub(super) fn with_causes(fault: &Poly<MethodFault>) -> Vec<&Poly<MethodFault>> {
    let mut found = vec![fault];
    let mut next = 0;
    while let Some(fault) = found.get(next) {
        let mut level = Some(fault.as_object());
        while let Some(object) = level {
            for index in 0..object.type_info().fields.len() {
                let inside = object.slot(index).into_iter().flat_map(in_slot);
                found.extend(inside.map(|inside| &inside.fault));
            }
            level = object.base();
        }
        next += 1;
    }
    found
}

fn in_slot(slot: &dyn Slot) -> Vec<&LocalizedMethodFault> {
    let slot: &dyn Any = slot;
    if let Some(one) = slot.downcast_ref::<LocalizedMethodFault>() {
        vec![one]
    } else if let Some(one) = slot.downcast_ref::<Option<LocalizedMethodFault>>() {
        one.iter().collect()
    } else if let Some(one) = slot.downcast_ref::<Option<Box<LocalizedMethodFault>>>() {
        one.iter().map(|one| &**one).collect()
    } else if let Some(many) = slot.downcast_ref::<Vec<LocalizedMethodFault>>() {
        many.iter().collect()
    } else {
        Vec::new()
    }
}
