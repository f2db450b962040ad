//! How much a backup takes of memory, of lines and of patience.

use std::time::Duration;

use crate::throttle::Throttle;

/// Bounds on a run. The defaults suit a backup server; every one of them may be changed on its own.
#[derive(Debug, Clone)]
#[must_use]
pub struct Flow {
    pub(crate) bytes_in_flight: u64,
    pub(crate) parallel_disks: usize,
    pub(crate) throttle: Option<Throttle>,
    pub(crate) read_retries: u32,
    pub(crate) first_pause: Duration,
    pub(crate) store_read_percent: u32,
    pub(crate) receipt_every: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            bytes_in_flight: 256 << 20,
            parallel_disks: 4,
            throttle: None,
            read_retries: 16,
            first_pause: Duration::from_millis(500),
            store_read_percent: 25,
            receipt_every: 4 << 30,
        }
    }
}

impl Flow {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes of disks that are in memory at a time, over all disks of the run, from before a read until the store has let go
    /// of them: 256 MiB unless set, and at least a chunk. What the store takes beside is its own affair
    /// ([`Limits`](vadp_repository::Limits)).
    pub fn bytes_in_flight(mut self, bytes: u64) -> Self {
        self.bytes_in_flight = bytes.max(1);
        self
    }

    /// Disks that are copied at a time: 4 unless set, at least 1. Each takes a connection, and buffers on its host.
    pub fn parallel_disks(mut self, disks: usize) -> Self {
        self.parallel_disks = disks.max(1);
        self
    }

    /// Bounds the bytes that are read in a second, over all disks. Not bounded unless set.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// How many reads of the run may fail and be tried again, over all disks: 16 unless set. Only those of the classes that pass by
    /// themselves: busy, out of buffers, the network, a connection or a worker process that is lost, which is then made anew.
    pub fn read_retries(mut self, retries: u32) -> Self {
        self.read_retries = retries;
        self
    }

    /// The pause before the first retry of a read: half a second unless set. It doubles with each further one of the same read.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// What it costs to read a byte back from the store, in percent of one of the machine: 25 unless set. An incremental backup either reads a
    /// chunk whole, or its changed areas alone, and takes the rest from the parent; the store's bytes count for less, since
    /// nobody works on them. At 100 or more a chunk is merged only where the parent has nothing but zeros.
    pub fn store_read_percent(mut self, percent: u32) -> Self {
        self.store_read_percent = percent;
        self
    }

    /// After how many bytes of a disk it is written down what the store has of it, so that a run that dies can be resumed there: 4 GiB
    /// unless set.
    pub fn receipt_every(mut self, bytes: u64) -> Self {
        self.receipt_every = bytes.max(1);
        self
    }
}
