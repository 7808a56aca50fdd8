//! The unit in `systemd/`: accepted by systemd, explained, and in keeping with the configuration's defaults.
use honeyguide::config::{self, Surroundings};
use std::process::Command;

fn unit() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/honeyguide.service")).expect("part of the repository")
}

fn seconds(name: &str) -> u64 {
    let unit = unit();
    let value = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).expect("set in the unit");
    value.parse().expect("seconds")
}

#[test]
fn its_time_limits_leave_room_for_the_daemons_own() {
    let settings = config::load_from(None, None, &Surroundings { current_dir: "/".into(), ..Surroundings::default() }).expect("defaults");
    assert!(seconds("TimeoutStopSec") >= 2 * settings.supervision.drain_deadline_seconds);
    assert!(seconds("WatchdogSec") >= 2 * settings.supervision.stall_seconds);
    assert!(seconds("LimitNOFILE") >= 2 * settings.limits.open_files as u64);
    assert_eq!(settings.data_dir.to_str(), Some("/var/lib/honeyguide"), "StateDirectory");
}

#[test]
fn every_group_of_directives_says_why() {
    let unit = unit();
    let service = unit.split("[Service]").nth(1).expect("a service");
    let mut explained = false;
    for line in service.lines().take_while(|line| *line != "[Install]") {
        match line {
            "" => explained = false,
            line if line.starts_with('#') => explained = true,
            line => assert!(explained, "{line}"),
        }
    }
}

#[test]
fn systemd_accepts_it_and_finds_it_hardened() {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: systemd_accepts_it_and_finds_it_hardened: systemd-analyze is not installed (Debian package systemd)");
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("honeyguide.service");
    // The program and its user come with the package; what is checked is everything else.
    let unit = unit().replace("/usr/bin/honeyguide run", "/bin/true").replace("=honeyguide\nGroup=honeyguide", "=daemon\nGroup=daemon");
    std::fs::write(&path, unit.replace("Documentation=man:honeyguide(1)\n", "")).expect("written");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output().expect("started");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (accepted, said) = analyze(&["verify", "--man=no"]);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("honeyguide.service")).collect();
    assert!(accepted && ours.is_empty(), "{said}");
    // In tenths: 9.6 is an ordinary service, 2.2 a hardened one.
    let (hardened, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=11"]);
    assert!(hardened, "{said}");
}
