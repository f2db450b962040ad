//! Links over which others in other folders are built: linked clones, and disks of which only the top link was moved.
//!
//! Children in the same folder are found by looking at it. Of the others a list is kept beside the link,
//! `.NAME.vmdk.children`: the name of each in a line, as `volumes` has it. A child is listed before it is made, and is one
//! as long as it is there and names the link as its parent, so nothing that dies or goes away leaves a false one. A
//! line `left` says that nobody but the children has the link any more: it goes with the last of them.

use std::fs;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::descriptor::Descriptor;
use crate::files::{self, FolderLock};
use crate::{Error, Result, snapshot, volumes};

/// The line for a link that only its children have.
const LEFT: &str = "left";

/// Where the children of a link are listed that are in other folders; the file need not exist.
pub fn list_of(link: &Path) -> PathBuf {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    link.with_file_name(format!(".{name}.children"))
}

/// Whether a file name is that of such a list.
pub fn is_list(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".vmdk.children")
}

/// The links in other folders that are built over this one, sorted.
///
/// # Errors
/// `Io` if the list cannot be read.
pub fn children(link: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        read(link)?.iter().filter(|line| *line != LEFT).filter_map(|line| living(link, line)).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Lists a child in another folder, which may be made after that.
///
/// # Errors
/// `BadPath` if the child is on no datastore that is known by its uuid; `NoSpace`, `Io`.
pub fn add(link: &Path, child: &Path) -> Result<()> {
    let name = volumes::name_of(child)?;
    change(link, |lines| {
        // A child whose folder there is may be in the making.
        let may_be = |line: &String| {
            line == LEFT || volumes::resolve(link, line).is_ok_and(|path| files::folder_of(&path).exists())
        };
        lines.retain(may_be);
        if !lines.contains(&name) {
            lines.push(name);
        }
    })
}

/// Lists the links at or below a path of this machine with their parents in other folders: after somebody has put them
/// there. What is there and is no link, or has no parent, is none of them.
///
/// # Errors
/// As for [`add`].
pub fn add_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        let unreadable = |source| Error::io("a folder cannot be listed", source).at(path);
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder || name.to_str().is_some_and(snapshot::is_descriptor_name) {
                add_all(&entry.path())?;
            }
        }
        return Ok(());
    }
    let Ok(descriptor) = Descriptor::load(path) else { return Ok(()) };
    if descriptor.parent_hint.is_none() || descriptor.parent_in_folder(path).is_some() {
        return Ok(());
    }
    match descriptor.parent(path) {
        Ok(Some(parent)) if parent.exists() => add(&parent, path),
        _ => Ok(()),
    }
}

/// Says that only its children have the link from now on.
///
/// # Errors
/// `NoSpace`, `Io`.
pub fn leave(link: &Path) -> Result<()> {
    change(link, |lines| {
        if !lines.iter().any(|line| line == LEFT) {
            lines.insert(0, LEFT.to_owned());
        }
    })
}

/// Whether only its children have the link.
///
/// # Errors
/// `Io` if the list cannot be read.
pub fn is_left(link: &Path) -> Result<bool> {
    Ok(read(link)?.iter().any(|line| line == LEFT))
}

/// The files at or below a path of this machine that links in other folders need: descriptors and data.
///
/// # Errors
/// `Io` if a folder cannot be listed.
pub fn needed_elsewhere(path: &Path) -> Result<Vec<PathBuf>> {
    let is_folder = path.is_dir();
    let mut found = Vec::new();
    let mut open = vec![if is_folder { path } else { files::folder_of(path) }.to_owned()];
    while let Some(folder) = open.pop() {
        let unreadable = |source| Error::io("a folder cannot be listed", source).at(&folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == IoKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_folder && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            } else if let Some(link) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".children"))
                && is_list(&name)
            {
                add_chain(&folder.join(link), &mut found)?;
            }
        }
    }
    if !is_folder {
        found.retain(|file| file == path);
    }
    Ok(found)
}

/// Adds a link that has children elsewhere, and what is below it in its folder.
fn add_chain(link: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if children(link)?.is_empty() {
        return Ok(());
    }
    let mut at = link.to_owned();
    while !found.contains(&at) {
        let Ok(descriptor) = Descriptor::load(&at) else { return Ok(()) };
        found.push(files::sibling(&at, &descriptor.extent_file));
        let parent = descriptor.parent_in_folder(&at);
        found.push(at);
        match parent {
            Some(parent) => at = parent,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The child that a line names, if it is there and is one.
fn living(link: &Path, line: &str) -> Option<PathBuf> {
    let child = volumes::resolve(link, line).ok()?;
    let parent = Descriptor::load(&child).ok()?.parent(&child).ok()??;
    let same = |one: &Path, other: &Path| {
        one == other
            || fs::canonicalize(one).ok().is_some_and(|one| fs::canonicalize(other).ok() == Some(one))
    };
    same(&parent, link).then_some(child)
}

fn read(link: &Path) -> Result<Vec<String>> {
    let path = list_of(link);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == IoKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("the list of a link's children cannot be read", error).at(&path)),
    }
}

fn change(link: &Path, change: impl FnOnce(&mut Vec<String>)) -> Result<()> {
    let _held = FolderLock::exclusive(files::folder_of(link))?;
    let mut lines = read(link)?;
    let before = lines.clone();
    change(&mut lines);
    if lines == before {
        return Ok(());
    }
    let mut text = lines.join("\n");
    text.push('\n');
    files::replace(&list_of(link), text.as_bytes())
}
