//! What benches of a data directory share.
use honeyguide::os::process::ProcessStats;
use std::path::Path;

/// Anonymous memory of this process, MiB.
pub fn anonymous_mib() -> f64 {
    ProcessStats::read().map_or(0.0, |stats| stats.anonymous_bytes as f64 / f64::from(1 << 20))
}

/// Has the system forget what it keeps in memory of the files below; what is mapped stays.
pub fn drop_page_cache(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        if entry.path().is_dir() {
            drop_page_cache(&entry.path());
        } else if let Ok(file) = std::fs::File::open(entry.path()) {
            let _ = file.sync_all();
            nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("advice is taken");
        }
    }
}
