//! What the server of the backup has sent and this program does not know: it is not sent on to another.

use vim_api::dynamic::{Extra, Object, Value, set_path};
use vim_api::types::{VirtualDevice, VirtualDeviceBackingInfo, VirtualMachineConfigInfo};

use crate::capture::{Loss, Verdict};

/// Takes unknown fields off a configuration. Devices and backings of unknown types stay: the tables speak of them.
pub(super) fn strip(config: &mut VirtualMachineConfigInfo, losses: &mut Vec<Loss>) {
    let mut names = Vec::new();
    strip_object(config, "", &mut names);
    let why = "this program does not know it: the server of the backup was newer";
    losses.extend(names.into_iter().map(|name| Loss::new(name, Verdict::Lost, why)));
}

fn strip_object(object: &mut dyn Object, path: &str, names: &mut Vec<String>) {
    let is_judged = object.extra().type_name().is_some()
        && (object.is::<VirtualDevice>() || object.is::<VirtualDeviceBackingInfo>());
    if is_judged || !has_unknown(object) {
        return;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    names.extend(object.extra().elements().iter().map(|element| below(element.name())));
    *object.extra_mut() = Extra::default();
    let mut fields = Vec::new();
    let mut level: Option<&dyn Object> = Some(&*object);
    while let Some(at) = level {
        for (index, field) in at.type_info().fields.iter().enumerate() {
            fields.extend(at.slot(index).and_then(|slot| Some((field.name, slot.value()?))));
        }
        level = at.base();
    }
    for (name, value) in fields {
        let stripped = match value {
            Value::Object(mut inner) if has_unknown(&*inner) => {
                strip_object(&mut *inner, &below(name), names);
                Value::Object(inner)
            }
            Value::Array(array)
                if array.items().iter().any(|item| item.as_object().is_some_and(has_unknown)) =>
            {
                let item_name = array.item_name().to_owned();
                let mut items = array.into_items();
                for (at, item) in items.iter_mut().enumerate() {
                    if let Value::Object(inner) = item {
                        strip_object(&mut **inner, &below(&format!("{name}[{at}]")), names);
                    }
                }
                Value::array(&item_name, items)
            }
            _ => continue,
        };
        // What came out of the field fits into it.
        if set_path(object, name, Some(stripped)).is_err() {
            tracing::debug!(field = name, "an unknown field stays");
        }
    }
}

fn has_unknown(object: &dyn Object) -> bool {
    let mut level = Some(object);
    while let Some(at) = level {
        let slots = (0..at.type_info().fields.len()).filter_map(|index| at.slot(index));
        for slot in slots {
            let items = (0..).map_while(|index| slot.item(index));
            if slot.object().into_iter().chain(items).any(has_unknown) {
                return true;
            }
        }
        level = at.base();
    }
    !object.extra().is_empty()
}
