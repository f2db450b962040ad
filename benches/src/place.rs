use std::path::PathBuf;

/// Where files of a bench are best: in memory if so many bytes fit there, so that no storage is waited for, else where temporary files
/// are. `VADP_BENCH_FOLDER` names another folder.
///
/// # Errors
/// When the system does not tell its memory.
pub fn roomy_folder(bytes: u64) -> Result<PathBuf, std::io::Error> {
    if let Some(place) = std::env::var_os("VADP_BENCH_FOLDER") {
        return Ok(place.into());
    }
    let shared = PathBuf::from("/dev/shm");
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = available.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let kibibytes = kibibytes.ok_or_else(|| std::io::Error::other("no MemAvailable in /proc/meminfo"))?;
    let fits = shared.is_dir() && kibibytes << 10 >= bytes;
    Ok(if fits { shared } else { std::env::temp_dir() })
}
