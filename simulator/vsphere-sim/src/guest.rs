//! Guests that write by themselves: when their ticks come, and how they stand still for a snapshot.
//!
//! What a tick does is [`sim_store::guest::writer`]'s. Here a disk is worked on for a whole tick at once, so that each
//! disk of a snapshot is as after a whole number of ticks; between two disks of a machine a snapshot may come, as it may
//! between two writes of a real guest that is not quiesced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sim_store::guest::writer::{self, Counter, Workload};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::Moment;
use crate::fault::describe;
use crate::sim::{Sim, SimVm};
use crate::{Error, ErrorKind, Result, clock};

/// Ticks that are made up for at once when the clock was moved ahead.
const MOST_AT_ONCE: u32 = 1000;

/// The guests that write, by the ids of their machines.
#[derive(Debug)]
pub(crate) struct Guests {
    list: Mutex<BTreeMap<String, Arc<Writer>>>,
    /// Where their ticks are waited for.
    runtime: Option<Handle>,
}

/// A guest that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    workload: Workload,
    interval: Option<Duration>,
    /// Held for a whole tick, and while the guest is frozen.
    turn: Mutex<()>,
    told: Mutex<Told>,
    stopped: watch::Sender<bool>,
}

#[derive(Debug, Clone, Default)]
struct Told {
    ticks: u64,
    failed: u64,
    error: Option<String>,
}

/// A guest that writes by itself, as [`SimVm::guest_writer`] starts it. It goes on when this is dropped.
#[derive(Debug, Clone)]
pub struct GuestWriter {
    vm: SimVm,
    writer: Arc<Writer>,
}

/// What has become of a guest that writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestWriterState {
    /// The machine's managed object id.
    pub vm: String,
    /// What it does.
    pub workload: Workload,
    /// Milliseconds of the server's clock between two ticks; `None` if it waits for each to be asked for.
    pub interval_ms: Option<u64>,
    /// Ticks that it has done in this run of the simulator.
    pub ticks: u64,
    /// Ticks that failed: each is tried again.
    pub failed: u64,
    /// Why the last one that failed did; nothing after one that went well.
    pub error: Option<String>,
}

impl SimVm {
    /// Has the machine's guest write by itself: a tick in each `interval` of the server's clock, or with `None` when
    /// [`GuestWriter::step`] asks for one. It works while the machine is on, and goes on where it was when the machine is
    /// on again. All of each disk is its own to write: what was there is lost. A writer that the machine has is replaced.
    ///
    /// # Errors
    /// `NotFound` if the machine is gone; `InvalidArgument` for an interval of nothing.
    pub fn guest_writer(&self, workload: Workload, interval: Option<Duration>) -> Result<GuestWriter> {
        start(self, workload, interval)
    }
}

impl Sim {
    /// The guests that write, and what has become of them.
    pub fn guest_writers(&self) -> Vec<GuestWriterState> {
        self.shared.guests.states()
    }
}

impl GuestWriter {
    /// Does a tick on all disks, and answers its number.
    ///
    /// # Errors
    /// `InvalidState` if the machine is not on, or the writer was ended; `NotFound` if it is gone; `Store` if a disk cannot be written: the tick is
    /// finished by the next step then.
    pub fn step(&self) -> Result<u64> {
        let _turn = self.writer.pause();
        if *self.writer.stopped.borrow() {
            return Err(Error::new(ErrorKind::InvalidState, "this guest writer was ended"));
        }
        let done = tick(&self.vm, &self.writer.workload);
        let mut told = lock(&self.writer.told);
        match &done {
            Ok(_) => {
                told.ticks += 1;
                told.error = None;
            }
            Err(error) if error.kind() == ErrorKind::InvalidState => {}
            Err(error) => {
                told.failed += 1;
                told.error = Some(describe(error));
            }
        }
        done
    }

    /// What has become of it.
    pub fn state(&self) -> GuestWriterState {
        state(self.vm.id(), &self.writer)
    }

    /// Ends it. A tick that is being done is done first.
    pub fn stop(&self) {
        self.vm.shared().guests.end(self.vm.id(), &self.writer);
        drop(self.writer.pause());
    }
}

impl GuestWriter {
    /// What the guest does when its file systems are quiesced: it ends the tick that it is at and notes on each disk after
    /// which tick it stands still. It goes on when the guard is dropped.
    pub(crate) fn freeze(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = self.writer.pause();
        if !newest(&counters(&self.vm)?).1 {
            tick(&self.vm, &self.writer.workload)?;
        }
        for (key, counter) in counters(&self.vm)? {
            on_disk(&self.vm, key, |disk| writer::mark(disk, counter.map_or(0, |counter| counter.tick)))?;
        }
        Ok(turn)
    }
}

impl Guests {
    /// No guests yet. To be called where tasks can be spawned.
    pub(crate) fn new() -> Self {
        Self { list: Mutex::default(), runtime: Handle::try_current().ok() }
    }

    pub(crate) fn states(&self) -> Vec<GuestWriterState> {
        lock(&self.list).iter().map(|(id, writer)| state(id, writer)).collect()
    }

    /// Puts a writer in the place of the one that a machine has.
    fn put(&self, vm: &str, writer: &Arc<Writer>) {
        if let Some(before) = lock(&self.list).insert(vm.to_owned(), Arc::clone(writer)) {
            before.stopped.send_replace(true);
        }
    }

    /// Ends a writer. Another that has taken its place goes on.
    fn end(&self, vm: &str, writer: &Arc<Writer>) {
        let mut list = lock(&self.list);
        if list.get(vm).is_some_and(|found| Arc::ptr_eq(found, writer)) {
            list.remove(vm);
        }
        writer.stopped.send_replace(true);
    }
}

impl Writer {
    /// Waits for the end of a tick; none begins as long as the guard is held.
    fn pause(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }
}

/// The writer of a machine, if it has one.
pub(crate) fn handle(vm: &SimVm) -> Option<GuestWriter> {
    let writer = lock(&vm.shared().guests.list).get(vm.id()).cloned();
    writer.map(|writer| GuestWriter { vm: vm.clone(), writer })
}

pub(crate) fn start(vm: &SimVm, workload: Workload, interval: Option<Duration>) -> Result<GuestWriter> {
    if interval.is_some_and(|interval| interval.is_zero()) || workload.patterns.is_empty() {
        let what = "a guest that writes has kinds of work, and some time between two ticks";
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    // A machine that is gone has no disks.
    vm.disks()?;
    let shared = vm.shared();
    let runtime = shared.guests.runtime.clone();
    let writer = Arc::new(Writer {
        workload,
        interval,
        turn: Mutex::default(),
        told: Mutex::default(),
        stopped: watch::Sender::new(false),
    });
    shared.guests.put(vm.id(), &writer);
    let started = GuestWriter { vm: vm.clone(), writer };
    if let Some(interval) = interval {
        let runtime =
            runtime.ok_or_else(|| Error::new(ErrorKind::InvalidState, "nothing can be waited for"))?;
        let due = shared.now().after(interval);
        runtime.spawn(run(started.clone(), interval, due));
    }
    Ok(started)
}

async fn run(guest: GuestWriter, interval: Duration, mut due: Moment) {
    let shared = Arc::clone(guest.vm.shared());
    let mut stopped = guest.writer.stopped.subscribe();
    loop {
        tokio::select! {
            () = clock::sleep_until(&shared, due) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let stepping = guest.clone();
        match tokio::task::spawn_blocking(move || stepping.step()).await {
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                shared.guests.end(guest.vm.id(), &guest.writer);
                return;
            }
            // It stands in the state; the tick is tried again.
            Ok(Ok(_) | Err(_)) => {}
            Err(error) => tracing::error!(%error, "a guest's tick died"),
        }
        due = due.after(interval);
        let now = shared.now();
        if now.since(due) > interval * MOST_AT_ONCE {
            due = now;
        }
    }
}

/// One tick on all disks. Disks that are behind, since a tick ended midway, come up to the others first.
fn tick(vm: &SimVm, workload: &Workload) -> Result<u64> {
    let counters = counters(vm)?;
    let (newest, level) = newest(&counters);
    for (key, seen) in &counters {
        let next = match seen {
            Some(counter) if level || counter.tick < newest => {
                Some(Counter { tick: counter.tick + 1, ..*counter })
            }
            // A disk that is new begins with the tick that the others do together.
            None if level => Some(Counter { first: newest + 1, tick: newest + 1, span: 0 }),
            _ => None,
        };
        let Some(mut next) = next else { continue };
        on_disk(vm, *key, |disk| {
            if writer::counter(disk)? != *seen {
                // It was reverted, or its disk replaced, since the tick began: the next tick looks again.
                return Ok(());
            }
            if seen.is_none() {
                next.span = disk.capacity();
            }
            workload.perform(disk, &next)
        })?;
    }
    Ok(if level { newest + 1 } else { newest })
}

/// The last tick of any disk, and whether it is that of all on which the guest has worked.
fn newest(counters: &[(i32, Option<Counter>)]) -> (u64, bool) {
    let ticks = || counters.iter().filter_map(|(_, counter)| Some((*counter)?.tick));
    let newest = ticks().max().unwrap_or(0);
    (newest, ticks().all(|tick| tick == newest))
}

fn counters(vm: &SimVm) -> Result<Vec<(i32, Option<Counter>)>> {
    let keys = vm.disks()?.into_iter().map(|disk| disk.key);
    keys.map(|key| Ok((key, on_disk(vm, key, writer::counter)?))).collect()
}

/// Works on a live disk of a machine that is on, as long as it is.
fn on_disk<R>(
    vm: &SimVm,
    key: i32,
    work: impl FnOnce(&sim_store::Disk) -> sim_store::Result<R>,
) -> Result<R> {
    let done = vm.with_live_disk(key, |disk| vm.is_powered_on().then(|| work(disk)))?;
    let off = || Error::new(ErrorKind::InvalidState, "the machine is not on, so its guest does nothing");
    done.ok_or_else(off)?.map_err(|error| Error::store(format!("the guest's work on disk {key}"), error))
}

fn state(id: &str, writer: &Writer) -> GuestWriterState {
    let told = lock(&writer.told).clone();
    GuestWriterState {
        vm: id.to_owned(),
        workload: writer.workload.clone(),
        interval_ms: writer.interval.map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
        ticks: told.ticks,
        failed: told.failed,
        error: told.error,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
