//! `/vmfs/volumes`: how a link names a parent that is in another folder.
//!
//! As on ESXi, such a name is absolute and begins with the uuid of a datastore: `/vmfs/volumes/UUID/vm/vm.vmdk`. What a host
//! has at its root, a server here has beside the folders of its datastores: a folder `.volumes` with a symbolic link for
//! each, so that every process finds the parent of a link from where the link is.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::{Datastore, DatastorePath, Error, ErrorKind, Result, crash, files};

/// What a name of a file begins with that is not in the same folder.
pub(crate) const PREFIX: &str = "/vmfs/volumes/";

const FOLDER: &str = ".volumes";

/// Makes a datastore's folder known by its uuid. It may be known already.
///
/// # Errors
/// `BadPath` for a uuid that is no file name, or a folder without a name; `Io`.
pub fn add(root: &Path, uuid: &str) -> Result<()> {
    let bad = |what: &str| Error::new(ErrorKind::BadPath, what).at(root);
    if uuid.is_empty() || uuid.starts_with('.') || uuid.contains('/') {
        return Err(bad("a datastore's uuid cannot be the name of a file"));
    }
    let name = root.file_name().ok_or_else(|| bad("a datastore's folder has no name"))?;
    let volumes = root.with_file_name(FOLDER);
    let failed = |source| Error::io("a datastore cannot be made known by its uuid", source).at(&volumes);
    fs::create_dir_all(&volumes).map_err(failed)?;
    crash::point();
    match std::os::unix::fs::symlink(Path::new("..").join(name), volumes.join(uuid)) {
        Err(error) if error.kind() != IoKind::AlreadyExists => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Whether a name in a descriptor is one of a file anywhere on the datastores.
pub(crate) fn is_absolute(name: &str) -> bool {
    let Some((volume, relative)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    plain(volume) && relative.split('/').all(plain) && !name.contains(['\\', '\0', '"'])
}

/// The file that a link at `from` names so. It is on a datastore of the same server.
///
/// # Errors
/// `NotFound` for a datastore that the server does not have; `BadPath` for what is no such name or leads out of the
/// datastore; `Io`.
pub(crate) fn resolve(from: &Path, name: &str) -> Result<PathBuf> {
    let bad = || Error::new(ErrorKind::BadPath, format!("{name:?} is no file of a datastore")).at(from);
    let (volume, relative) =
        name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
    if !is_absolute(name) {
        return Err(bad());
    }
    let at = canonical(files::folder_of(from))?;
    let mounted = at.ancestors().map(|folder| folder.join(FOLDER).join(volume));
    let Some(root) = mounted.into_iter().find(|link| link.exists()) else {
        let what = format!("there is no datastore {volume:?}, on which {name:?} would be");
        return Err(Error::new(ErrorKind::NotFound, what).at(from));
    };
    Datastore::new(volume, canonical(&root)?)?.resolve(&DatastorePath::new(volume, relative)?)
}

/// The name of a file on a datastore; the file itself need not exist.
///
/// # Errors
/// `BadPath` for a file that is on no datastore which has been made known; `Io`.
pub(crate) fn name_of(file: &Path) -> Result<String> {
    let at = canonical(files::folder_of(file))?.join(files::file_name(file)?);
    for volumes in at.ancestors().map(|folder| folder.join(FOLDER)) {
        let Ok(entries) = fs::read_dir(&volumes) else { continue };
        for entry in entries.flatten() {
            let Ok(root) = fs::canonicalize(entry.path()) else { continue };
            if let Ok(relative) = at.strip_prefix(&root) {
                let name = format!("{PREFIX}{}/{}", entry.file_name().display(), relative.display());
                if is_absolute(&name) {
                    return Ok(name);
                }
            }
        }
    }
    Err(Error::new(ErrorKind::BadPath, "the file is on no datastore that is known by its uuid").at(file))
}

fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|source| Error::io("a path cannot be resolved", source).at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_files_of_the_servers_datastores_and_nowhere_else() {
        let data = tempfile::tempdir().unwrap();
        let data = fs::canonicalize(data.path()).unwrap();
        for name in ["one", "two"] {
            fs::create_dir_all(data.join(name).join("vm")).unwrap();
            add(&data.join(name), &format!("uuid-{name}")).unwrap();
            add(&data.join(name), &format!("uuid-{name}")).unwrap();
        }
        let (from, to) = (data.join("one/vm/child.vmdk"), data.join("two/vm/base.vmdk"));
        let name = name_of(&to).unwrap();
        assert_eq!(name, "/vmfs/volumes/uuid-two/vm/base.vmdk");
        assert_eq!(resolve(&from, &name).unwrap(), to);
        std::os::unix::fs::symlink("/etc", data.join("two/out")).unwrap();
        for bad in ["uuid-two/out/passwd", "uuid-two/../x", "uuid-two", "../x", "uuid-two//x", "uuid-two/./x"]
        {
            let error = resolve(&from, &format!("{PREFIX}{bad}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadPath, "{bad}");
        }
        let unknown = resolve(&from, "/vmfs/volumes/uuid-3/x").unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert_eq!(name_of(&data.join("x")).unwrap_err().kind(), ErrorKind::BadPath);
    }
}
