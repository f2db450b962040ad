//! A store in memory, for tests: its clock is moved by hand, and its content can be copied.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind};

/// Objects in memory, for tests of whatever works on a store. Its clock stands still between operations that change something, each of
/// which moves it by a microsecond, and goes on when [`advance`](Self::advance) says so.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct State {
    now: SystemTime,
    objects: BTreeMap<String, (Bytes, SystemTime)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        // Some time in 2001, so that nothing agrees with it by chance.
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        Self { state: Mutex::new(State { now, objects: BTreeMap::new() }) }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store with the same objects and the same time.
    pub fn fork(&self) -> Self {
        Self { state: Mutex::new(self.state().clone()) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, time: Duration) {
        self.state().now += time;
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Changes the bytes of an object behind everybody's back, as rot does; an absent one is made, and `None` takes it away.
    pub fn tamper(&self, name: &str, change: impl FnOnce(Option<Bytes>) -> Option<Bytes>) {
        let mut state = self.state();
        let old = state.objects.remove(name);
        let time = old.as_ref().map_or(state.now, |(_, time)| *time);
        if let Some(bytes) = change(old.map(|(bytes, _)| bytes)) {
            state.objects.insert(name.to_owned(), (bytes, time));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, name: &ObjectName) -> Result<Bytes, Error> {
        let object = self.state().objects.get(name.as_str()).map(|(bytes, _)| bytes.clone());
        object.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {name} in memory")))
    }
}

impl State {
    fn tick(&mut self) -> SystemTime {
        self.now += Duration::from_micros(1);
        self.now
    }
}

impl ChunkStore for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state();
            if state.objects.contains_key(name.as_str()) {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("{name} exists in memory already")));
            }
            let now = state.tick();
            state.objects.insert(name.as_str().to_owned(), (data, now));
            Ok(())
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let object = self.object(name)?;
            match object.len() as u64 <= limit {
                true => Ok(object),
                false => Err(Error::damaged(format!("{name} has {} bytes, more than {limit}", object.len()))),
            }
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move {
            let object = self.object(name)?;
            // Both are at most the length, which is a usize.
            let within = |at: u64| at.min(object.len() as u64) as usize;
            Ok(object.slice(within(range.start)..within(range.end).max(within(range.start))))
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(async move {
            let state = self.state();
            let is_inside = |name: &str| {
                folder.is_empty() || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            };
            let inside = state.objects.iter().filter(|(name, _)| is_inside(name));
            Ok(inside
                .map(|(name, (bytes, modified))| StoredObject {
                    name: name.clone(),
                    size: bytes.len() as u64,
                    modified: *modified,
                })
                .collect())
        })
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.state();
            state.tick();
            state.objects.remove(name.as_str());
            Ok(())
        })
    }

    fn sweep(&self, _before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(async { Ok(0) })
    }
}
