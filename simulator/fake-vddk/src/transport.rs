//! Transport modes.

/// What this library can do, in the form of the real one's list.
pub(crate) const MODES: &str = "file:nbdssl:nbd";

/// The mode of local disks.
pub(crate) const LOCAL: &str = "file";

/// The first mode of a client's list that works for a disk on a server; without a list the encrypted network. Whether none
/// works is known, as with the real library, only when a disk is opened.
pub(crate) fn choose(modes: Option<&str>) -> Option<&'static str> {
    let Some(modes) = modes.filter(|modes| !modes.is_empty()) else { return Some("nbdssl") };
    modes.split(':').find_map(|mode| match mode {
        "nbdssl" => Some("nbdssl"),
        "nbd" => Some("nbd"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mode_that_works_is_taken() {
        assert_eq!(choose(None), Some("nbdssl"));
        assert_eq!(choose(Some("file:san:hotadd:nbd:nbdssl")), Some("nbd"));
        assert_eq!(choose(Some("san:hotadd")), None);
    }
}
