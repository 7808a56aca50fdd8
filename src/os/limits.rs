//! Limits the system sets: open files, which can be raised, and memory, which can only be known.
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::path::{Path, PathBuf};

/// Raises the soft limit of open files to `need`, as far as the hard limit allows; returns what holds now.
pub fn raise_open_files(need: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = need.min(hard);
    if wanted <= soft {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok(wanted)
}

/// The memory limit of this process' control group or of any above it; `None` without one.
pub fn memory_bytes_max() -> Option<u64> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    memory_limit_of(&cgroups, Path::new("/sys/fs/cgroup"))
}

/// `cgroups` is `/proc/self/cgroup`: `0::/path` for version 2, `4:memory:/path` for version 1.
///
/// In a container the path may be the host's, which is not mounted: then the lowest directory that is there counts.
fn memory_limit_of(cgroups: &str, mount: &Path) -> Option<u64> {
    let limits = cgroups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = if number == "0" && controllers.is_empty() {
            (mount.to_path_buf(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (mount.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        smallest_on_the_way_up(&root, path, file)
    });
    limits.min()
}

fn smallest_on_the_way_up(root: &Path, path: &str, file: &str) -> Option<u64> {
    let below: PathBuf = Path::new(path).components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    let values = below.ancestors().filter_map(|dir| {
        let text = std::fs::read_to_string(root.join(dir).join(file)).ok()?;
        // "max" (version 2) does not parse; version 1 writes a number near 2^63 for no limit.
        text.trim().parse::<u64>().ok().filter(|&bytes| bytes < 1 << 60)
    });
    values.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_above_the_process_counts() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        };
        put("memory.max", "max\n");
        put("system.slice/memory.max", "268435456\n");
        put("system.slice/h.service/memory.max", "max\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/box/memory.limit_in_bytes", "134217728\n");
        let limit = |cgroups: &str| memory_limit_of(cgroups, dir.path());
        assert_eq!(limit("0::/system.slice/h.service\n"), Some(256 << 20));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/not/mounted/here\n"), None);
        assert_eq!(limit("5:cpu,memory:/box\n4:pids:/box\n"), Some(128 << 20));
        assert_eq!(limit("5:memory:/docker/0123\n"), None);
        assert_eq!(limit("5:memory:/box/inner\n0::/system.slice\n"), Some(128 << 20));
        assert_eq!(limit("0::/../../system.slice\n"), Some(256 << 20));
        assert_eq!(limit("garbage\n\n::\n"), None);
    }

    #[test]
    fn raising_the_number_of_open_files_never_lowers_it_and_stops_at_the_hard_limit() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
        assert_eq!(raise_open_files(1).expect("allowed"), soft);
        assert_eq!(raise_open_files(u64::MAX).expect("allowed"), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("readable"), (hard, hard));
    }
}
