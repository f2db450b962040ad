//! Random names: cookies, tokens, uuids, hardware addresses.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// `count` random bytes as hex digits.
pub(crate) fn hex(count: usize) -> String {
    bytes(count).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random uuid of version 4.
pub(crate) fn uuid() -> String {
    let mut raw = bytes(16);
    raw[6] = 0x40 | raw[6] & 0x0f;
    raw[8] = 0x80 | raw[8] & 0x3f;
    let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// The name of an object that belongs to a session: `session[uuid]uuid`.
pub(crate) fn session_object() -> String {
    format!("session[{}]{}", uuid(), uuid())
}

/// An address from the range that vCenter hands out.
pub(crate) fn mac() -> String {
    let raw = bytes(3);
    format!("00:50:56:{:02x}:{:02x}:{:02x}", 0x80 | raw[0] & 0x3f, raw[1], raw[2])
}

fn bytes(count: usize) -> Vec<u8> {
    let mut raw = vec![0; count];
    if SystemRandom::new().fill(&mut raw).is_err() {
        // The process has nothing to fall back on; the names then collide, which the callers would notice.
        tracing::error!("the operating system gives no random numbers");
    }
    raw
}
