//! A repository on media of your own: here a file that only grows, as on a tape. `cargo run -p vadp-repository --example embed_your_store`
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use vadp_repository::*;

/// Where each object begins, its size, and when it was written.
type Catalogue = BTreeMap<String, (u64, u64, SystemTime)>;

/// Objects one after another in a file. Which ones there are is in memory; a real tape would write that down, too.
struct Tape(Mutex<(std::fs::File, Catalogue)>);

impl Tape {
    /// Runs `work` on the file and the catalogue. A real store would keep such work off the runtime's threads.
    fn with<T>(&self, work: impl FnOnce(&mut std::fs::File, &mut Catalogue) -> Result<T>) -> Result<T> {
        let mut tape = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, objects) = &mut *tape;
        work(file, objects)
    }

    fn read(&self, name: &ObjectName, limit: u64, range: std::ops::Range<u64>) -> Result<Bytes> {
        self.with(|file, objects| {
            let missing = || Error::new(ErrorKind::NotFound, format!("the tape has no {name}"));
            let (offset, size, _) = *objects.get(name.as_str()).ok_or_else(missing)?;
            if size > limit {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("{name} has {size} bytes, more than {limit}"),
                ));
            }
            let (start, end) = (range.start.min(size), range.end.min(size));
            let mut bytes = vec![0; (end - start) as usize];
            file.seek(SeekFrom::Start(offset + start))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(broken)?;
            Ok(bytes.into())
        })
    }
}

fn broken(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, "the tape cannot be used: check the drive").with_source(source)
}

impl ChunkStore for Tape {
    fn describe(&self) -> String {
        "a tape".to_owned()
    }
    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with(|file, objects| {
                if objects.contains_key(name.as_str()) {
                    return Err(Error::new(ErrorKind::AlreadyExists, format!("the tape has {name} already")));
                }
                let offset = file.seek(SeekFrom::End(0)).map_err(broken)?;
                file.write_all(&data).and_then(|()| file.sync_all()).map_err(broken)?;
                objects.insert(name.to_string(), (offset, data.len() as u64, SystemTime::now()));
                Ok(())
            })
        })
    }
    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(async move { self.read(name, limit, 0..u64::MAX) })
    }
    fn get_range<'a>(&'a self, name: &'a ObjectName, range: std::ops::Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(async move { self.read(name, u64::MAX, range) })
    }
    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        let is_inside = move |name: &str| {
            folder.is_empty() || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        let listed = self.with(|_, objects| {
            let inside = objects.iter().filter(|(name, _)| is_inside(name));
            Ok(inside
                .map(|(name, &(_, size, modified))| StoredObject { name: name.clone(), size, modified })
                .collect())
        });
        Box::pin(async move { listed })
    }
    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.with(|_, objects| Ok(_ = objects.remove(name.as_str()))) })
    }
    fn sweep(&self, _before: SystemTime) -> StoreFuture<'_, u64> {
        Box::pin(async { Ok(0) })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tape = Arc::new(Tape(Mutex::new((tempfile::tempfile()?, BTreeMap::new()))));
    let report = conformance::run(&*tape).await?;
    anyhow::ensure!(report.is_ok(), "{report}");
    let repo = Repository::init(tape, &Secret::random()?, InitOptions::default()).await?;
    let writer = repo.begin(PointDraft::new(MachineId::new("web-01")?)).await?;
    let mut disk = writer.disk(DiskSpec { key: "2000".into(), capacity_bytes: 8 << 20 }, None)?;
    disk.put(3, Bytes::from(vec![1; 1 << 20])).await?;
    disk.finish().await?;
    let point = writer.commit(Bytes::new(), BTreeMap::new()).await?;
    println!("{report}the tape conforms, and holds restore point {}", point.id());
    Ok(())
}
