//! The command line's promises: every example in the help parses, pages and completions render, wrong usage says what to do.
use clap::{CommandFactory, Parser, error::ErrorKind};
use honeyguide::cli::{
    args::{Cli, Command, QuarantineAction},
    pages,
};
use honeyguide::events::Field;
use honeyguide::simulate::Shape;
use honeyguide::sources::Reason;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words(line))
}

/// Splits as a shell would: blanks, single and double quotes, backslashes within double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, ' ') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == character => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    assert_eq!(quote, None, "{line}");
    words.extend(word);
    words
}

/// Every command with its help.
fn helps() -> Vec<(String, String)> {
    fn walk(command: &mut clap::Command, name: &str, helps: &mut Vec<(String, String)>) {
        helps.push((name.to_owned(), command.render_long_help().to_string()));
        for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
            let name = format!("{name} {}", subcommand.get_name());
            walk(subcommand, &name, helps);
        }
    }
    let mut helps = Vec::new();
    let mut root = Cli::command();
    root.build();
    walk(&mut root, "honeyguide", &mut helps);
    helps
}

#[test]
fn the_table_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples_and_every_example_parses() {
    for (name, help) in helps() {
        let mut examples = 0;
        for line in help.split("Examples:").nth(1).unwrap_or_default().lines().filter(|line| line.starts_with("  ")) {
            // Of a pipeline or a conditional, the parts that are ours.
            for part in line.trim().split(" | ").flat_map(|part| part.split(" && ")).filter(|part| part.starts_with("honeyguide ")) {
                let typed = part.split(" > ").next().unwrap();
                parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
                if typed.starts_with(&name) {
                    examples += 1;
                }
            }
        }
        assert!(examples >= 2, "{name} has {examples} examples:\n{help}");
    }
}

#[test]
fn help_of_top_and_search_explains_every_field() {
    let helps = helps();
    for command in ["honeyguide top", "honeyguide search"] {
        let (_, help) = helps.iter().find(|(name, _)| name == command).unwrap();
        for field in Field::ALL {
            assert!(help.contains(field.name()) && help.contains(field.about()), "{command}: {}", field.name());
        }
    }
}

#[test]
fn help_documents_the_exit_codes() {
    let (_, help) = &helps()[0];
    for code in ["  0   done", "  1   failed", "  2   the command line", "  3   done, but", "  70  an actor"] {
        assert!(help.contains(code), "{code}");
    }
}

#[test]
fn manual_pages_and_completions_render() {
    let manual = pages::manual().unwrap();
    let names: Vec<&str> = manual.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["honeyguide.1", "honeyguide-load.1", "honeyguide-quarantine-list.1", "honeyguide-completions.1"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for (name, page) in &manual {
        let text = String::from_utf8(page.clone()).unwrap();
        assert!(text.contains(".TH") && text.contains("SH SYNOPSIS") && text.contains("Examples"), "{name}");
    }
    assert!(pages::manual_in_one().unwrap().len() > 10_000);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(pages::write_manual(&dir.path().join("man1")).unwrap().len(), manual.len());
    use clap_complete::Shell;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
        let script = String::from_utf8(pages::completions(shell)).unwrap();
        assert!(script.contains("quarantine"), "{shell}");
        // The other shells' generators do not complete the values of positional arguments.
        assert!(script.contains("src_ip") || !matches!(shell, Shell::Bash | Shell::Zsh), "{shell}");
    }
}

#[test]
fn global_options_stand_before_or_behind_the_command() {
    for line in ["honeyguide --data /d --json status", "honeyguide status --json --data /d"] {
        let cli = parse(line).unwrap();
        assert!(cli.global.json && cli.global.data.as_deref() == Some(std::path::Path::new("/d")));
    }
}

#[test]
fn values_are_turned_into_types() {
    let Command::Top(top) = parse("honeyguide top src_ip --limit 3").unwrap().command else { panic!("not top") };
    assert_eq!((top.field, top.limit), (Field::SrcIp, 3));
    let Command::Search(search) = parse("honeyguide search a:b 'c:\"d e\"' --newest").unwrap().command else { panic!("not search") };
    assert_eq!(search.query, ["a:b", "c:\"d e\""]);
    let Command::Quarantine(quarantine) = parse("honeyguide quarantine list --reason partial").unwrap().command else { panic!() };
    assert!(matches!(quarantine.action, QuarantineAction::List { reason: Some(Reason::Partial), limit: 50 }));
    let Command::Simulate(simulate) = parse("honeyguide simulate --shape legacy --start 2017-10-07").unwrap().command else { panic!() };
    let simulation = simulate.simulation(5);
    assert_eq!((simulation.shape, simulation.start, simulate.events_limit()), (Shape::Legacy, 1_507_334_400_000_000, Some(10_000)));
    let Command::Simulate(live) = parse("honeyguide simulate --live").unwrap().command else { panic!() };
    assert_eq!((live.simulation(5).start, live.events_limit()), (5, None));
}

#[test]
fn wrong_usage_is_refused_with_what_would_be_right() {
    for (line, kind, hint) in [
        ("honeyguide", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "Usage"),
        ("honeyguide serach x", ErrorKind::InvalidSubcommand, "search"),
        ("honeyguide top sr_ip", ErrorKind::InvalidValue, "src_ip"),
        ("honeyguide load", ErrorKind::MissingRequiredArgument, "<PATH>"),
        ("honeyguide quarantine purge", ErrorKind::MissingRequiredArgument, "--all"),
        ("honeyguide quarantine purge 3 --all", ErrorKind::ArgumentConflict, "--all"),
        ("honeyguide demo --log d --rate 3", ErrorKind::ArgumentConflict, "--rate"),
        ("honeyguide demo --rate 0", ErrorKind::ValueValidation, "events per second"),
        ("honeyguide simulate --events 1 --sessions 1", ErrorKind::ArgumentConflict, "--sessions"),
        ("honeyguide simulate --start never", ErrorKind::ValueValidation, "2026-03-22"),
        ("honeyguide simulate --torn", ErrorKind::MissingRequiredArgument, "--log"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert!(error.to_string().contains(hint), "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
