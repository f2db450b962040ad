//! The two ways in which a user is named.

use std::borrow::Cow;

/// Whether two names are of one user: `name@domain` and `DOMAIN\name` are the same, and case does not matter.
pub(crate) fn same(one: &str, other: &str) -> bool {
    plain(one).eq_ignore_ascii_case(&plain(other))
}

/// As `name@domain`.
fn plain(name: &str) -> Cow<'_, str> {
    match name.split_once('\\') {
        Some((domain, user)) => format!("{user}@{domain}").into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn both_spellings_are_one_user() {
        assert!(same("VSPHERE.LOCAL\\Administrator", "administrator@vsphere.local"));
        assert!(!same("other@vsphere.local", "administrator@vsphere.local"));
    }
}
