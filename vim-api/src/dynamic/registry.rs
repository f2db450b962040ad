use std::collections::HashMap;
use std::sync::LazyLock;

use super::{ManagedInfo, MethodInfo, TypeInfo};
use crate::generated::registry::{ENUMS, MANAGED, METHODS, TYPES};

/// Asked once for every polymorphic value, so it is hashed where the other tables are searched.
static BY_NAME: LazyLock<HashMap<&str, &TypeInfo>> =
    LazyLock::new(|| TYPES.iter().map(|info| (info.name, *info)).collect());

/// The data object type of this wire name.
pub fn type_info(name: &str) -> Option<&'static TypeInfo> {
    BY_NAME.get(name).copied()
}

/// Every data object type, sorted by wire name.
pub fn type_infos() -> impl Iterator<Item = &'static TypeInfo> {
    TYPES.iter().copied()
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
