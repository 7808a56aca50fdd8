//! The shipped configuration file, and configuration as a whole: files on disk, precedence, errors.
use honeyguide::config::{self, Error, GROUPS, Surroundings};
use std::path::Path;

fn surroundings(dir: &Path) -> Surroundings {
    Surroundings { current_dir: dir.into(), ..Surroundings::default() }
}

fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/honeyguide.toml"))
        .expect("config/honeyguide.toml is part of the repository")
}

#[test]
fn the_shipped_file_is_the_table_of_keys() {
    let expected = config::template::text();
    if std::env::var_os("HONEYGUIDE_WRITE_EXPECTED").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/config/honeyguide.toml"), &expected).expect("writable");
    }
    assert!(
        shipped() == expected,
        "config/honeyguide.toml is not what src/config/groups.rs says: run HONEYGUIDE_WRITE_EXPECTED=1 cargo nextest run the_shipped_file"
    );
}

#[test]
fn the_shipped_file_lists_every_key_and_changes_nothing_as_it_is() {
    let text = shipped();
    for group in GROUPS {
        for key in group.keys {
            assert!(text.lines().any(|line| line.starts_with(&format!("#{} = ", key.name))), "{} {}", group.title(), key.name);
        }
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("honeyguide.toml");
    std::fs::write(&file, &text).expect("writable");
    let of_file = config::load_from(Some(&file), None, &surroundings(dir.path())).expect("valid");
    let defaults = config::load_from(None, None, &surroundings(dir.path())).expect("valid");
    assert!(defaults.changes(&of_file).is_empty());
}

#[test]
fn uncommenting_every_option_gives_the_defaults_and_the_examples() {
    let uncommented: String = shipped()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_string() + "\n")
        .collect();
    // Which of `path` and `url` a sink needs, its type says.
    let uncommented = uncommented.replace("\npath = \"none\"", "\npath = \"events.ndjson\"");
    // A rule that counts needs a bound.
    let uncommented = uncommented.replace("\nabove = \"none\"", "\nabove = 100");
    // What [[redact]], the first table with kinds, is to redact, only the operator knows.
    let uncommented = uncommented.replacen("\nkinds = []", "\nkinds = [\"email\"]", 1);
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("honeyguide.toml");
    std::fs::write(&file, uncommented).expect("writable");
    let of_file = config::load_from(Some(&file), None, &surroundings(dir.path())).expect("valid");
    let defaults = config::load_from(None, None, &surroundings(dir.path())).expect("valid");
    let changes = defaults.changes(&of_file);
    assert_eq!(changes.in_place, []);
    // A receiver is a listener: it waits for a restart.
    assert_eq!(changes.needs_restart.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["receiver"]);
    assert_eq!(changes.of("source").added, ["cowrie"]);
    assert_eq!(changes.of("sink").added, ["archive"]);
    for (_, key, _, origin) in of_file.values() {
        assert!(matches!(origin, config::Origin::File(_)), "{} was not in the file", key.name);
    }
}

#[test]
fn data_on_the_command_line_goes_over_the_file() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("h.toml");
    std::fs::write(&file, "data_dir = \"/srv/a\"\n[log]\nlevel = \"error\"\n").expect("writable");
    let settings = config::load_from(Some(&file), Some(Path::new("here")), &surroundings(dir.path())).expect("valid");
    assert_eq!(settings.data_dir, dir.path().join("here"));
    assert_eq!(settings.log.level, slog::Level::Error);
    assert_eq!(settings.admin.socket, dir.path().join("here/admin.sock"));
}

#[test]
fn files_that_cannot_be_read_as_configuration_are_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("h\u{1b}.toml");
    let name = dir.path().join("h\\u{1b}.toml").display().to_string();
    let load = || config::load_from(Some(&file), None, &surroundings(dir.path())).expect_err("refused").to_string();
    assert_eq!(load(), format!("cannot read the configuration {name}: No such file or directory (os error 2)"));
    std::fs::write(&file, b"# a\n# \xff\n").expect("writable");
    assert_eq!(load(), format!("the configuration {name} is not UTF-8 (line 2): is it the right file?"));
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).expect("writable");
    assert_eq!(load(), format!("the configuration {name} is larger than 1048576 bytes: is it the right file?"));
    std::fs::write(&file, "a = 1\nb = 2\n").expect("writable");
    assert_eq!(load(), format!("{name}:1:1: unknown key `a`\n{name}:2:1: unknown key `b`"));
    let error = config::load_from(Some(dir.path()), None, &surroundings(dir.path())).expect_err("a directory");
    assert!(matches!(error, Error::Read { .. }));
}
