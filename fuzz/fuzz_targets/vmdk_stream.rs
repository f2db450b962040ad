//! Any bytes as a streamOptimized disk that comes through a pipe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk::StreamReader;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = StreamReader::new(bytes) else { return };
    let capacity = reader.capacity();
    while let Ok(Some(grain)) = reader.next_grain() {
        assert!(grain.offset + grain.data.len() as u64 <= capacity, "a grain lies on the disk");
    }
});
