//! The real binary: what it prints, where, and with which exit code.
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn honeyguide(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_honeyguide"));
    // The machine's own configuration must not matter.
    command.args(arguments).env_remove("RUNTIME_DIRECTORY").stdin(Stdio::null());
    command
}

fn with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("ended");
    // Whether it read all of it is the test's to judge from the answer.
    let _ = writer.join().expect("not panicked");
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// The lines on standard error; each must be ours.
fn complaints(output: &Output) -> Vec<String> {
    let lines = text(&output.stderr).lines().map(|line| line.strip_prefix("honeyguide: ").expect(line).to_owned()).collect();
    assert!(output.stdout.is_empty(), "an error leaves standard output empty");
    lines
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn help_and_version_are_answers_and_anything_wrong_is_exit_code_2() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["search", "--help"], &["help", "quarantine"]] {
        let output = honeyguide(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let output = honeyguide(&[]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("Usage: honeyguide"), "without a command the help is shown");
    for (arguments, expected) in [
        (&["searhc", "x"][..], "unrecognized subcommand 'searhc'; tip: a similar subcommand exists: 'search' (see `honeyguide --help`)"),
        (&["simulate", "--rate", "x"], "invalid value 'x' for '--rate <N>': give a number of events per second from 0.0001 to 1000000"),
        (&["explain"], "the following required arguments were not provided: <LINE> (see `honeyguide explain --help`)"),
        (&["explain", ""], "there is no line to explain: give one, or `-` and lines on standard input"),
        (&["demo", "--log", "/nosuch/logs"], "cannot read the logs in /nosuch/logs: No such file or directory (os error 2)"),
    ] {
        let output = honeyguide(arguments);
        let lines = complaints(&output);
        assert_eq!(lines.len(), 1, "{arguments:?}: {lines:?}");
        assert!(lines[0].starts_with(expected), "{arguments:?}: {lines:?}");
        assert_eq!(code(&output), 2, "{arguments:?}");
    }
}

#[test]
fn a_wrong_configuration_is_told_line_by_line_and_nothing_starts() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = write(
        &dir.path().join("h.toml"),
        "[journal]\nsegmnt_bytes = 3\n[admin]\nlisten = \"0.0.0.0:80\"\n[limits]\nworkers = \"\u{7f}x\"\n",
    );
    let data = dir.path().join("data");
    for command in ["check", "run"] {
        let output = honeyguide(&[command, "--config", &file, "--data", data.to_str().expect("UTF-8")]);
        assert_eq!(code(&output), 2);
        let lines = complaints(&output);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], format!("{file}:2:1: unknown key `segmnt_bytes` in [journal]; did you mean `segment_bytes`?"));
        assert!(lines[1].starts_with(&format!("{file}:6:")), "{lines:?}");
        assert!(!data.exists());
    }
    let output = honeyguide(&["check", "--json", "--config", &file]);
    assert_eq!(code(&output), 2);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["valid"], &answer["problems"][0]["line"]), (&false.into(), &2.into()));
    let output = honeyguide(&["check", "--config", "/nosuch/\u{1b}[31m.toml"]);
    assert_eq!((code(&output), complaints(&output).len()), (2, 1));
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn check_names_sources_with_their_files_and_what_differs_from_the_defaults() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write(&dir.path().join("cowrie.json"), "{}\n");
    write(&dir.path().join("cowrie.json.2026-03-22"), "{}\n{}\n");
    let config = "data_dir = \"data\"\n[admin]\nlisten = \"off\"\n[[source]]\nname = \"pot\"\npaths = [\"cowrie.json*\"]\n";
    let file = write(&dir.path().join("h.toml"), config);
    let output = honeyguide(&["check", "--config", &file]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}");
    for expected in ["source pot", "2 files, 9 B", "admin.listen", "run would start", "not there yet"] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    let output = honeyguide(&["check", "--config", &file, "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["sources"][0]["files"], &answer["sources"][0]["bytes"]), (&2.into(), &9.into()));
    assert_eq!(answer["changed"].as_array().map(Vec::len), Some(2));
    assert!(!dir.path().join("data").exists(), "checking makes nothing");
    // What would keep `run` from starting.
    write(&dir.path().join("data"), "a file");
    let output = honeyguide(&["check", "--config", &file]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stdout).contains("run would refuse to start: the data directory"), "{}", text(&output.stdout));
    let output = honeyguide(&["run", "--config", &file]);
    assert_eq!((code(&output), complaints(&output).len()), (1, 1));
}

#[test]
fn explain_stays_calm_on_hostile_lines() {
    let mut input = honeyguide(&["simulate", "--hostile", "--seed", "3", "--events", "4000"]).stdout;
    input.extend_from_slice(b"\x1b]0;owned\x07\n\xff\xfe\n[1,{\"eventid\":\"a\"},\"\x1b\"]\n{\"a\":\"");
    let output = with_input(&["explain", "-"], &input);
    assert_eq!(code(&output), 3, "some lines are refused");
    let said = text(&output.stdout);
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "nothing reaches a terminal raw");
    let output = with_input(&["explain", "--json", "-"], &input);
    let answers: Vec<serde_json::Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    assert!(answers.len() > 4000);
    assert!(answers.iter().any(|answer| answer["accepted"] == false && answer["reason"] == "not_an_object"));
    let output = honeyguide(&[
        "explain",
        "--json",
        "{\"eventid\":\"cowrie.login.failed\",\"username\":\"root\",\"timestamp\":\"1999-01-01T00:00:00Z\"}",
    ]);
    assert_eq!(code(&output), 0);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["terms"][1], serde_json::json!({ "field": "username", "value": "root" }));
    assert_eq!(answer["time"], "1999-01-01T00:00:00.000000Z");
    assert!(answer["because"].as_str().is_some_and(|because| because.contains("when it was received")), "{answer}");
}

#[test]
fn the_same_seed_gives_the_same_log_and_a_reader_may_leave_early() {
    let log = |seed| honeyguide(&["simulate", "--seed", seed, "--events", "5000"]).stdout;
    let first = log("7");
    assert_eq!(first.iter().filter(|&&byte| byte == b'\n').count(), 5000);
    assert!(first == log("7"), "the same seed, the same bytes");
    assert!(first != log("8"), "another seed, other bytes");
    let dir = tempfile::tempdir().expect("temporary directory");
    let into = dir.path().join("logs");
    let output = honeyguide(&["simulate", "--seed", "7", "--events", "5000", "--log", into.to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 0);
    assert!(std::fs::read(into.join("cowrie.json")).expect("written") == first, "the file holds what the pipe did");

    let mut child = command(&["simulate", "--events", "1000000"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    let mut some = [0; 1000];
    child.stdout.take().expect("piped").read_exact(&mut some).expect("it writes");
    let output = child.wait_with_output().expect("ended");
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()), "a closed pipe is no error");
}

#[test]
fn manual_and_completions_are_printed() {
    let page = text(&honeyguide(&["man"]).stdout);
    assert!(page.contains(".TH HONEYGUIDE") && page.contains("quarantine"));
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = honeyguide(&["man", "--dir", dir.path().to_str().expect("UTF-8")]);
    assert_eq!(code(&output), 0);
    assert!(dir.path().join("honeyguide-search.1").exists());
    assert!(text(&honeyguide(&["completions", "bash"]).stdout).contains("complete -F"));
}
