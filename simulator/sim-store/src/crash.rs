//! Where a test lets the process die: between any two changes of files. Without the feature `crash-points`, which tests
//! alone have, there is nothing here.

/// One change of a file is done. If the file that the environment variable `SIM_STORE_CRASH` names holds a number, it is
/// counted down, and at its end the process dies on the spot, as by `kill -9`.
#[cfg(feature = "crash-points")]
pub fn point() {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let Some(path) = std::env::var_os("SIM_STORE_CRASH") else { return };
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let left = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let Some(left) = left else { return };
    if left <= 1 || std::fs::write(&path, (left - 1).to_string()).is_err() {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point() {}
