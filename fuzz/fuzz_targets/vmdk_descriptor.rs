//! Any bytes as a descriptor: they are refused, or come out as they went in, and can be changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk::{Cid, Descriptor};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut descriptor) = Descriptor::parse(bytes) else { return };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    assert_eq!(descriptor.to_bytes(), bytes[..end], "what was not changed stays as it was");
    let _ = (descriptor.capacity(), descriptor.refusal(), descriptor.geometry(), descriptor.adapter());
    descriptor.set_cid(Cid(0x1234_5678));
    descriptor.drop_change_tracking();
    let changed = Descriptor::parse(&descriptor.to_bytes()).expect("a descriptor that was changed can be read");
    assert_eq!(changed.cid(), Cid(0x1234_5678));
    assert_eq!(changed.extents(), descriptor.extents());
});
