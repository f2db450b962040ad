//! One rule for all changes of files, whether they fail or the process dies in their midst.
//!
//! The inventory says what there is, and files follow it. A change first writes down an *intent*, `DATA/intents/N.json`:
//! the files that it may make or remove. Then it makes what is new, then it changes the inventory in one step, and last
//! the intent is *settled*: **what it names and nobody needs is removed**. Before the inventory's step the change has
//! never been; from that step on it is finished, if need be by the next start. Files that no intent names are not looked
//! at: whoever put them there keeps them.
//!
//! What no machine has, such as a disk that was made for itself, has no step in the inventory. There the intent is
//! replaced in one step instead.

mod intent;
mod needed;
mod settle;
mod sweep;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use vim_api::types as t;

use crate::fault::{Fault, Outcome, describe, fault, no_disk_space};
use crate::host_file;
use crate::state_file;
use crate::world::Shared;
use crate::{Error, ErrorKind, Result};

pub(crate) use intent::Intent;

const FOLDER: &str = "intents";

/// Where intents are written down.
pub(crate) struct Journal {
    folder: PathBuf,
    next: AtomicU64,
}

/// A change that has begun. Unless it is settled, the next start does that.
pub(crate) struct Begun {
    name: String,
    intent: Intent,
}

impl Journal {
    /// The journal of a data folder.
    ///
    /// # Errors
    /// When its folder cannot be made or read.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join(FOLDER);
        let failed = |error| Error::caused(ErrorKind::Store, format!("opening {}", folder.display()), error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let last = left(&folder)?.last().map_or(0, |(number, _)| *number);
        Ok(Self { next: AtomicU64::new(last + 1), folder })
    }
}

/// Carries out a change of files: `work` makes what is new and changes the inventory. Whatever comes of it, the intent
/// is settled, so nothing of a failure stays.
///
/// # Errors
/// Those of `work`; `FileFault` and the like where the journal cannot be written or files not be removed.
pub(crate) fn carry_out<R>(
    shared: &Shared,
    intent: Intent,
    work: impl FnOnce(&mut Begun) -> Outcome<R>,
) -> Outcome<R> {
    let mut begun = begin(shared, intent)?;
    match work(&mut begun) {
        Ok(value) => begun.finish(shared).map(|()| value),
        Err(fault) => {
            begun.give_up(shared);
            Err(fault)
        }
    }
}

/// Writes an intent down.
///
/// # Errors
/// When that is not possible: then nothing may be changed.
pub(crate) fn begin(shared: &Shared, intent: Intent) -> Outcome<Begun> {
    let number = shared.journal.next.fetch_add(1, Ordering::Relaxed);
    let begun = Begun { name: format!("{number}.json"), intent };
    begun.write(shared)?;
    Ok(begun)
}

impl Begun {
    /// What is intended.
    pub(crate) fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Goes over to another intent, in one step.
    ///
    /// # Errors
    /// When it cannot be written: then the one before still holds.
    pub(crate) fn replace(&mut self, shared: &Shared, intent: Intent) -> Outcome<()> {
        let before = std::mem::replace(&mut self.intent, intent);
        self.write(shared).inspect_err(|_| self.intent = before)
    }

    /// Finishes a change that has succeeded.
    ///
    /// # Errors
    /// When that is not possible. A machine that was made is taken back then.
    pub(crate) fn finish(mut self, shared: &Shared) -> Outcome<()> {
        match self.confirm(shared) {
            Ok(()) => self.settle(shared),
            Err(fault) => {
                self.give_up(shared);
                Err(fault)
            }
        }
    }

    /// Takes a change back that has failed: as far as the inventory does not say otherwise.
    pub(crate) fn give_up(self, shared: &Shared) {
        if let Err(fault) = self.settle(shared) {
            tracing::error!(message = fault.message, "what is left of a failed change is for the next start");
        }
    }

    /// The machine stays that was there for the change only.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn confirm(&mut self, shared: &Shared) -> Outcome<()> {
        if !self.intent.provisional {
            return Ok(());
        }
        self.intent.provisional = false;
        self.write(shared).inspect_err(|_| self.intent.provisional = true)
    }

    /// Finishes the change, or takes it back: as the inventory is.
    ///
    /// # Errors
    /// Those of removing files and of reading disks. The next start tries again.
    fn settle(self, shared: &Shared) -> Outcome<()> {
        settle::settle(shared, &self.intent)?;
        match fs::remove_file(shared.journal.folder.join(&self.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(unwritable(&Error::caused(ErrorKind::Store, format!("removing {}", self.name), error)))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, shared: &Shared) -> Outcome<()> {
        state_file::write(&shared.journal.folder, &self.name, &self.intent)
            .map_err(|error| unwritable(&error))
    }
}

/// Settles what the process before this one left. What cannot be settled is left for another start, and does not keep
/// this one from coming up.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn start(shared: &Shared) -> Result<()> {
    let data = &shared.settings.data_dir;
    let failed = |error| Error::caused(ErrorKind::Store, format!("writing to {}", data.display()), error);
    if !sweep::begin(data).map_err(failed)? {
        sweep::temporaries(shared);
    }
    sweep::homeless(shared);
    for (number, name) in left(&shared.journal.folder)? {
        let path = shared.journal.folder.join(&name);
        let Some(intent) = state_file::read::<Intent>(&path)? else { continue };
        tracing::info!(number, ?intent, "settling a change that a dead process had begun");
        if let Err(fault) = (Begun { name, intent }).settle(shared) {
            tracing::error!(
                number,
                message = fault.message,
                "a change of a dead process could not be settled"
            );
        }
    }
    Ok(())
}

/// Notes that the process is at its end, unless something goes on that may leave files in the making.
pub(crate) fn end(shared: &Shared) {
    let is_over = |info: &t::TaskInfo| info.complete_time.is_some();
    if shared.read(|world| world.tasks.infos().all(is_over)) && !host_file::any_in_the_making() {
        sweep::end(&shared.settings.data_dir);
    }
}

/// The intents that are written down, the oldest first.
fn left(folder: &Path) -> Result<Vec<(u64, String)>> {
    let failed = |error| Error::caused(ErrorKind::Store, format!("listing {}", folder.display()), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_suffix(".json").and_then(|number| number.parse().ok()) {
            found.push((number, name));
        }
    }
    found.sort();
    Ok(found)
}

fn unwritable(error: &Error) -> Fault {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let message = describe(error);
    match cause.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
            no_disk_space(FOLDER, message)
        }
        _ => fault(t::FileFault { file: FOLDER.to_owned(), ..Default::default() }, message),
    }
}
