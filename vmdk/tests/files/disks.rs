//! What most tests do with disks.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::Path;
use std::sync::Arc;

use vmdk::{Disk, Folder, LocalFolder, MemoryFolder};

/// A folder in memory, as itself and as disks want it.
pub fn folder() -> (MemoryFolder, Arc<dyn Folder>) {
    let memory = MemoryFolder::new();
    (memory.clone(), Arc::new(memory))
}

pub fn local(path: &Path) -> Arc<dyn Folder> {
    Arc::new(LocalFolder::new(path).unwrap())
}

/// All bytes of a disk.
pub fn content(disk: &Disk) -> Vec<u8> {
    let mut bytes = vec![0xEE; disk.capacity() as usize];
    disk.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}
