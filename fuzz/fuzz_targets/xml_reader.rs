//! Any bytes as a document: what can be kept can be skipped, and what was kept must stay.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vim_api::xml::{Limits, Reader, XmlError};

const LIMITS: Limits = Limits { max_depth: 64, max_bytes: 1 << 20 };
/// What is written has escapes where the original had none.
const LARGER: Limits = Limits { max_depth: 64, max_bytes: 1 << 24 };

fuzz_target!(|bytes: &[u8]| {
    let kept = Reader::new(bytes, LIMITS).and_then(keep);
    let skipped = Reader::new(bytes, LIMITS).and_then(skip);
    // Not the reverse: attributes of what is skipped are not looked at.
    let Ok(kept) = kept else { return };
    skipped.expect("what can be kept can be skipped");
    let again = Reader::fragment(&kept, LARGER).and_then(keep).expect("what we wrote can be read");
    assert_eq!(again, kept);
});

/// The root as it is written when this crate has no field for it.
fn keep(mut reader: Reader<'_>) -> Result<String, XmlError> {
    let mut kept = String::new();
    while let Some(start) = reader.next_child()? {
        kept = reader.capture(&start)?;
    }
    reader.finish()?;
    Ok(kept)
}

fn skip(mut reader: Reader<'_>) -> Result<(), XmlError> {
    while reader.next_child()?.is_some() {
        reader.skip()?;
    }
    reader.finish()
}
