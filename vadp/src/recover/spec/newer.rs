//! What the target's version of the API does not know. The codec sends none of it, so what is left is to say so.

use vim_api::ApiVersion;
use vim_api::dynamic::Object;

use crate::capture::convert::says_something;
use crate::capture::{Loss, Verdict};

/// Notes the fields below `object` that are newer than the target. `subject` is what the object is called.
pub(super) fn note(object: &dyn Object, subject: &str, version: ApiVersion, losses: &mut Vec<Loss>) {
    let mut level = Some(object);
    while let Some(at) = level {
        for (index, field) in at.type_info().fields.iter().enumerate() {
            let Some(slot) = at.slot(index).filter(|slot| slot.is_set()) else { continue };
            let name = match subject {
                "" => field.name.to_owned(),
                subject => format!("{subject}, {}", field.name),
            };
            if field.since() > version {
                if slot.value().as_ref().is_some_and(says_something) {
                    losses.push(Loss::new(name, Verdict::Lost, why(field.since(), version)));
                }
                continue;
            }
            let items = (0..).map_while(|index| slot.item(index));
            for below in slot.object().into_iter().chain(items) {
                note(below, &name, version, losses);
            }
        }
        level = at.base();
    }
}

/// Why something that begins with `since` is lost.
pub(super) fn why(since: ApiVersion, version: ApiVersion) -> String {
    format!("it begins with version {} of the API, and the target speaks {}", since.id(), version.id())
}
