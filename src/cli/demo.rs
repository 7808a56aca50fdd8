//! demo
pub fn run(_: &super::args::Demo, _: &super::context::Context) -> anyhow::Result<super::context::Exit> {
    anyhow::bail!("later")
}
