//! Any bytes as the files of a disk: a sparse file, a delta of ESXi over a base, or a chain of descriptors. Whatever opens is
//! mapped, read and checked.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vmdk::{EntryOne, Folder, Journal, MemoryFolder, OpenOptions, Policy, Unmapped};

/// Tables of ESXi's deltas are larger than an input.
const ROOM: usize = 48 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((shape, rest)) = bytes.split_first() else { return };
    let memory = MemoryFolder::new();
    match shape % 4 {
        0 => memory.insert("a.vmdk", rest),
        1 => delta(&memory, "vmfsSparse", "VMFSSPARSE", rest),
        2 => delta(&memory, "seSparse", "SESPARSE", rest),
        _ => {
            for (name, part) in ["a.vmdk", "b.vmdk", "c.vmdk", "d.vmdk"].into_iter().zip(rest.split(|byte| *byte == 0xFF)) {
                memory.insert(name, part);
            }
        }
    }
    let folder: Arc<dyn Folder> = Arc::new(memory.clone());
    let mut policy = Policy::default();
    if shape & 0x80 != 0 {
        (policy.entry_one, policy.unmapped, policy.journal) = (EntryOne::Zero, Unmapped::Zero, Journal::Ignore);
    }
    let options = OpenOptions::new().policy(policy).table_memory(1 << 20);
    let Ok(disk) = options.open(&folder, "a.vmdk") else { return };
    let mut buffer = vec![0; 64 << 10];
    for span in disk.map(0..disk.capacity()).take(1000) {
        let Ok(span) = span else { break };
        let length = span.length.min(buffer.len() as u64) as usize;
        let _ = disk.read_exact_at(&mut buffer[..length], span.offset);
    }
    let is_clean = vmdk::check(&folder, "a.vmdk", &options, true).is_ok_and(|report| report.is_clean());
    if let Ok(disk) = options.clone().writable(true).open(&folder, "a.vmdk") {
        let length = disk.capacity().min(5000) as usize;
        let written = disk.write_all_at(&vec![7; length], 0).and_then(|()| disk.flush());
        // Where tables say that a grain lies in a table, writing the one is writing the other; the check says so.
        if written.is_ok() && is_clean {
            let read = disk.read_exact_at(&mut buffer[..length], 0);
            assert!(read.is_ok() && buffer[..length].iter().all(|byte| *byte == 7), "what was written is read again");
        }
    }
});

fn delta(memory: &MemoryFolder, create_type: &str, extent_type: &str, bytes: &[u8]) {
    let mut file = bytes.to_vec();
    file.resize(bytes.len() + ROOM, 0);
    memory.insert("delta", file);
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=00000002\nparentCID=ffffffff\ncreateType=\"{create_type}\"\n\
         RW 20000 {extent_type} \"delta\"\n"
    );
    memory.insert("a.vmdk", text);
}
