//! `honeyguide man`
use super::context::{Context, Exit};
use super::terminal::escape;
use super::{args, pages, print};
use anyhow::Context as _;

pub fn run(args: &args::Man, _: &Context) -> anyhow::Result<Exit> {
    match &args.dir {
        None => print(pages::manual_in_one()?)?,
        Some(dir) => {
            let written = pages::write_manual(dir).with_context(|| format!("cannot write manual pages into {}", dir.display()))?;
            let names: String = written.iter().map(|path| format!("{}\n", escape(&path.to_string_lossy()))).collect();
            print(names)?;
        }
    }
    Ok(Exit::Done)
}
