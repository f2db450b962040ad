//! Paths and walks over a file system.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::File;
use crate::system::{Entry, FileSystem, Info, LONGEST_LINK, Node, NodeKind, Stat, Xattr};

/// The most symbolic links that a path is followed through, as in Linux.
const MOST_LINKS: usize = 40;
/// The most folders within each other.
const DEEPEST: usize = 4096;
/// The most folders of a walk that are remembered, so that none is entered twice.
const MOST_FOLDERS: usize = 64 << 20;

/// A file system by paths: parts separated by `/`, from the root on. Clones are cheap and are the same file system.
#[derive(Clone)]
pub struct Tree {
    system: Arc<dyn FileSystem>,
}

/// What a walk has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Path from the root of the walk on, without a leading `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// The node.
    pub node: Node,
    /// What is known of it.
    pub stat: Stat,
}

impl Tree {
    /// Paths over this file system.
    pub fn new(system: Arc<dyn FileSystem>) -> Self {
        Self { system }
    }

    /// The file system itself.
    pub fn system(&self) -> &Arc<dyn FileSystem> {
        &self.system
    }

    /// What is known of all of it.
    pub fn info(&self) -> &Info {
        self.system.info()
    }

    /// The node of this path. Symbolic links on the way are followed within the volume, the last part is not.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`WrongType`](crate::ErrorKind::WrongType) for a part on the way that is no folder, or more than 40 links;
    /// otherwise as [`FileSystem`].
    pub fn find(&self, path: impl AsRef<[u8]>) -> Result<Node> {
        let path = path.as_ref();
        self.resolve(path, false).map_err(|error| error.at_path(path))
    }

    /// The node of this path, following a symbolic link at its end, too.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn follow(&self, path: impl AsRef<[u8]>) -> Result<Node> {
        let path = path.as_ref();
        self.resolve(path, true).map_err(|error| error.at_path(path))
    }

    /// What is known of a path; of a link itself, not of what it leads to.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn stat(&self, path: impl AsRef<[u8]>) -> Result<Stat> {
        self.on(path.as_ref(), |node| self.system.stat(node))
    }

    /// The entries of a folder.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<Entry>> {
        let path = path.as_ref();
        self.follow(path).and_then(|node| self.system.list(node)).map_err(|error| error.at_path(path))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.on(path.as_ref(), |node| self.system.read_link(node))
    }

    /// Extended attributes of a path.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn xattrs(&self, path: impl AsRef<[u8]>) -> Result<Vec<Xattr>> {
        self.on(path.as_ref(), |node| self.system.xattrs(node))
    }

    /// Opens a file, following symbolic links.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn open(&self, path: impl AsRef<[u8]>) -> Result<File> {
        let path = path.as_ref();
        self.follow(path).and_then(|node| self.system.open(node)).map_err(|error| error.at_path(path))
    }

    /// Visits `path` and all below it, each folder before what is in it; links are not followed. `visit` says whether to go into a folder.
    /// What cannot be read is handed to `visit`, too, as an error that names it, and the walk goes on.
    ///
    /// # Errors
    /// The first that `visit` returns; as [`find`](Self::find) for `path` itself.
    pub fn walk(
        &self,
        path: impl AsRef<[u8]>,
        mut visit: impl FnMut(Result<Step>) -> Result<bool>,
    ) -> Result<()> {
        let root = self.find(path)?;
        let mut entered = HashSet::new();
        let mut pending = vec![(Vec::new(), root, 0)];
        while let Some((path, node, depth)) = pending.pop() {
            let stat = match self.system.stat(node) {
                Ok(stat) => stat,
                Err(error) => {
                    visit(Err(error.at_path(&path)))?;
                    continue;
                }
            };
            let is_folder = stat.kind == NodeKind::Folder;
            if !visit(Ok(Step { path: path.clone(), node, stat }))? || !is_folder {
                continue;
            }
            // A folder has one name. Where a damaged volume has it twice, the second would be a loop or a copy.
            let problem = match entered.insert(node) {
                false => Some(Error::damaged("the folder is in another place, too")),
                true if depth >= DEEPEST || entered.len() > MOST_FOLDERS => {
                    Some(Error::too_large(format!("more than {DEEPEST} folders within each other")))
                }
                true => None,
            };
            let entries = problem.map_or_else(|| self.system.list(node), Err);
            match entries {
                Err(error) => _ = visit(Err(error.at_path(&path)))?,
                // In the order of the volume: the last that is pushed is the first to be visited.
                Ok(entries) => pending.extend(
                    entries.into_iter().rev().map(|entry| (join(&path, &entry.name), entry.node, depth + 1)),
                ),
            }
        }
        Ok(())
    }

    fn on<T>(&self, path: &[u8], ask: impl FnOnce(Node) -> Result<T>) -> Result<T> {
        self.find(path).and_then(ask).map_err(|error| error.at_path(path))
    }

    fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Node> {
        let mut folders = vec![self.system.info().root];
        // The next part is the last.
        let mut parts: Vec<Vec<u8>> = parts(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(part) = parts.pop() {
            let Some(&folder) = folders.last() else { return Ok(self.system.info().root) };
            match part.as_slice() {
                b"" | b"." => continue,
                // As in Linux, the root is above itself.
                b".." if folders.len() == 1 => continue,
                b".." => {
                    folders.pop();
                    continue;
                }
                _ => {}
            }
            let entry = self.entry(folder, &part)?;
            let is_last = parts.is_empty();
            if is_last && !follow_last {
                return Ok(entry.node);
            }
            let kind = match entry.kind {
                Some(kind) => kind,
                None => self.system.stat(entry.node)?.kind,
            };
            match kind {
                NodeKind::Link => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error::wrong_type(format!(
                            "more than {MOST_LINKS} symbolic links on the way"
                        )));
                    }
                    let target = self.system.read_link(entry.node)?;
                    if target.len() as u64 > LONGEST_LINK {
                        return Err(Error::damaged("a symbolic link that is too long"));
                    }
                    if target.first() == Some(&b'/') {
                        folders.truncate(1);
                    }
                    parts.extend(self::parts(&target).rev().map(<[u8]>::to_vec));
                }
                NodeKind::Folder => folders.push(entry.node),
                _ if is_last => return Ok(entry.node),
                _ => return Err(Error::wrong_type("a part of the path is no folder")),
            }
        }
        Ok(folders.last().copied().unwrap_or(self.system.info().root))
    }

    fn entry(&self, folder: Node, name: &[u8]) -> Result<Entry> {
        let entries = self.system.list(folder)?;
        let exact = entries.iter().position(|entry| entry.name == name);
        let found = exact.or_else(|| {
            let wanted = std::str::from_utf8(name).ok().filter(|_| self.info().ignores_case)?.to_lowercase();
            let matches = |entry: &Entry| {
                std::str::from_utf8(&entry.name).is_ok_and(|name| name.to_lowercase() == wanted)
            };
            entries.iter().position(matches)
        });
        found
            .and_then(|at| entries.into_iter().nth(at))
            .ok_or_else(|| Error::not_found("there is nothing of this name"))
    }
}

/// The parts of a path.
fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("info", self.info()).finish_non_exhaustive()
    }
}
