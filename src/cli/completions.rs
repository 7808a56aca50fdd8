//! `honeyguide completions`
use super::context::{Context, Exit};
use super::{args, pages, print};

pub fn run(args: &args::Completions, _: &Context) -> anyhow::Result<Exit> {
    print(pages::completions(args.shell))?;
    Ok(Exit::Done)
}
