//! The write-ahead journal of what we take from a vSphere: an intent is on disk before the thing exists.
//!
//! A journal is a folder. Each process that uses it holds an operating-system lock on a file of its own, `run-<id>.lock`;
//! the lock ends with the process, however that ends. Each intent is a file `<run>-<n>.json` that is written and
//! synced before the call, and deleted after the thing is known to be gone. An intent whose run holds no lock belongs to
//! a process that died: [`Sweeper`](crate::Sweeper) settles it.
//!
//! The folder has an owner, a name that is made up once and kept in the file `owner`. It stands in the name of whatever is
//! taken, so that what belongs to a folder that was lost can still be told from what belongs to somebody alive.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::machine::VmIdentity;

/// The file that names the folder's owner.
const OWNER: &str = "owner";
/// Ends the names of files that [`resume`](crate::resume) keeps; before it stands the name of a snapshot.
const RESUME: &str = ".resume";

/// A journal folder, in use by this process. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Run>);

#[derive(Debug)]
struct Run {
    folder: PathBuf,
    owner: String,
    id: String,
    next: AtomicU64,
    /// Intents of this run that somebody still works on. One that was dropped unsettled is an orphan like those of a dead
    /// run: a program that runs for months must not wait for its own death.
    held: Mutex<HashSet<PathBuf>>,
    /// Held for the life of the run.
    lock: File,
}

/// Something that we are about to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Intent {
    /// A snapshot of a machine. Its name is unique, so that it is found again even when the call's answer was lost.
    Snapshot {
        /// The machine.
        vm: VmIdentity,
        /// The snapshot's name.
        name: String,
    },
    /// A snapshot of a machine whose disks are being restored. Unless the restore has come to its end, the machine goes back to it.
    Rollback {
        /// The machine.
        vm: VmIdentity,
        /// The snapshot's name, as unique as others.
        name: String,
    },
    /// A machine that its server is not to move.
    Access {
        /// The machine.
        vm: VmIdentity,
        /// As whom it is barred. It is the owner's, so that any run can lift it.
        identity: String,
    },
    /// A machine that a recovery makes. It is no machine yet when this is written, so it has no identity but its mark.
    Machine {
        /// instanceUuid of the vCenter; `None` for a host alone.
        vcenter: Option<String>,
        /// The folder in which it is made.
        folder: String,
        /// Its name.
        name: String,
        /// What it bears in its extra configuration until it is whole.
        mark: String,
    },
    /// A template that is to be a machine for a while.
    Template {
        /// The template.
        vm: VmIdentity,
    },
}

/// An intent in the journal. It stays there until [`settle`](Self::settle): dropping it does not remove it, and leaves it
/// to the next sweep.
#[derive(Debug)]
#[must_use = "an entry that is not settled stays in the journal"]
pub struct Entry {
    path: PathBuf,
    folder: PathBuf,
    intent: Intent,
    holder: Option<Arc<Run>>,
}

impl Journal {
    /// Opens the journal in `folder`, which is created if need be. Several processes may use one folder.
    ///
    /// # Errors
    /// When the folder cannot be created, written or locked.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let context = || format!("opening the journal in {}", folder.display());
        Self::start(folder).map_err(|e| Error::journal(context(), e))
    }

    fn start(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let owner = owner_of(folder)?;
        let mut attempt = 0_u32;
        loop {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let id = format!("{:x}-{:x}-{attempt}", now.as_nanos(), std::process::id());
            let path = folder.join(format!("run-{id}.lock"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(lock) => {
                    lock.lock()?;
                    sync_folder(folder)?;
                    let (folder, next, held) = (folder.to_owned(), AtomicU64::new(0), Mutex::default());
                    let run = Run { folder, owner, id, next, held, lock };
                    return Ok(Self(Arc::new(run)));
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// The name of this run: unique among all that use the folder.
    pub fn run_id(&self) -> &str {
        &self.0.id
    }

    /// Whose journal this is: the same for all runs that use the folder, and for no other folder. Letters and digits.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// A name that nothing else has, in this run or another.
    pub(crate) fn unique_name(&self) -> String {
        format!("{}-{}", self.0.id, self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes an intent down. When this returns, it survives the death of the process and of the machine.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be taken.
    pub fn record(&self, intent: Intent) -> Result<Entry, Error> {
        let path = self.0.folder.join(format!("{}.json", self.unique_name()));
        self.0.held().insert(path.clone());
        let entry = Entry { folder: self.0.folder.clone(), holder: Some(Arc::clone(&self.0)), path, intent };
        match write_over(&entry.path, &entry.intent).and_then(|()| sync_folder(&entry.folder)) {
            Ok(()) => Ok(entry),
            Err(e) => Err(Error::journal(format!("writing the intent {:?}", entry.intent), e)),
        }
    }

    /// The intents of all runs, this one and dead ones included.
    ///
    /// # Errors
    /// When the folder cannot be read, or an intent in it is damaged; it is named, and has to be looked at by a person.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.files()?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The intents that nobody works on any more: of runs that ended, and of this one where they were dropped unsettled.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn orphans(&self) -> Result<Vec<Entry>, Error> {
        let mut orphans = Vec::new();
        for (run, entry) in self.files()? {
            let abandoned = match run == self.0.id {
                true => !self.0.held().contains(&entry.path),
                false => self.is_dead(&run)?,
            };
            if abandoned {
                orphans.push(entry);
            }
        }
        Ok(orphans)
    }

    /// Where it is written down what a store has of a snapshot, see `resume`.
    pub(crate) fn resume_file(&self, snapshot: &str) -> PathBuf {
        self.0.folder.join(format!("{snapshot}{RESUME}"))
    }

    /// Makes an orphan an intent of this run. `None` when another run was quicker, or has settled it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn adopt(&self, orphan: Entry) -> Result<Option<Entry>, Error> {
        let path = self.0.folder.join(format!("{}.json", self.unique_name()));
        self.0.held().insert(path.clone());
        let entry = Entry {
            folder: self.0.folder.clone(),
            holder: Some(Arc::clone(&self.0)),
            path,
            intent: orphan.intent.clone(),
        };
        // Of two that rename one file, one finds it.
        match fs::rename(&orphan.path, &entry.path).and_then(|()| sync_folder(&self.0.folder)) {
            Ok(()) => Ok(Some(entry)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::journal(format!("taking over the intent {:?}", entry.intent), e)),
        }
    }

    /// Removes the lock files of runs that ended and left nothing behind, and what was written down of snapshots that are settled.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let files = self.files()?;
        let busy: Vec<String> = files.iter().map(|(run, _)| run.clone()).collect();
        let snapshots: Vec<&str> =
            files.iter().filter_map(|(_, entry)| entry.intent.snapshot().map(|(_, name)| name)).collect();
        let context = || format!("tidying the journal in {}", self.0.folder.display());
        for name in self.names().map_err(|e| Error::journal(context(), e))? {
            if let Some(snapshot) = name.strip_suffix(RESUME)
                && !snapshots.contains(&snapshot)
            {
                remove(&self.0.folder.join(&name)).map_err(|e| Error::journal(context(), e))?;
                continue;
            }
            let run = name.strip_prefix("run-").and_then(|n| n.strip_suffix(".lock"));
            let Some(run) = run.filter(|run| *run != self.0.id && !busy.iter().any(|b| b == run)) else {
                continue;
            };
            if self.is_dead(run)? {
                remove(&self.0.folder.join(&name)).map_err(|e| Error::journal(context(), e))?;
            }
        }
        Ok(())
    }

    /// Tidies up, as far as that can be done.
    pub(crate) fn forget_settled(&self) {
        if let Err(error) = self.tidy() {
            tracing::debug!(%error, "the journal is not tidy");
        }
    }

    fn files(&self) -> Result<Vec<(String, Entry)>, Error> {
        let context = || format!("reading the journal in {}", self.0.folder.display());
        let mut found = Vec::new();
        for name in self.names().map_err(|e| Error::journal(context(), e))? {
            let Some((run, _)) = name.strip_suffix(".json").and_then(|n| n.rsplit_once('-')) else {
                continue;
            };
            let path = self.0.folder.join(&name);
            let text = match fs::read(&path) {
                Ok(text) => text,
                // Settled by its own run meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::journal(context(), e)),
            };
            let intent = serde_json::from_slice(&text).map_err(|e| {
                Error::journal(format!("{}: the intent {name} is damaged", context()), e.into())
            })?;
            found.push((run.to_owned(), Entry { path, folder: self.0.folder.clone(), intent, holder: None }));
        }
        Ok(found)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(&self.0.folder)?
            .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// A run is dead when its lock can be had. One without a lock file has ended in order, or was tidied away.
    fn is_dead(&self, run: &str) -> Result<bool, Error> {
        let path = self.0.folder.join(format!("run-{run}.lock"));
        let context = || format!("looking whether the run {run} is alive");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(Error::journal(context(), e)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(e)) => Err(Error::journal(context(), e)),
        }
    }
}

/// Writes an intent into a file, so that the file has all of it or is as it was.
fn write_over(path: &Path, intent: &Intent) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(intent)?;
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// The folder's owner. Whoever comes first makes one up.
fn owner_of(folder: &Path) -> io::Result<String> {
    let path = folder.join(OWNER);
    loop {
        match fs::read_to_string(&path) {
            Ok(owner) if is_owner(owner.trim()) => return Ok(owner.trim().to_owned()),
            Ok(_) => {
                let text = format!("{} does not hold the name of an owner", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let made_up = format!("{:012x}", RandomState::new().hash_one(std::process::id()) & 0xffff_ffff_ffff);
        let temporary = folder.join(format!("{OWNER}.{made_up}"));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(made_up.as_bytes())?;
        file.sync_all()?;
        // A link, since a rename would replace the one of a process that was quicker.
        let linked = fs::hard_link(&temporary, &path);
        remove(&temporary)?;
        match linked {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => sync_folder(folder)?,
        }
    }
}

/// Whether it is a name of an owner, and nothing that would be taken for more in the name of a snapshot.
pub(crate) fn is_owner(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Run {
    fn held(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    /// A run that ends in order takes its lock file along, unless it left intents.
    fn drop(&mut self) {
        let prefix = format!("{}-", self.id);
        let left = fs::read_dir(&self.folder).map(|entries| {
            entries.flatten().any(|e| {
                let name = e.file_name().to_string_lossy().into_owned();
                name.starts_with(&prefix) && name.ends_with(".json")
            })
        });
        let unlocked = self.lock.unlock();
        if matches!(left, Ok(false)) && unlocked.is_ok() {
            let path = self.folder.join(format!("run-{}.lock", self.id));
            if let Err(error) = remove(&path) {
                tracing::debug!(%error, "a lock file of the journal stays");
            }
        }
    }
}

impl Intent {
    /// The machine and the name of the snapshot, if it is about one.
    pub(crate) fn snapshot(&self) -> Option<(&VmIdentity, &str)> {
        match self {
            Self::Snapshot { vm, name } => Some((vm, name)),
            Self::Rollback { .. } | Self::Access { .. } | Self::Template { .. } | Self::Machine { .. } => {
                None
            }
        }
    }
}

impl Entry {
    /// What was intended.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Writes another intent in place of this one, at one stroke.
    ///
    /// # Errors
    /// When it cannot be written: then the old one stands, or the new one does and may not survive the death of the machine.
    pub(crate) fn turn_into(&mut self, intent: Intent) -> Result<(), Error> {
        let written = write_over(&self.path, &intent).and_then(|()| sync_folder(&self.folder));
        written.map_err(|e| Error::journal(format!("writing the intent {intent:?}"), e))?;
        self.intent = intent;
        Ok(())
    }

    /// Removes the entry: the thing is known not to exist (any more).
    ///
    /// # Errors
    /// When the file cannot be removed. The intent then stays, which does no harm: it will be swept.
    pub fn settle(self) -> Result<(), Error> {
        remove(&self.path)
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|e| Error::journal(format!("settling the intent {:?}", self.intent), e))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(run) = &self.holder {
            run.held().remove(&self.path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A new or removed name is only safe when the folder itself was synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(name: &str) -> Intent {
        let vm = VmIdentity { vcenter: Some("v".into()), instance_uuid: "i".into(), moref: "vm-1".into() };
        Intent::Snapshot { vm, name: name.into() }
    }

    #[test]
    fn an_intent_of_a_living_run_is_no_orphan_and_that_of_an_ended_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let mine = Journal::open(folder.path()).unwrap();
        let other = Journal::open(folder.path()).unwrap();
        let _held = mine.record(intent("a")).unwrap();
        let theirs = other.record(intent("b")).unwrap();
        assert_eq!(mine.entries().unwrap().len(), 2);
        assert!(mine.orphans().unwrap().is_empty());
        drop((theirs, other));
        let orphans = mine.orphans().unwrap();
        assert_eq!(orphans.iter().map(Entry::intent).collect::<Vec<_>>(), [&intent("b")]);
        orphans.into_iter().for_each(|entry| entry.settle().unwrap());
        assert!(mine.orphans().unwrap().is_empty());
        mine.tidy().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the owner, our lock and our intent");
    }

    #[test]
    fn an_intent_that_its_own_run_gave_up_is_an_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        drop(journal.record(intent("a")).unwrap());
        let other = Journal::open(folder.path()).unwrap();
        assert!(other.orphans().unwrap().is_empty(), "the run is alive, and its business is its own");
        assert_eq!(journal.orphans().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_intent_is_reported_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        fs::write(folder.path().join("dead-0.json"), b"{\"kind\":\"snap").unwrap();
        let error = journal.orphans().unwrap_err();
        assert!(error.to_string().contains("dead-0.json"), "{error}");
    }

    #[test]
    fn a_run_that_settled_everything_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.record(intent("a")).unwrap().settle().unwrap();
        let owner = journal.owner().to_owned();
        drop(journal);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the owner");
        assert_eq!(Journal::open(folder.path()).unwrap().owner(), owner);
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(Journal::open(elsewhere.path()).unwrap().owner(), owner);
        fs::write(folder.path().join("owner"), "somebody").unwrap();
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("owner"), "{error}");
    }
}
