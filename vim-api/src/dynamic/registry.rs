use super::{ManagedInfo, MethodInfo, TypeInfo};
use crate::generated::registry::{ENUMS, MANAGED, METHODS, TYPES};

/// The data object type of this wire name.
pub fn type_info(name: &str) -> Option<&'static TypeInfo> {
    let index = TYPES.binary_search_by(|info| info.name.cmp(name)).ok()?;
    TYPES.get(index).copied()
}

/// The managed object type of this wire name.
pub fn managed_type(name: &str) -> Option<&'static ManagedInfo> {
    let index = MANAGED.binary_search_by(|info| info.name.cmp(name)).ok()?;
    MANAGED.get(index).copied()
}

/// The method of this wire name, such as `CreateSnapshotEx_Task`.
pub fn method(name: &str) -> Option<&'static MethodInfo> {
    let index = METHODS.binary_search_by(|info| info.name.cmp(name)).ok()?;
    METHODS.get(index)
}

pub(crate) fn is_enum(name: &str) -> bool {
    ENUMS.binary_search(&name).is_ok()
}
