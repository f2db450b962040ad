//! File names: where a reference in a descriptor leads, and what the files of a disk are called.
//!
//! Names are relative to the folder that was given, with `/` between their parts: `vm/vm-000001.vmdk`. The patterns
//! are VMware's (VDDK Programming Guide, KB 1026256); docs/vmdk.md has them in a table.
//!
//! **A number in a name says nothing about the order of a chain**: VMware gives freed numbers again, so that a newer
//! link may have the lower one, and disks without a parent carry such names as well. Only `parentFileNameHint` and the
//! CIDs tell who is whose parent.

use crate::error::{Error, Result};

/// Where a reference leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// To a file in the folder: its normalised name there.
    Inside(String),
    /// Out of the folder: the reference as it stands in the descriptor. Following it is for the caller to allow.
    Outside(String),
}

/// Finds where `reference`, an extent's file or a parent's hint in the descriptor called `descriptor`, leads.
///
/// Relative references start in the descriptor's folder; `\` separates as `/` does, as Windows hosts write it. Out of
/// the folder lead absolute paths (`/vmfs/volumes/..`), UNC paths, drive letters, URIs (`vsan://..`), a `..` above the
/// root, and `[datastore] path`, unless the descriptor's own name begins with the same `[datastore]`. Descriptors are
/// untrusted, so nothing here looks at a file system; symbolic links are for the folder to mind.
///
/// # Errors
/// `Malformed` when the reference is empty, holds a NUL or names a folder.
pub fn resolve(descriptor: &str, reference: &str) -> Result<Reference> {
    if reference.trim().is_empty() || reference.contains('\0') {
        return Err(Error::malformed(
            "a file name in the descriptor is empty or holds a NUL; name the file that is meant",
        ));
    }
    let outside = || Ok(Reference::Outside(reference.to_owned()));
    let (store, own) = datastore(descriptor).map_or((None, descriptor), |(store, path)| (Some(store), path));
    let (other_store, path) =
        datastore(reference).map_or((None, reference), |(store, path)| (Some(store), path));
    let path = path.replace('\\', "/");
    if path.starts_with('/') || scheme(reference).is_some() || (other_store.is_some() && other_store != store)
    {
        return outside();
    }
    // A path with a datastore starts at that datastore's root.
    let folder = match (other_store, own.rsplit_once('/')) {
        (None, Some((folder, _))) => folder,
        _ => "",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return outside(),
            ".." => {}
            // Wherever it stands: joined to a path on Windows, it would replace all that is before it.
            _ if is_drive(part) => return outside(),
            _ => parts.push(part),
        }
    }
    match path.rsplit('/').next() {
        Some("" | "." | "..") | None => Err(Error::malformed(format!(
            "\"{}\" names a folder; name the file that is meant",
            reference.escape_debug()
        ))),
        Some(_) => {
            let name = parts.join("/");
            Ok(Reference::Inside(store.map_or(name.clone(), |store| format!("[{store}] {name}"))))
        }
    }
}

/// The scheme of a URI (`vsan` in `vsan://..`), which names an object and no file.
pub(crate) fn scheme(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once("://")?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|other| other.is_ascii_alphanumeric() || "+-.".contains(other));
    named.then_some(scheme)
}

/// The two parts of vSphere's `[datastore] path`.
fn datastore(name: &str) -> Option<(&str, &str)> {
    let (store, path) = name.strip_prefix('[')?.split_once(']')?;
    Some((store, path.strip_prefix(' ')?.trim_start()))
}

fn is_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// The name of a new child of `parent`: `x.vmdk` and `x-000001.vmdk` have the child `x-000002.vmdk` when
/// `x-000001.vmdk` is there. It is the lowest number for which neither the descriptor nor one of its data files is
/// `taken`. The child's folder is the parent's.
pub fn child_name(taken: impl Fn(&str) -> bool, parent: &str) -> String {
    let base = match split_number(stem(parent)) {
        Some((base, _)) => base,
        None => stem(parent),
    };
    let name = |number: u32| format!("{base}-{number:06}.vmdk");
    let free = |candidate: &String| {
        candidate != parent
            && !taken(candidate)
            && ![delta_name(candidate), sesparse_name(candidate), flat_name(candidate)]
                .iter()
                .any(|data| taken(data))
    };
    // The alternative needs four thousand million files, the creation of which then fails on the name's being taken.
    (1..u32::MAX).map(name).find(free).unwrap_or_else(|| name(u32::MAX))
}

/// The number of a child's descriptor: 1 for `x-000001.vmdk`. None for data files and whatever has no such number.
pub fn snapshot_number(name: &str) -> Option<u32> {
    split_number(stem(name)).map(|(_, number)| number)
}

/// `x-flat.vmdk` for `x.vmdk`: the raw data of `vmfs` and `monolithicFlat`.
pub fn flat_name(descriptor: &str) -> String {
    data_name(descriptor, "flat")
}

/// `x-s001.vmdk` for `x.vmdk`, or `x-f001.vmdk` if it is flat: the part `number`, counted from 1, of a split disk.
/// Three digits, more past 999.
pub fn split_name(descriptor: &str, number: u32, flat: bool) -> String {
    format!("{}-{}{number:03}.vmdk", stem(descriptor), if flat { 'f' } else { 's' })
}

/// `x-000001-delta.vmdk` for `x-000001.vmdk`: the data of a `vmfsSparse` child.
pub fn delta_name(descriptor: &str) -> String {
    data_name(descriptor, "delta")
}

/// `x-000001-sesparse.vmdk` for `x-000001.vmdk`: the data of a `seSparse` child.
pub fn sesparse_name(descriptor: &str) -> String {
    data_name(descriptor, "sesparse")
}

/// `x-ctk.vmdk` for `x.vmdk`: the change tracking of this one link.
pub fn change_track_name(descriptor: &str) -> String {
    data_name(descriptor, "ctk")
}

fn data_name(descriptor: &str, what: &str) -> String {
    format!("{}-{what}.vmdk", stem(descriptor))
}

/// The name without `.vmdk`, which is left away in any case of its letters.
fn stem(name: &str) -> &str {
    match name.len().checked_sub(5).and_then(|at| name.split_at_checked(at)) {
        Some((stem, extension)) if extension.eq_ignore_ascii_case(".vmdk") => stem,
        _ => name,
    }
}

/// Six digits, or more without a leading zero, behind the last `-` of a name.
fn split_number(stem: &str) -> Option<(&str, u32)> {
    let (base, digits) = stem.rsplit_once('-')?;
    let six = digits.len() == 6 || (digits.len() > 6 && !digits.starts_with('0'));
    if !six || !digits.bytes().all(|digit| digit.is_ascii_digit()) || base.is_empty() || base.ends_with('/') {
        return None;
    }
    Some((base, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn inside(descriptor: &str, reference: &str) -> String {
        match resolve(descriptor, reference).unwrap() {
            Reference::Inside(name) => name,
            outside => panic!("{outside:?}"),
        }
    }

    #[test]
    fn relative_references_start_beside_the_descriptor() {
        assert_eq!(inside("x.vmdk", "x-flat.vmdk"), "x-flat.vmdk");
        assert_eq!(inside("vm/x.vmdk", "x-flat.vmdk"), "vm/x-flat.vmdk");
        assert_eq!(inside("vm/x.vmdk", "./a//b/../x-flat.vmdk"), "vm/a/x-flat.vmdk");
        assert_eq!(inside("vm/x.vmdk", "../base/x.vmdk"), "base/x.vmdk");
        assert_eq!(inside("vm/x.vmdk", r"..\base\x.vmdk"), "base/x.vmdk");
        assert_eq!(
            inside("vm/x.vmdk", "[old]x.vmdk"),
            "vm/[old]x.vmdk",
            "without a blank it is no datastore"
        );
    }

    #[test]
    fn pitfall_19_nothing_leaves_the_folder_unnoticed() {
        for reference in [
            "/vmfs/volumes/5a/base/x.vmdk",
            "/dev/sda",
            r"\\server\share\x.vmdk",
            r"\\.\PhysicalDrive0",
            r"C:\vm\x.vmdk",
            "c:x.vmdk",
            "sub/C:/x.vmdk",
            "../../x.vmdk",
            r"..\..\x.vmdk",
            "a/../../../x.vmdk",
            "[datastore2] vm/x.vmdk",
            "vsan://f252ae55-2577-c9f5-98b7-001517a69c72",
        ] {
            assert_eq!(resolve("vm/x.vmdk", reference).unwrap(), Reference::Outside(reference.into()));
        }
        for reference in ["", "  ", "a\0b", ".", "..", "a/", r"a\.."] {
            assert_eq!(
                resolve("vm/x.vmdk", reference).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{reference:?}"
            );
        }
    }

    #[test]
    fn datastore_paths_of_the_descriptors_own_datastore_are_inside() {
        assert_eq!(inside("[ds 1] vm/x.vmdk", "[ds 1] base/y.vmdk"), "[ds 1] base/y.vmdk");
        assert_eq!(inside("[ds 1] vm/x.vmdk", "x-flat.vmdk"), "[ds 1] vm/x-flat.vmdk");
        assert_eq!(
            resolve("[ds 1] vm/x.vmdk", "[ds 1] ../y.vmdk").unwrap(),
            Reference::Outside("[ds 1] ../y.vmdk".into())
        );
    }

    #[test]
    fn children_take_the_lowest_free_number_and_do_not_stack_suffixes() {
        let none = |_: &str| false;
        assert_eq!(child_name(none, "x.vmdk"), "x-000001.vmdk");
        assert_eq!(child_name(none, "x-000001.vmdk"), "x-000002.vmdk");
        assert_eq!(child_name(none, "vm/x_1.vmdk"), "vm/x_1-000001.vmdk");
        assert_eq!(child_name(none, "x-1.vmdk"), "x-1-000001.vmdk");
        let taken = |name: &str| ["x-000001.vmdk", "x-000003.vmdk"].contains(&name);
        assert_eq!(child_name(taken, "x-000003.vmdk"), "x-000002.vmdk", "a freed number is given again");
        assert_eq!(
            child_name(|name| name == "x-000001-delta.vmdk", "x.vmdk"),
            "x-000002.vmdk",
            "data was left behind"
        );
    }

    #[test]
    fn numbers_are_those_of_child_descriptors_only() {
        assert_eq!(snapshot_number("x-000012.vmdk"), Some(12));
        assert_eq!(snapshot_number("x-000012.VMDK"), Some(12));
        assert_eq!(snapshot_number("x-1000000.vmdk"), Some(1_000_000));
        for name in [
            "x.vmdk",
            "x_1.vmdk",
            "x-000001-delta.vmdk",
            "x-00001.vmdk",
            "-000001.vmdk",
            "x-0000001.vmdk",
            "ü",
        ] {
            assert_eq!(snapshot_number(name), None, "{name}");
        }
    }

    #[test]
    fn data_files_are_named_as_vmware_does() {
        assert_eq!(flat_name("vm/x.vmdk"), "vm/x-flat.vmdk");
        assert_eq!(split_name("x.vmdk", 1, false), "x-s001.vmdk");
        assert_eq!(split_name("x", 1025, true), "x-f1025.vmdk");
        assert_eq!(delta_name("x-000001.vmdk"), "x-000001-delta.vmdk");
        assert_eq!(sesparse_name("x-000001.vmdk"), "x-000001-sesparse.vmdk");
        assert_eq!(change_track_name("x-000001.vmdk"), "x-000001-ctk.vmdk");
    }
}
