//! Compressing grains with several threads, and getting them back in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::record::{HEAD, most_compressed};
use crate::SECTOR;
use crate::error::{Error, Result};

/// Grains that each thread may have waiting.
const WAITING: usize = 4;

/// A grain on its way: its first guest sector and its content, or its whole record.
pub(super) struct Job {
    pub(super) sector: u64,
    pub(super) bytes: Vec<u8>,
}

/// Turns grains into records.
pub(super) struct Deflate {
    means: Means,
    /// What came back before its turn.
    early: BTreeMap<u64, Job>,
    sent: u64,
    returned: u64,
}

enum Means {
    /// Compresses at once.
    Alone(Compress),
    Pool(Pool),
}

/// Threads that compress.
struct Pool {
    /// `None` at the end.
    jobs: Option<SyncSender<(u64, Job)>>,
    records: Receiver<(u64, Result<Job>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Deflate {
    pub(super) fn new(level: u32, threads: usize) -> Self {
        let level = Compression::new(level.min(9));
        let means = match threads {
            0 | 1 => Means::Alone(Compress::new(level, true)),
            threads => Means::Pool(Pool::start(level, threads.min(64))),
        };
        Self { means, early: BTreeMap::new(), sent: 0, returned: 0 }
    }

    /// Hands a grain over, and returns the records whose turn has come. Waits while too many grains are on their way.
    pub(super) fn put(&mut self, job: Job) -> Result<Vec<Job>> {
        let pool = match &mut self.means {
            Means::Alone(zlib) => return Ok(vec![pack(zlib, job)?]),
            Means::Pool(pool) => pool,
        };
        let most = (pool.threads.len() * WAITING) as u64;
        let number = self.sent;
        pool.jobs.as_ref().and_then(|jobs| jobs.send((number, job)).ok()).ok_or_else(gone)?;
        self.sent += 1;
        self.collect(most)
    }

    /// All records that are still on their way.
    pub(super) fn finish(&mut self) -> Result<Vec<Job>> {
        self.collect(0)
    }

    /// The records whose turn has come, until at most `most` grains are on their way.
    fn collect(&mut self, most: u64) -> Result<Vec<Job>> {
        let Means::Pool(pool) = &self.means else { return Ok(Vec::new()) };
        let mut ready = Vec::new();
        loop {
            while let Some(job) = self.early.remove(&self.returned) {
                ready.push(job);
                self.returned += 1;
            }
            let (number, record) = match pool.records.try_recv() {
                Ok(record) => record,
                Err(_) if self.sent - self.returned <= most => return Ok(ready),
                Err(_) => pool.records.recv().map_err(|_| gone())?,
            };
            self.early.insert(number, record?);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without jobs the threads end.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // They let no panic through.
            let _ = thread.join();
        }
    }
}

impl Pool {
    fn start(level: Compression, threads: usize) -> Self {
        let (jobs, waiting) = sync_channel::<(u64, Job)>(threads * WAITING);
        // All that may be on their way fit, so no thread waits to give one back.
        let (done, records) = sync_channel(threads * (2 * WAITING + 2));
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = (0..threads)
            .map(|_| {
                let (waiting, done) = (Arc::clone(&waiting), done.clone());
                std::thread::spawn(move || {
                    let mut zlib = Compress::new(level, true);
                    loop {
                        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((number, job)) = next else { return };
                        // A panic would leave the others waiting for this grain.
                        let packed = catch_unwind(AssertUnwindSafe(|| pack(&mut zlib, job)));
                        if done.send((number, packed.unwrap_or_else(|_| Err(gone())))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self { jobs: Some(jobs), records, threads }
    }
}

/// Turns a grain into its record, filled up to whole sectors.
fn pack(zlib: &mut Compress, job: Job) -> Result<Job> {
    let mut record = Vec::with_capacity(HEAD + most_compressed(job.bytes.len()) + SECTOR as usize);
    deflate(zlib, &job.bytes, &mut record)?;
    // Noise takes more than itself, and at some levels much more: stored, it takes a few bytes more.
    if record.len() > HEAD + job.bytes.len() + STORED {
        deflate(&mut Compress::new(Compression::none(), true), &job.bytes, &mut record)?;
    }
    let size = (record.len() - HEAD) as u32;
    record[..8].copy_from_slice(&job.sector.to_le_bytes());
    record[8..HEAD].copy_from_slice(&size.to_le_bytes());
    record.resize(record.len().next_multiple_of(SECTOR as usize), 0);
    Ok(Job { sector: job.sector, bytes: record })
}

/// What zlib adds to bytes that it stores.
const STORED: usize = 64;

fn deflate(zlib: &mut Compress, bytes: &[u8], record: &mut Vec<u8>) -> Result<()> {
    zlib.reset();
    record.clear();
    record.resize(HEAD, 0);
    match zlib.compress_vec(bytes, record, FlushCompress::Finish) {
        Ok(Status::StreamEnd) => Ok(()),
        _ => Err(Error::invalid("a grain could not be compressed")),
    }
}

fn gone() -> Error {
    Error::invalid("a thread that compresses has panicked")
}
