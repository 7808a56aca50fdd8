//! Following a check of all segments, which takes its time.
use super::client::Client;
use super::terminal;
use crate::admin::questions::Checking;
use anyhow::{Context as _, anyhow};
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use std::ops::ControlFlow;

/// On standard error, if that is a terminal.
pub fn bar() -> ProgressBar {
    let bar = terminal::progress(None);
    bar.set_style(indicatif::ProgressStyle::default_spinner());
    bar
}

pub fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_message(format!("{done} of {total} segments"));
    bar.tick();
}

/// Lets the daemon do `what`, a path below the API's; answers the report at the end.
pub fn follow<Report: DeserializeOwned>(client: &Client, what: &str, bar: &ProgressBar) -> anyhow::Result<Report> {
    follow_asked(client, what, &(), bar)
}

/// The same, with what is asked for.
pub fn follow_asked<Report: DeserializeOwned>(
    client: &Client,
    what: &str,
    asked: &impl serde::Serialize,
    bar: &ProgressBar,
) -> anyhow::Result<Report> {
    let mut report = None;
    let path: Vec<&str> = ["api", "v1"].into_iter().chain(what.split('/')).collect();
    let followed = client.post_lines(&path, asked, &mut |line| {
        match serde_json::from_slice(line).context("the daemon's answer cannot be read: is it of another version?")? {
            Checking::Progress { done, total } => show(bar, done, total),
            Checking::Report(found) => report = Some(found),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match report {
        Some(report) => Ok(report),
        None if followed => Err(anyhow!("the daemon's answer has no end: its log says why")),
        None => Err(anyhow!("interrupted; the daemon goes on with it to the end")),
    }
}
