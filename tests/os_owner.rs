//! Becoming the owner of the data directory changes the process for good, so it happens in a process of its own.
use honeyguide::os::owner::become_owner_of;
use nix::unistd::{Gid, Uid, chown, geteuid};
use std::path::Path;
use std::process::Command;

const CHILD: &str = "HONEYGUIDE_TEST_OWNER_OF";

/// Runs this test again in a child that does the work, and gives what it printed.
fn in_child(test: &str, dir: &Path) -> String {
    let me = std::env::current_exe().expect("known");
    let output = Command::new(me).args(["--exact", test, "--nocapture"]).env(CHILD, dir).output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn as_root_the_process_becomes_the_owner_for_good() {
    if let Some(dir) = std::env::var_os(CHILD) {
        // A thread that exists before must change, too.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            wait.recv().expect("told");
            geteuid().as_raw()
        });
        let owner = become_owner_of(Path::new(&dir)).expect("allowed").expect("owned by somebody else");
        go.send(()).expect("listening");
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        for line in status.lines().filter(|line| ["Uid:", "Gid:", "Groups:", "CapEff:"].iter().any(|name| line.starts_with(name))) {
            println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        assert_eq!(thread.join().expect("no panic"), owner.uid);
        std::fs::write(Path::new(&dir).join("mine"), "").expect("the owner may write");
        assert!(std::fs::read("/etc/shadow").is_err(), "root's files are closed");
        assert_eq!(become_owner_of(Path::new(&dir)).expect("nothing to do"), None);
        return;
    }
    if !geteuid().is_root() {
        println!("SKIPPED: as_root_the_process_becomes_the_owner_for_good: must be run as root");
        return;
    }
    for (uid, gid) in [(65_534, 65_534), (54_321, 54_322)] {
        let dir = tempfile::tempdir().expect("temporary directory");
        chown(dir.path(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).expect("root may");
        let said = in_child("as_root_the_process_becomes_the_owner_for_good", dir.path());
        for line in [
            format!("Uid: {uid} {uid} {uid} {uid}"),
            format!("Gid: {gid} {gid} {gid} {gid}"),
            format!("Groups: {gid}"),
            "CapEff: 0000000000000000".into(),
        ] {
            assert!(said.lines().any(|found| found.ends_with(&line)), "{line} not in {said}");
        }
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(dir.path().join("mine")).expect("written").uid(), uid);
    }
}

#[test]
fn nothing_changes_for_a_directory_of_roots_or_one_that_is_not_there() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let before = geteuid();
    assert_eq!(become_owner_of(dir.path()).expect("seen"), None, "our own");
    assert_eq!(become_owner_of(&dir.path().join("nosuch")).expect("not there yet"), None);
    assert_eq!(geteuid(), before);
}
