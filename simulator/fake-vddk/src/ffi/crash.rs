//! Crashing the way foreign code does.

use std::ptr;

/// Writes where no memory is. Not to the null pointer itself, which builds with checks would notice in time.
pub(crate) fn segfault() -> ! {
    let nowhere = ptr::without_provenance_mut::<u8>(8);
    // SAFETY: it is not: that is the point. The first page of a process is never mapped, so this ends it.
    unsafe { nowhere.write_volatile(0) };
    std::process::abort();
}
