//! What every [`ChunkStore`] has to do, as a suite that judges one: call [`run`] from a test of your store. [`run_backup_store`]
//! judges a [`BackupStore`](crate::BackupStore).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = vadp_repository::MemoryStore::new();
//! let report = vadp_repository::conformance::run(&store).await?;
//! assert!(report.is_ok(), "{report}");
//! # Ok(())
//! # }
//! ```

mod backup_store;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::crypto::random;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ChunkStore, ObjectName, StoredObject};

pub use backup_store::run_backup_store;

/// What the suite found.
#[non_exhaustive]
#[derive(Debug)]
#[must_use]
pub struct Report {
    /// Each rule with what broke it, or `None` where it holds.
    pub rules: Vec<(&'static str, Option<String>)>,
}

impl Report {
    /// Whether every rule holds.
    pub fn is_ok(&self) -> bool {
        self.rules.iter().all(|(_, broken)| broken.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, broken) in &self.rules {
            match broken {
                None => writeln!(f, "holds:  {rule}")?,
                Some(why) => writeln!(f, "BROKEN: {rule}: {why}")?,
            }
        }
        Ok(())
    }
}

/// How much the suite does.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Objects in the folder that is listed; 1,100 by default, as many servers answer with pages of 1,000.
    pub listed: usize,
    /// Bytes of the large object; 40 MiB by default.
    pub large: usize,
    /// Creates of one name that race; 32 by default.
    pub racers: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self { listed: 1100, large: 40 << 20, racers: 32 }
    }
}

/// Judges a store with the default [`Load`]. Works in a folder of its own, which it empties in the end, so the store may be in use.
///
/// # Errors
/// [`Internal`](ErrorKind::Internal) when there is no randomness for the folder's name. All else is in the report.
pub async fn run<S: ChunkStore + ?Sized>(store: &S) -> Result<Report> {
    run_with(store, Load::default()).await
}

/// The same with another load, for slow stores.
///
/// # Errors
/// As [`run`].
pub async fn run_with<S: ChunkStore + ?Sized>(store: &S, load: Load) -> Result<Report> {
    let id: String = random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let suite = Suite { store, load, folder: format!("conformance{id}") };
    let rules = vec![
        ("what is created is read back, whatever its size", suite.round_trip().await),
        ("an object that exists is not replaced", suite.no_replacement().await),
        ("of creates that race, one succeeds", suite.race(64).await),
        ("of large creates that race, one succeeds", suite.race(suite.load.large / 2).await),
        ("while a large object is created, it is absent or whole", suite.absent_or_whole().await),
        ("what does not exist is not found", suite.not_found().await),
        ("an object larger than the limit is refused", suite.limit().await),
        ("ranges end where the object ends", suite.ranges().await),
        ("a listing shows all objects below a folder, and no others", suite.listing().await),
        ("times of creation do not run backwards", suite.times().await),
        ("what is removed is gone, and may be removed again", suite.removal().await),
        ("sweeping up leaves objects alone", suite.sweeping().await),
    ];
    let mut report = Report {
        rules: rules.into_iter().map(|(rule, result)| (rule, result.err().map(|broken| broken.0))).collect(),
    };
    if let Err(broken) = suite.clean_up().await {
        report.rules.push(("the suite's own objects can be removed", Some(broken.0)));
    }
    Ok(report)
}

struct Suite<'a, S: ?Sized> {
    store: &'a S,
    load: Load,
    folder: String,
}

/// Why a rule does not hold.
struct Broken(String);

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        use std::error::Error as _;
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Self(text)
    }
}

type Verdict = std::result::Result<(), Broken>;

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    match holds {
        true => Ok(()),
        false => Err(Broken(otherwise())),
    }
}

fn require_kind<T>(result: Result<T>, kind: ErrorKind, what: &str) -> Verdict {
    match result {
        Ok(_) => Err(Broken(format!("{what} succeeded"))),
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Broken(format!(
            "{what} failed with {:?} instead of {kind:?}: {}",
            error.kind(),
            Broken::from(error).0
        ))),
    }
}

impl<S: ChunkStore + ?Sized> Suite<'_, S> {
    fn name(&self, name: &str) -> Result<ObjectName> {
        ObjectName::new(format!("{}/{name}", self.folder))
    }

    async fn round_trip(&self) -> Verdict {
        for length in [0, 1, 4095, 70_000, self.load.large] {
            let (name, data) = (self.name(&format!("sizes/{length}"))?, bytes(1, length));
            self.store.create(&name, data.clone()).await?;
            let read = self.store.get(&name, length as u64).await?;
            require(read == data, || format!("an object of {length} bytes came back as another one"))?;
        }
        Ok(())
    }

    async fn no_replacement(&self) -> Verdict {
        for length in [100, self.load.large / 2] {
            let name = self.name(&format!("taken/{length}"))?;
            self.store.create(&name, bytes(1, length)).await?;
            let again = self.store.create(&name, bytes(2, length)).await;
            require_kind(again, ErrorKind::AlreadyExists, "creating it again")?;
            let shorter = self.store.create(&name, bytes(2, 7)).await;
            require_kind(shorter, ErrorKind::AlreadyExists, "creating it again, shorter")?;
            let read = self.store.get(&name, u64::MAX).await?;
            require(read == bytes(1, length), || "it was changed by a create that was refused".to_owned())?;
        }
        Ok(())
    }

    async fn race(&self, length: usize) -> Verdict {
        let name = self.name(&format!("race/{length}"))?;
        // Large racers would take the memory of all of them at a time.
        let racers = if length > 1 << 20 { self.load.racers.min(4) } else { self.load.racers };
        let creates = (0..racers).map(|racer| self.store.create(&name, bytes(racer as u64, length)));
        let results = futures::future::join_all(creates).await;
        let winners: Vec<usize> =
            (0..).zip(&results).filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect();
        for result in results {
            if let Err(error) = result
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error.into());
            }
        }
        let [winner] = winners[..] else {
            return Err(Broken(format!("{} of {racers} succeeded", winners.len())));
        };
        let read = self.store.get(&name, u64::MAX).await?;
        require(read == bytes(winner as u64, length), || "the object is not the winner's".to_owned())
    }

    async fn absent_or_whole(&self) -> Verdict {
        let (name, data) = (self.name("appearing")?, bytes(3, self.load.large));
        let is_done = std::cell::Cell::new(false);
        let create = async {
            let result = self.store.create(&name, data.clone()).await;
            is_done.set(true);
            result
        };
        let watch = async {
            while !is_done.get() {
                match self.store.get(&name, u64::MAX).await {
                    Ok(read) => require(read == data, || format!("{} bytes of it were visible", read.len()))?,
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        };
        let (created, watched) = futures::future::join(create, watch).await;
        created?;
        watched
    }

    async fn not_found(&self) -> Verdict {
        let name = self.name("nowhere/nothing")?;
        require_kind(self.store.get(&name, 10).await, ErrorKind::NotFound, "reading nothing")?;
        require_kind(
            self.store.get_range(&name, 0..10).await,
            ErrorKind::NotFound,
            "reading a part of nothing",
        )?;
        require_kind(
            self.store.get_range(&name, 5..5).await,
            ErrorKind::NotFound,
            "reading no bytes of nothing",
        )?;
        let folder = self.store.list(&format!("{}/nowhere", self.folder)).await?;
        require(folder.is_empty(), || "an absent folder has objects".to_owned())
    }

    async fn limit(&self) -> Verdict {
        let name = self.name("limit")?;
        self.store.create(&name, bytes(4, 1000)).await?;
        require_kind(
            self.store.get(&name, 999).await,
            ErrorKind::Damaged,
            "reading 1000 bytes with a limit of 999",
        )?;
        let read = self.store.get(&name, 1000).await?;
        require(read.len() == 1000, || "the limit itself is too much".to_owned())
    }

    async fn ranges(&self) -> Verdict {
        let (name, data) = (self.name("ranges")?, bytes(5, 10_000));
        self.store.create(&name, data.clone()).await?;
        for (from, to) in
            [(0, 10_000), (0, 1), (9_999, 10_000), (123, 4_567), (9_000, 20_000), (0, u64::MAX >> 1)]
        {
            let read = self.store.get_range(&name, from..to).await?;
            let expected = data.slice(from as usize..to.min(10_000) as usize);
            require(read == expected, || {
                format!("bytes {from}..{to} of 10000 came as {} others", read.len())
            })?;
        }
        for (from, to) in [(10_000, 10_001), (20_000, 30_000), (0, 0), (77, 77)] {
            let read = self.store.get_range(&name, from..to).await?;
            require(read.is_empty(), || format!("bytes {from}..{to} of 10000 are not none"))?;
        }
        Ok(())
    }

    async fn listing(&self) -> Verdict {
        let expected: BTreeSet<String> =
            (0..self.load.listed).map(|n| format!("{}/many/{:02x}/{n:05}", self.folder, n % 7)).collect();
        let creates = expected.iter().map(|name| async move {
            self.store.create(&ObjectName::new(name.as_str())?, Bytes::from(name.clone())).await
        });
        futures::stream::iter(creates).buffer_unordered(32).try_collect::<()>().await?;
        self.store.create(&self.name("manymore/1")?, bytes(1, 5)).await?;
        let listed = self.store.list(&format!("{}/many", self.folder)).await?;
        let names: BTreeSet<String> = listed.iter().map(|object| object.name.clone()).collect();
        require(names.len() == listed.len(), || "an object is listed twice".to_owned())?;
        require(names == expected, || {
            let missing = expected.difference(&names).count();
            let foreign = names.difference(&expected).next();
            format!(
                "{missing} of {} objects are missing, and this one is not of the folder: {foreign:?}",
                expected.len()
            )
        })?;
        let odd = listed.iter().find(|object| object.size != object.name.len() as u64);
        require(odd.is_none(), || format!("a size is wrong: {odd:?}"))?;
        let one = self.store.list(&format!("{}/many/03", self.folder)).await?;
        let in_one = expected.iter().filter(|name| name.contains("/many/03/")).count();
        require(one.len() == in_one, || format!("a folder in it lists {} objects, not {in_one}", one.len()))?;
        let all = self.store.list("").await?;
        let own = all.iter().filter(|object| names.contains(&object.name)).count();
        require(own == expected.len(), || {
            format!("the listing of everything has {own} of {}", expected.len())
        })
    }

    async fn times(&self) -> Verdict {
        let mut last = None;
        for number in 0..3 {
            let name = self.name(&format!("times/{number}"))?;
            self.store.create(&name, bytes(6, 10)).await?;
            let listed = self.store.list(&format!("{}/times", self.folder)).await?;
            let found: Option<StoredObject> = listed.into_iter().find(|object| object.name == name.as_str());
            let Some(object) = found else {
                return Err(Broken("what was created is not listed at once".to_owned()));
            };
            require(last.is_none_or(|last| last <= object.modified), || {
                format!("an object is older than one that was created before it: {:?}", object.modified)
            })?;
            last = Some(object.modified);
        }
        Ok(())
    }

    async fn removal(&self) -> Verdict {
        let (name, other) = (self.name("removal/1")?, self.name("removal/12")?);
        self.store.create(&name, bytes(7, 10)).await?;
        self.store.create(&other, bytes(8, 10)).await?;
        self.store.remove(&name).await?;
        require_kind(self.store.get(&name, 10).await, ErrorKind::NotFound, "reading what was removed")?;
        let listed = self.store.list(&format!("{}/removal", self.folder)).await?;
        let names: Vec<&str> = listed.iter().map(|object| object.name.as_str()).collect();
        require(names == [other.as_str()], || format!("after a removal there are {names:?}"))?;
        self.store.remove(&name).await?;
        self.store.remove(&self.name("removed/never")?).await?;
        Ok(())
    }

    async fn sweeping(&self) -> Verdict {
        let name = self.name("swept")?;
        self.store.create(&name, bytes(9, 10)).await?;
        let far = std::time::SystemTime::now() + Duration::from_secs(1 << 32);
        self.store.sweep(far).await?;
        let read = self.store.get(&name, 10).await?;
        require(read == bytes(9, 10), || "the object has changed".to_owned())
    }

    async fn clean_up(&self) -> Verdict {
        let objects = self.store.list(&self.folder).await?;
        let removes = objects
            .into_iter()
            .map(|object| async move { self.store.remove(&ObjectName::new(object.name)?).await });
        futures::stream::iter(removes).buffer_unordered(32).try_collect::<()>().await?;
        let left = self.store.list(&self.folder).await?.len();
        require(left == 0, || format!("{left} objects are left"))
    }
}

/// Bytes that look random, the same ones for the same seed.
fn bytes(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(length);
    Bytes::from(data)
}
