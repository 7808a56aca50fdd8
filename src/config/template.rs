//! The shipped `config/honeyguide.toml`: every option, commented out, with its default.
use super::groups::GROUPS;
use std::fmt::Write;

/// The file's text, made from the table of keys. Lines that start with `#` and a letter or `[` are TOML when the `#` is
/// taken away; lines that start with `# ` are prose.
pub fn text() -> String {
    let mut out = String::from(
        "# Honeyguide's configuration. Everything is optional; what stands here behind a # is the default (below [[source]]: an example).\n\
         # Sizes are numbers of bytes or \"64 MiB\". `honeyguide check` says what would run; SIGHUP (systemctl reload honeyguide) reads\n\
         # this file again, and changes nothing if it is wrong. Keys marked (restart) take effect when the daemon is started again.\n\
         # Where a key's name ends in _file, \"credential:NAME\" is what the systemd unit gives with LoadCredential=NAME:PATH (ops/SYSTEMD.md).\n",
    );
    for group in GROUPS {
        out.push('\n');
        for line in group.about {
            writeln!(out, "# {}", line.trim()).expect("writing to a string cannot fail");
        }
        if !group.name.is_empty() {
            writeln!(out, "#{}", group.title()).expect("writing to a string cannot fail");
        }
        for key in group.keys {
            for line in key.about {
                writeln!(out, "# {}", line.trim()).expect("writing to a string cannot fail");
            }
            let note = match (key.apply, key.required) {
                (_, true) => "  # required",
                (super::key::Apply::Restart, _) => "  # (restart)",
                _ => "",
            };
            writeln!(out, "#{} = {}{note}", key.name, key.default).expect("writing to a string cannot fail");
        }
    }
    out
}
