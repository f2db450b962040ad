//! Datastores: named folders of the host, and paths inside them.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// A path in the form vSphere uses: `[datastore] folder/file`.
///
/// The relative part is kept clean: forward slashes, no empty, `.` or `..` component, no NUL. Any other
/// character is allowed, non-ASCII ones too. An empty relative part is the datastore's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatastorePath {
    datastore: String,
    relative: String,
}

impl DatastorePath {
    /// Joins a datastore name and a relative path such as `vm/vm.vmdk`.
    ///
    /// # Errors
    /// `BadPath` if the name is empty or holds `[`, `]` or a line break, or the path is absolute or has `..`.
    pub fn new(datastore: &str, relative: &str) -> Result<Self> {
        let refuse =
            |why: &str| Err(Error::new(ErrorKind::BadPath, format!("[{datastore}] {relative}: {why}")));
        if datastore.is_empty() || datastore.contains(['[', ']', '\n', '\r', '\0', '/']) {
            return refuse("the datastore's name is empty or has a forbidden character");
        }
        if relative.starts_with('/') {
            return refuse("the path must be relative to the datastore");
        }
        if relative.contains('\0') {
            return refuse("the path holds a NUL");
        }
        let mut clean = Vec::new();
        for part in relative.split('/') {
            match part {
                "" | "." => {}
                ".." => return refuse("the path must not climb out with \"..\""),
                part => clean.push(part),
            }
        }
        Ok(Self { datastore: datastore.to_owned(), relative: clean.join("/") })
    }

    /// The datastore's name, without brackets.
    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// The part after the brackets, with forward slashes; empty for the root.
    pub fn relative(&self) -> &str {
        &self.relative
    }

    /// The last component; empty for the root.
    pub fn file_name(&self) -> &str {
        self.relative.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds the file, as a path of the same datastore.
    #[must_use]
    pub fn parent(&self) -> Self {
        let relative = self.relative.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        Self { datastore: self.datastore.clone(), relative }
    }

    /// Another file in the same folder.
    ///
    /// # Errors
    /// `BadPath` as for [`DatastorePath::new`].
    pub fn sibling(&self, name: &str) -> Result<Self> {
        match self.relative.rsplit_once('/') {
            Some((folder, _)) => Self::new(&self.datastore, &format!("{folder}/{name}")),
            None => Self::new(&self.datastore, name),
        }
    }
}

impl fmt::Display for DatastorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.datastore, self.relative)
    }
}

impl FromStr for DatastorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((datastore, relative)) = parts else {
            return Err(Error::new(
                ErrorKind::BadPath,
                format!("{text:?} is not of the form \"[datastore] path\""),
            ));
        };
        Self::new(datastore, relative.strip_prefix(' ').unwrap_or(relative))
    }
}

impl TryFrom<String> for DatastorePath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DatastorePath> for String {
    fn from(path: DatastorePath) -> Self {
        path.to_string()
    }
}

/// A datastore: a name, the host folder that holds its files, and how large it says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datastore {
    name: String,
    root: PathBuf,
    #[serde(default = "usual_capacity")]
    capacity: u64,
}

/// That of a datastore for which nobody has another wish, in bytes: 4 TiB.
fn usual_capacity() -> u64 {
    4 << 40
}

impl Datastore {
    /// A datastore of 4 TiB over a folder, which must exist when paths are resolved.
    ///
    /// # Errors
    /// `BadPath` for a name that cannot stand between brackets.
    pub fn new(name: &str, root: impl Into<PathBuf>) -> Result<Self> {
        DatastorePath::new(name, "")?;
        Ok(Self { name: name.to_owned(), root: root.into(), capacity: usual_capacity() })
    }

    /// The same with another capacity in bytes. It is what a server tells;
    /// [`Space::set_limit`](crate::Space::set_limit) is what makes writes fail.
    #[must_use]
    pub fn with_capacity(self, capacity: u64) -> Self {
        Self { capacity, ..self }
    }

    /// The capacity in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The host path of a datastore path; the file itself need not exist.
    ///
    /// # Errors
    /// `BadPath` if the path names another datastore, or if a symbolic link on the way leads out of the root.
    pub fn resolve(&self, path: &DatastorePath) -> Result<PathBuf> {
        if path.datastore != self.name {
            return Err(Error::new(
                ErrorKind::BadPath,
                format!("{path} is not on datastore {:?}", self.name),
            ));
        }
        let canonical = |path: &Path| {
            fs::canonicalize(path).map_err(|source| Error::io("a path cannot be resolved", source).at(path))
        };
        let root = canonical(&self.root)?;
        let full = root.join(&path.relative);
        // What exists of the path decides where a new file would land; a dangling link counts as existing.
        let mut existing = full.as_path();
        while existing != root && fs::symlink_metadata(existing).is_err() {
            existing = existing.parent().unwrap_or(&root);
        }
        if !canonical(existing)?.starts_with(&root) {
            return Err(Error::new(ErrorKind::BadPath, format!("{path} leads out of its datastore")));
        }
        Ok(full)
    }

    /// The datastore path of a host path under the root.
    ///
    /// # Errors
    /// `BadPath` if the host path is not under the root or is not UTF-8.
    pub fn path_of(&self, host: &Path) -> Result<DatastorePath> {
        let outside = || Error::new(ErrorKind::BadPath, "the file is not in the datastore's folder").at(host);
        let root = fs::canonicalize(&self.root).map_err(|source| {
            Error::io("the datastore's folder cannot be resolved", source).at(&self.root)
        })?;
        let inside =
            host.strip_prefix(&self.root).or_else(|_| host.strip_prefix(&root)).map_err(|_| outside())?;
        let mut parts = Vec::new();
        for component in inside.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
                _ => return Err(outside()),
            }
        }
        DatastorePath::new(&self.name, &parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let path: DatastorePath = "[ds 1] vm/übung.vmdk".parse().unwrap();
        assert_eq!(
            (path.datastore(), path.relative(), path.file_name()),
            ("ds 1", "vm/übung.vmdk", "übung.vmdk")
        );
        assert_eq!(path.to_string(), "[ds 1] vm/übung.vmdk");
        assert_eq!(path.sibling("b").unwrap().to_string(), "[ds 1] vm/b");
        assert_eq!(path.parent().to_string(), "[ds 1] vm");
        assert_eq!("[a]x//./y".parse::<DatastorePath>().unwrap().relative(), "x/y");
        for bad in ["", "vm/x", "[] x", "[a", "[a] /etc/passwd", "[a] ../x", "[a] x/../../y", "[a] x\0"] {
            let error = bad.parse::<DatastorePath>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadPath, "{bad:?}");
        }
    }

    #[test]
    fn remembers_its_capacity_and_has_a_usual_one() {
        let store = Datastore::new("ds", "/folder").unwrap().with_capacity(1 << 30);
        let text = serde_json::to_string(&store).unwrap();
        assert_eq!(serde_json::from_str::<Datastore>(&text).unwrap(), store);
        let before: Datastore = serde_json::from_str(r#"{"name":"ds","root":"/folder"}"#).unwrap();
        assert_eq!(before.capacity(), 4 << 40);
    }

    #[test]
    fn refuses_links_that_lead_out() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("ds");
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(outer.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink(".", root.join("here")).unwrap();
        let store = Datastore::new("ds", &root).unwrap();
        let resolve = |relative| store.resolve(&DatastorePath::new("ds", relative).unwrap());
        assert_eq!(resolve("out/secret").unwrap_err().kind(), ErrorKind::BadPath);
        assert_eq!(resolve("out").unwrap_err().kind(), ErrorKind::BadPath);
        let inside = resolve("here/new/vm.vmdk").unwrap();
        assert_eq!(store.path_of(&inside).unwrap().relative(), "here/new/vm.vmdk");
        assert_eq!(store.path_of(Path::new("/etc/passwd")).unwrap_err().kind(), ErrorKind::BadPath);
    }
}
