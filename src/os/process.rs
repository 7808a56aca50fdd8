//! Figures of this process, from `/proc/self` and getrusage.
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::io;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Mapped files included.
    pub resident_bytes: u64,
    /// What only more memory would help: RssAnon.
    pub anonymous_bytes: u64,
    pub threads: u64,
    pub open_fds: u64,
    pub max_fds: u64,
}

impl ProcessStats {
    pub fn read() -> io::Result<ProcessStats> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let status = std::fs::read_to_string("/proc/self/status")?;
        // The descriptor that reads the directory is among them.
        let open_fds = (std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1);
        Ok(ProcessStats {
            cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
            resident_bytes: field(&status, "VmRSS:") << 10,
            anonymous_bytes: field(&status, "RssAnon:") << 10,
            threads: field(&status, "Threads:"),
            open_fds,
            max_fds: getrlimit(Resource::RLIMIT_NOFILE)?.0,
        })
    }
}

/// A number of `/proc/<pid>/status`; 0 when it is not there.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_memory_and_descriptors_being_taken() {
        let before = ProcessStats::read().expect("/proc is there");
        let memory = std::hint::black_box(vec![1u8; 32 << 20]);
        let files: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null").expect("opened")).collect();
        let after = ProcessStats::read().expect("/proc is there");
        assert!(after.anonymous_bytes >= before.anonymous_bytes + (30 << 20), "{before:?} {after:?}");
        assert!(after.resident_bytes >= after.anonymous_bytes);
        // Other tests of the same process may close theirs meanwhile; each of ours is at least open.
        assert!(after.open_fds >= files.len() as u64 && after.threads >= 1 && after.max_fds >= after.open_fds);
        assert!(after.cpu_seconds >= before.cpu_seconds && after.cpu_seconds > 0.0);
        drop(memory);
    }

    #[test]
    fn a_field_that_is_missing_or_odd_is_nought() {
        assert_eq!(field("VmRSS:\t  123 kB\nRssAnon:\tx\n", "VmRSS:"), 123);
        assert_eq!(field("VmRSS:\t  123 kB\nRssAnon:\tx\n", "RssAnon:"), 0);
        assert_eq!(field("", "Threads:"), 0);
    }
}
