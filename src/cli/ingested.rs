//! `honeyguide ingested`: whether files may be deleted.
use super::client::Target;
use super::context::{Context, Exit};
use super::{answers, args, format, print};
use crate::admin::questions::IngestedRequest;
use anyhow::Context as _;
use std::io::Write;
use std::path::PathBuf;

pub fn run(args: &args::Ingested, context: &Context) -> anyhow::Result<Exit> {
    print::to_stdout(|out| answer(args, context, out))
}

/// [`run`], with the answer written to `out`.
pub fn answer(args: &args::Ingested, context: &Context, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let absolute = |path| std::path::absolute(path).with_context(|| "cannot tell the current directory");
    let paths = args.paths.iter().map(absolute).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let settings = context.settings()?;
    let format = context.format(args.format.as_deref())?;
    let files: Vec<format::IngestedFile> = match Target::find(&settings)? {
        Target::Daemon(client) => client.post(&["api", "v1", "ingested"], &IngestedRequest { paths, format })?,
        Target::Local(open) => answers::ingested(&open.store, paths.iter().map(PathBuf::as_path), format)?,
    };
    if context.global.json {
        writeln!(out, "{}", format::json(&files, &context.output)?)?;
    } else {
        write!(out, "{}", format::ingested(&files, &context.output))?;
    }
    Ok(if files.iter().all(|file| file.ingested) { Exit::Done } else { Exit::Failed })
}
