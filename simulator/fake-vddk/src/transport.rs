//! Transport modes.

use std::ffi::CStr;

/// What this library can do, in the form of the real one's list. What works depends on the machine.
pub(crate) const MODES: &CStr = c"file:san:hotadd:nbdssl:nbd";

/// What a client gets that names no modes.
pub(crate) const DEFAULT: &str = "file:san:hotadd:nbdssl:nbd";

/// What works on this machine for the disks of a server, unless a rule says otherwise.
pub(crate) const WORKING: &str = "nbdssl:nbd";

/// The mode of local disks.
pub(crate) const LOCAL: &str = "file";

/// All modes that a disk can be opened with.
const NAMES: [&CStr; 5] = [c"file", c"san", c"hotadd", c"nbdssl", c"nbd"];

/// The first mode of a client's list that works for a disk on a server. Whether none does is known, as with the real library,
/// only when a disk is opened.
pub(crate) fn choose(asked: &str, working: &str) -> Option<&'static str> {
    asked.split(':').find(|mode| working.split(':').any(|works| works == *mode)).and_then(known)
}

/// What a library takes that falls back instead of failing: the first mode that works, whatever was asked for.
pub(crate) fn fall_back(working: &str) -> Option<&'static str> {
    working.split(':').find_map(known)
}

/// A mode's name for C.
pub(crate) fn c_name(mode: &str) -> Option<&'static CStr> {
    NAMES.into_iter().find(|name| name.to_bytes() == mode.as_bytes())
}

/// Whether a mode goes over the network.
pub(crate) fn is_network(mode: &str) -> bool {
    matches!(mode, "nbdssl" | "nbd")
}

/// Whether a mode reads and writes the device itself, past all caches, and so wants aligned buffers.
pub(crate) fn is_direct(mode: &str) -> bool {
    matches!(mode, "san" | "hotadd")
}

fn known(mode: &str) -> Option<&'static str> {
    c_name(mode)?.to_str().ok().filter(|mode| *mode != LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mode_that_works_is_taken() {
        assert_eq!(choose(DEFAULT, WORKING), Some("nbdssl"));
        assert_eq!(choose("file:san:hotadd:nbd:nbdssl", WORKING), Some("nbd"));
        assert_eq!(choose("san:hotadd", WORKING), None);
        assert_eq!(choose(DEFAULT, "nbd:san"), Some("san"));
        assert_eq!(fall_back("warp:hotadd:nbd"), Some("hotadd"));
        assert!(MODES.to_str().is_ok_and(|modes| modes == DEFAULT));
    }
}
