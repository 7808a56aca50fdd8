//! The units in `systemd/`: accepted by systemd, explained, hardened, and in keeping with the configuration's defaults.
use honeyguide::config::{self, Surroundings};
use std::process::Command;

/// Drop-ins that are shipped to be copied.
const EXAMPLES: [&str; 3] = ["addresses.conf", "cowrie.conf", "credentials.conf"];

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unit() -> String {
    file("honeyguide.service")
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

/// Directives behind `[section]`, each group of lines beginning with a comment that says why.
fn assert_explained(text: &str, section: &str) {
    let body = text.split(&format!("[{section}]\n")).nth(1).expect("the section");
    let mut explained = false;
    for line in body.lines().take_while(|line| *line != "[Install]") {
        match line {
            "" => explained = false,
            line if line.starts_with('#') => explained = true,
            line => assert!(explained, "{line}"),
        }
    }
}

#[test]
fn every_group_of_directives_says_why() {
    assert_explained(&unit(), "Service");
    assert_explained(&file("honeyguide.socket"), "Socket");
    for name in EXAMPLES {
        let example = file(&format!("examples/{name}"));
        assert!(example.starts_with(&format!("# /etc/systemd/system/honeyguide.service.d/{name}: ")), "{name} says where it goes");
        assert!(example.lines().all(|line| line.is_empty() || line.starts_with(['#', '[']) || line.contains('=')), "{name}");
    }
}

#[test]
fn the_socket_is_the_one_that_commands_ask() {
    let socket = file("honeyguide.socket");
    let settings = config::load_from(None, None, &Surroundings { current_dir: "/".into(), ..Surroundings::default() }).expect("defaults");
    let listen = socket.lines().find_map(|line| line.strip_prefix("ListenStream=")).expect("set in the socket unit");
    assert!(settings.client_sockets().iter().any(|path| path.to_str() == Some(listen)), "{listen}");
    assert!(socket.contains("\nFileDescriptorName=admin\n") && socket.contains("\nSocketMode=0660\n"));
    // Else the directory would be taken away from under the socket when the service stops.
    assert!(unit().contains("\nRuntimeDirectoryPreserve=yes\n"));
}

#[test]
fn systemd_accepts_it_and_finds_it_hardened() {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: systemd_accepts_it_and_finds_it_hardened: systemd-analyze is not installed (Debian package systemd)");
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let drop_ins = dir.path().join("honeyguide.service.d");
    std::fs::create_dir(&drop_ins).expect("made");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text.replace("Documentation=man:honeyguide(1)\n", "")).expect("written");
    };
    // The program and its user come with the package; what is checked is everything else.
    let unit = unit().replace("/usr/bin/honeyguide run", "/bin/true").replace("=honeyguide\nGroup=honeyguide", "=daemon\nGroup=daemon");
    write("honeyguide.service", &unit);
    write("honeyguide.socket", &file("honeyguide.socket"));
    let analyze = |arguments: &[&str], names: &[&str]| {
        let paths = names.iter().map(|name| dir.path().join(name));
        let output = Command::new("systemd-analyze").args(arguments).args(paths).output().expect("started");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let verify = |what: &str| {
        let (accepted, said) = analyze(&["verify", "--man=no"], &["honeyguide.service", "honeyguide.socket"]);
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("honeyguide")).collect();
        assert!(accepted && ours.is_empty(), "{what}: {said}");
    };
    verify("as shipped");
    // In tenths: 9.6 is an ordinary service, 2.2 a hardened one.
    let (hardened, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=11"], &["honeyguide.service"]);
    assert!(hardened, "{said}");

    // With receivers at known addresses, as the example has it when it is filled in.
    let addresses = file("examples/addresses.conf").replace("#IPAddressAllow=192", "IPAddressAllow=192");
    let section = addresses.split("[Service]\n").nth(1).expect("a service");
    write("honeyguide.service", &unit.replace("[Install]", &format!("{section}\n[Install]")));
    let (hardened, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=10"], &["honeyguide.service"]);
    assert!(hardened && section.contains("IPAddressDeny=any"), "{said}");

    write("honeyguide.service", &unit);
    for name in EXAMPLES {
        let with_options = file(&format!("examples/{name}")).replace("\n#IPAddress", "\nIPAddress").replace("\n#LoadCred", "\nLoadCred");
        std::fs::write(drop_ins.join(name), with_options).expect("written");
    }
    verify("with all examples");
}
