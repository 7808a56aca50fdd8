//! Whether peers can be reached: a receiver that is there and one that is not, a hook, an enricher, an archive's directory.
mod receivers;
mod served;

use honeyguide::cli::context::Exit;
use serde_json::Value;
use served::{Daemon, Home, get};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn configuration(receiver: u16, gone: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "[[sink]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{receiver}/\"\nallow_private = [\"127.0.0.1\"]\nsecret_file = \"{dir}/key\"\n\
         [[sink]]\nname = \"gone\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{gone}/\"\nallow_private = [\"127.0.0.1\"]\nsecret_file = \"{dir}/key\"\n\
         [[enricher]]\nname = \"lists\"\ntype = \"hook\"\nurl = \"http://127.0.0.1:{receiver}/lists/of/mine\"\nallow_private = [\"127.0.0.1\"]\n\
         [[enricher]]\nname = \"guarded\"\ntype = \"hook\"\nurl = \"https://localhost:{receiver}/\"\n\
         [model]\nurl = \"unix:{dir}/scorer.sock\"\n\
         [archive]\nto = \"{dir}/archive\"\n"
    )
}

fn row<'r>(rows: &'r Value, kind: &str, name: &str) -> &'r Value {
    rows.as_array()
        .expect("rows")
        .iter()
        .find(|row| row["kind"] == kind && row["name"] == name)
        .unwrap_or_else(|| panic!("{kind} {name}: {rows}"))
}

#[test]
fn every_peer_is_asked_and_each_says_why_it_cannot_be_reached() {
    let (receiver, gone) = (receivers::webhook::start(), receivers::webhook::start());
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("key"), receivers::webhook::SECRET).expect("written");
    std::fs::set_permissions(dir.path().join("key"), std::fs::Permissions::from_mode(0o600)).expect("ours");
    std::fs::create_dir(dir.path().join("archive")).expect("made");
    gone.server.absent();
    let home = Home::with(&configuration(receiver.server.port(), gone.server.port(), dir.path()));
    let held = |rows: &Value| {
        for (kind, name, reachable, answer) in [
            ("sink", "hook", true, "ready"),
            ("sink", "gone", false, "cannot connect to 127.0.0.1:"),
            ("enricher", "lists", true, "status "),
            ("enricher", "guarded", false, "allow_private"),
            ("model", "", false, "cannot connect to "),
            ("archive", "", true, "it can be written"),
        ] {
            let row = row(rows, kind, name);
            assert_eq!(row["reachable"], reachable, "{row}");
            assert!(row["answer"].as_str().is_some_and(|told| told.contains(answer)), "{row}");
        }
        assert_eq!(rows.as_array().expect("rows").len(), 6);
    };
    held(&home.json(Exit::Findings, &["peers"]));
    let daemon = Daemon::start(&home);
    held(&home.json(Exit::Findings, &["peers"]));
    let metrics = daemon.unix(&get("/metrics", "localhost")).text();
    for line in ["honeyguide_peer_reachable{kind=\"sink\",name=\"hook\"} 1", "honeyguide_peer_reachable{kind=\"sink\",name=\"gone\"} 0"] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    gone.server.present();
    assert_eq!(row(&home.json(Exit::Findings, &["peers"]), "sink", "gone")["reachable"], true);
}

#[test]
fn a_configuration_that_names_nobody_says_so() {
    let home = Home::new();
    assert!(home.expect(Exit::Done, &["peers"]).starts_with("the configuration names nobody"));
}
