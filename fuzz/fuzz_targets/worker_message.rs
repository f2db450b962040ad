//! Any bytes as a message between a program and its worker process: what is read must be written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The assertion is within, for debug builds, which fuzz targets are.
    vixdisklib::worker::is_message(bytes);
});
