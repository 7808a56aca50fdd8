//! The unit as a package installs it, in a machine that is booted for it: real systemd, a real Cowrie that is really attacked.
//!
//! `tests/boot/machine` makes and boots the machine, `tests/boot/inside.py` works the unit inside it and writes down what it found.
//! Not in force there, where control groups are of the first version: MemoryMax=, TasksMax= and the IP address lists.
#![cfg(feature = "failpoints")]
mod python;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const NAME: &str = "the_unit_works_in_a_machine_that_is_booted";

/// What has to be found, in this order: a check that is missing failed.
const CHECKS: [&str; 17] = [
    "is_active_once_ready",
    "holds_no_privilege",
    "attackers_of_a_real_cowrie_become_events",
    "sees_logs_and_homes_only_to_read",
    "logs_it_may_not_read_are_reported",
    "a_directory_it_may_not_write_is_reported",
    "members_of_the_group_may_ask_and_strangers_may_not",
    "a_credential_signs",
    "a_reload_takes_up_a_source",
    "restarts_go_unnoticed",
    "killed_it_is_started_again",
    "hung_it_is_started_again_by_the_watchdog",
    "the_journal_has_levels_and_fields",
    "nothing_is_lost_and_nothing_twice",
    "the_sockets_never_refused",
    "stopped_it_leaves_a_journal_that_verifies",
    "main",
];

/// Programs that are needed, with their Debian packages.
const PROGRAMS: [(&str, &str); 5] = [
    ("systemd-nspawn", "systemd-container"),
    ("systemd-sysusers", "systemd"),
    ("unshare", "util-linux"),
    ("flock", "util-linux"),
    ("mount", "mount"),
];

#[test]
fn the_unit_works_in_a_machine_that_is_booted() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("only root may mount, and boot with systemd-nspawn");
    }
    for (program, package) in PROGRAMS {
        let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            return skipped(&format!("{program} is not installed (Debian package {package})"));
        }
    }
    let python = match python::with("cowrie-boot", &["cowrie", "paramiko"], "import cowrie, paramiko") {
        Ok(python) => python,
        Err(why) => return skipped(&format!("no cowrie and paramiko from PyPI: {why}")),
    };
    let out = tempfile::tempdir().expect("temporary directory");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let machine = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(repository.join("tests/boot/machine"))
        .args([repository, Path::new(env!("CARGO_BIN_EXE_honeyguide")), &python, out.path()])
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&machine.stdout).into_owned() + &String::from_utf8_lossy(&machine.stderr);
    let read = |name: &str| std::fs::read_to_string(out.path().join("shared").join(name));
    let Ok(findings) = read("findings") else {
        return skipped(&format!("no machine can be booted here: {}", said.lines().rfind(|line| !line.is_empty()).unwrap_or("no output")));
    };
    let findings: Vec<Value> = findings.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for finding in &findings {
        println!("{} {}: {}", if finding["ok"] == true { "ok    " } else { "FAILED" }, finding["name"], text(&finding["detail"]));
    }
    let good: Vec<&str> = findings.iter().filter(|finding| finding["ok"] == true).map(|finding| text(&finding["name"])).collect();
    assert_eq!(good, CHECKS, "the machine's journal:\n{}\n{said}", read("journal").unwrap_or_default());
}

fn skipped(why: &str) {
    println!("SKIPPED: {NAME}: {why}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
