//! Manual pages and shell completions, rendered from the one table in [`super::args`].
use super::args::Cli;
use clap::CommandFactory;
use std::io;
use std::path::{Path, PathBuf};

/// Every page: its file name (`honeyguide.1`, `honeyguide-quarantine-list.1`, …) and its roff text.
pub fn manual() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = Vec::new();
    collect(&root, "honeyguide", &mut pages)?;
    Ok(pages)
}

/// All pages in one, for `honeyguide man | man -l -`.
pub fn manual_in_one() -> io::Result<Vec<u8>> {
    Ok(manual()?.into_iter().flat_map(|(_, page)| page).collect())
}

/// Writes the pages into `dir`; returns their paths.
pub fn write_manual(dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    manual()?
        .into_iter()
        .map(|(name, page)| {
            let path = dir.join(name);
            std::fs::write(&path, page)?;
            Ok(path)
        })
        .collect()
}

/// The completion script of a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "honeyguide", &mut script);
    script
}

fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name.to_owned())).title(name.to_uppercase()).render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help" && !subcommand.is_hide_set()) {
        collect(subcommand, &format!("{name}-{}", subcommand.get_name()), pages)?;
    }
    Ok(())
}
