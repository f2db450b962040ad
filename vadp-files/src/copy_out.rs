//! Copying files of a guest into a folder of this machine.
//!
//! The guest chose the names and the links, so each step is taken from an open folder and follows no symbolic link: whatever is in
//! the volume, nothing outside the target is touched, and nothing that was there before is overwritten.

use std::collections::HashMap;
use std::fs::File as LocalFile;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::file::File;
use crate::system::{Node, NodeKind, Stat, Time};
use crate::tree::{Step, Tree};

/// Bytes that are copied at a time.
const BUFFER: usize = 1 << 20;
/// Names of files with several of them that are remembered.
const MOST_LINKED: usize = 16 << 20;

/// How to copy files out of a volume.
#[derive(Debug, Clone)]
pub struct CopyOut {
    owners: bool,
    xattrs: bool,
}

/// What was copied and what was not.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files, each counted once whatever names it has.
    pub files: u64,
    /// Folders, with the one that was asked for.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Bytes that were written; holes are not.
    pub bytes: u64,
    /// Devices, pipes and sockets, which are not made; by their paths.
    pub special: Vec<Vec<u8>>,
    /// What is not there, or not as it was.
    pub failures: Vec<Failure>,
}

/// Something that could not be copied, or not with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Path from what was asked for on.
    pub path: Vec<u8>,
    /// Whether the content is there, and only an owner, a time or an attribute is not.
    pub content_is_whole: bool,
    /// What went wrong.
    pub kind: ErrorKind,
    /// That in words.
    pub reason: String,
}

impl Copied {
    /// Whether everything is there as it was.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.special.is_empty()
    }
}

impl CopyOut {
    /// Content, times, modes, links, holes, extended attributes, and the owners, if this process may give files away.
    pub fn new() -> Self {
        Self { owners: rustix::process::geteuid().is_root(), xattrs: true }
    }

    /// Whether to set the owners of the guest. Without them set-user-id and set-group-id are left out, too.
    #[must_use]
    pub fn owners(mut self, owners: bool) -> Self {
        self.owners = owners;
        self
    }

    /// Whether to set extended attributes.
    #[must_use]
    pub fn xattrs(mut self, xattrs: bool) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// Copies `path` of the volume and all below it to `target`, which is made; its parent has to exist.
    ///
    /// What cannot be read right is left out, named in [`Copied::failures`], and the rest is copied: no file is there in part.
    ///
    /// # Errors
    /// [`Refused`](crate::ErrorKind::Refused) when `target` is there already; as [`Tree::find`] for `path` itself;
    /// [`Io`](crate::ErrorKind::Io) when the target is full or cannot be written at all.
    pub fn run(&self, tree: &Tree, path: impl AsRef<[u8]>, target: &Path) -> Result<Copied> {
        let name = target.file_name().ok_or_else(|| Error::invalid("the target has no name of its own"))?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = fs::open(parent, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| Error::io(format!("cannot open {}", parent.display()), error.into()))?;
        let mut copy = Copy {
            options: self,
            tree,
            parent,
            name: name.as_bytes().to_vec(),
            open: None,
            done: Copied::default(),
            linked: HashMap::new(),
            folders: Vec::new(),
            buffer: vec![0; BUFFER],
        };
        tree.walk(path, |step| copy.step(step))?;
        copy.finish_folders();
        Ok(copy.done)
    }
}

impl Default for CopyOut {
    fn default() -> Self {
        Self::new()
    }
}

struct Copy<'a> {
    options: &'a CopyOut,
    tree: &'a Tree,
    /// The folder that the target is in.
    parent: OwnedFd,
    /// The name of the target there.
    name: Vec<u8>,
    /// The folder that was worked in last: most steps are in the same.
    open: Option<(Vec<u8>, OwnedFd)>,
    done: Copied,
    /// The first name of each file that has several.
    linked: HashMap<Node, Vec<u8>>,
    /// Folders, whose times and modes are set when nothing is written to them any more.
    folders: Vec<(Vec<u8>, Node, Stat)>,
    buffer: Vec<u8>,
}

impl Copy<'_> {
    fn step(&mut self, step: Result<Step>) -> Result<bool> {
        let Step { path, node, stat } = match step {
            Ok(step) => step,
            Err(error) => {
                let path = error.path().unwrap_or_default().as_bytes().to_vec();
                self.fail(&path, false, &error);
                return Ok(true);
            }
        };
        match self.copy(&path, node, &stat) {
            Ok(()) => Ok(true),
            // Going on would fail for every file, or for the root there is nothing to go on with.
            Err(error) if path.is_empty() || is_fatal(&error) => Err(error),
            Err(error) => {
                self.fail(&path, false, &error);
                Ok(false)
            }
        }
    }

    fn copy(&mut self, path: &[u8], node: Node, stat: &Stat) -> Result<()> {
        let (folder, name) = split(path);
        if !path.is_empty() {
            check_name(name)?;
        }
        let name = if path.is_empty() { self.name.clone() } else { name.to_vec() };
        match stat.kind {
            NodeKind::Folder => {
                let at = self.folder(folder, path.is_empty())?;
                fs::mkdirat(at, name.as_slice(), Mode::RWXU).map_err(|error| made("a folder", error))?;
                self.folders.push((path.to_vec(), node, stat.clone()));
                self.done.folders += 1;
            }
            NodeKind::Link => {
                let target = self.tree.system().read_link(node)?;
                let at = self.folder(folder, path.is_empty())?;
                fs::symlinkat(target.as_slice(), at, name.as_slice())
                    .map_err(|error| made("a symbolic link", error))?;
                self.done.links += 1;
                self.link_metadata(path, &name, node, stat);
            }
            NodeKind::Special => self.done.special.push(path.to_vec()),
            NodeKind::File => {
                if let Some(first) = self.linked.get(&node).filter(|_| stat.links > 1).cloned() {
                    return self.hard_link(&first, folder, &name);
                }
                self.file(path, folder, &name, node, stat)?;
                self.done.files += 1;
                if stat.links > 1 && self.linked.len() < MOST_LINKED {
                    self.linked.insert(node, path.to_vec());
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], folder: &[u8], name: &[u8], node: Node, stat: &Stat) -> Result<()> {
        // Refused before anything is made.
        let content = self.tree.system().open(node)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let at = self.folder(folder, path.is_empty())?;
        let target =
            fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| made("a file", error))?;
        let target = LocalFile::from(target);
        if let Err(error) = self.content(&content, &target) {
            // No file is there in part.
            if let Ok(at) = self.folder(folder, path.is_empty()) {
                _ = fs::unlinkat(at, name, AtFlags::empty());
            }
            return Err(error);
        }
        self.metadata(path, &target, node, stat);
        Ok(())
    }

    fn content(&mut self, content: &File, target: &LocalFile) -> Result<()> {
        let failed = |error| Error::io("cannot write the file", error);
        let mut at = 0;
        while let Some(data) = content.data(at) {
            at = data.start;
            while at < data.end {
                let length = (data.end - at).min(self.buffer.len() as u64) as usize;
                let Some(buffer) = self.buffer.get_mut(..length) else { break };
                content.read_exact_at(buffer, at)?;
                target.write_all_at(buffer, at).map_err(failed)?;
                at += length as u64;
                self.done.bytes += length as u64;
            }
        }
        // What is behind the last byte that is stored is a hole.
        target.set_len(content.size()).map_err(failed)
    }

    fn hard_link(&mut self, first: &[u8], folder: &[u8], name: &[u8]) -> Result<()> {
        let (first_folder, first_name) = split(first);
        let from = self.enter(first_folder)?;
        let at = self.folder(folder, false)?;
        fs::linkat(from, first_name, at, name, AtFlags::empty())
            .map_err(|error| made("a hard link", error))?;
        self.done.hard_links += 1;
        Ok(())
    }

    /// The open folder of this path below the target; for the target itself, the folder that it is in.
    fn folder(&mut self, folder: &[u8], is_target: bool) -> Result<&OwnedFd> {
        if is_target {
            return Ok(&self.parent);
        }
        let held = self.open.take_if(|(held, _)| held == folder);
        let held = match held {
            Some(held) => held,
            None => (folder.to_vec(), self.enter(folder)?),
        };
        Ok(&self.open.insert(held).1)
    }

    /// Opens a folder below the target part by part: a path could be longer than the system takes, and be led away by a link.
    fn enter(&self, folder: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let failed = |error: Errno| Error::io("cannot open a folder of the target", error.into());
        let mut open =
            fs::openat(&self.parent, self.name.as_slice(), flags, Mode::empty()).map_err(failed)?;
        for part in folder.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            open = fs::openat(&open, part, flags, Mode::empty()).map_err(failed)?;
        }
        Ok(open)
    }

    /// Owner, attributes, mode, times: in this order, since each could undo what is set after it.
    fn metadata(&mut self, path: &[u8], target: &impl AsFd, node: Node, stat: &Stat) {
        let mut problems = Vec::new();
        let has_owners = self.tree.info().has_owners;
        if has_owners && self.options.owners {
            let (owner, group) = (fs::Uid::from_raw(stat.uid), fs::Gid::from_raw(stat.gid));
            note(&mut problems, "its owner", fs::fchown(target, Some(owner), Some(group)));
        }
        if self.options.xattrs {
            match self.tree.system().xattrs(node) {
                Ok(xattrs) => {
                    for xattr in xattrs {
                        let what = String::from_utf8_lossy(&xattr.name).into_owned();
                        let set =
                            fs::fsetxattr(target, xattr.name.as_slice(), &xattr.value, XattrFlags::empty());
                        note(&mut problems, &what, set);
                    }
                }
                Err(error) => self.fail(path, true, &error),
            }
        }
        if has_owners {
            // To be run as its owner is of use only with that owner.
            let mode = if self.options.owners { stat.mode } else { stat.mode & 0o1777 };
            note(&mut problems, "its mode", fs::fchmod(target, Mode::from_bits_truncate(mode)));
        } else if stat.kind == NodeKind::File {
            note(&mut problems, "its mode", fs::fchmod(target, Mode::from_bits_truncate(stat.mode)));
        }
        note(&mut problems, "its times", fs::futimens(target, &times(stat)));
        self.note(path, problems);
    }

    fn link_metadata(&mut self, path: &[u8], name: &[u8], node: Node, stat: &Stat) {
        let mut problems = Vec::new();
        let owners = self.options.owners;
        let xattrs = match self.options.xattrs {
            true => self.tree.system().xattrs(node).unwrap_or_default(),
            false => Vec::new(),
        };
        let (folder, _) = split(path);
        let Ok(at) = self.folder(folder, path.is_empty()) else { return };
        if owners {
            let (owner, group) = (fs::Uid::from_raw(stat.uid), fs::Gid::from_raw(stat.gid));
            let set = fs::chownat(at, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW);
            note(&mut problems, "its owner", set);
        }
        note(&mut problems, "its times", fs::utimensat(at, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW));
        for xattr in xattrs {
            // There is no call that sets those of a link from an open folder.
            problems.push(format!(
                "{}: attributes of symbolic links are not copied",
                String::from_utf8_lossy(&xattr.name)
            ));
        }
        self.note(path, problems);
    }

    /// The deepest first, so that what is above them is not written to any more.
    fn finish_folders(&mut self) {
        while let Some((path, node, stat)) = self.folders.pop() {
            match self.enter(&path) {
                Ok(folder) => self.metadata(&path, &folder, node, &stat),
                Err(error) => self.fail(&path, true, &error),
            }
        }
    }

    fn note(&mut self, path: &[u8], problems: Vec<String>) {
        if !problems.is_empty() {
            let error = Error::new(ErrorKind::Io, format!("not set: {}", problems.join("; ")));
            self.fail(path, true, &error);
        }
    }

    fn fail(&mut self, path: &[u8], content_is_whole: bool, error: &Error) {
        let mut reason = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            reason = format!("{reason}: {source}");
        }
        self.done.failures.push(Failure {
            path: path.to_vec(),
            content_is_whole,
            kind: error.kind(),
            reason,
        });
    }
}

fn note(problems: &mut Vec<String>, what: &str, result: rustix::io::Result<()>) {
    if let Err(error) = result {
        problems.push(format!("{what} ({})", std::io::Error::from(error)));
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time(stat.accessed), last_modification: time(stat.modified) }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

/// A name that would lead elsewhere can only be the work of someone who wants it to.
fn check_name(name: &[u8]) -> Result<()> {
    match matches!(name, b"" | b"." | b"..") || name.iter().any(|&byte| matches!(byte, b'/' | 0)) {
        true => Err(Error::new(ErrorKind::Refused, "a name that is none, or leads out of its folder")),
        false => Ok(()),
    }
}

fn made(what: &str, error: Errno) -> Error {
    match error {
        Errno::EXIST => {
            Error::new(ErrorKind::Refused, format!("{what} would have been made where something is already"))
        }
        error => Error::io(format!("cannot make {what}"), error.into()),
    }
}

/// Whether no further file could be written.
fn is_fatal(error: &Error) -> bool {
    use std::io::ErrorKind as Io;
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| {
        matches!(source.kind(), Io::StorageFull | Io::ReadOnlyFilesystem | Io::QuotaExceeded)
    })
}
