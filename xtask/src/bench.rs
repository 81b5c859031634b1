//! x
use crate::shell::Workspace;
use anyhow::Result;
pub(crate) const USAGE: &str = "";
pub(crate) fn bench(_: &Workspace, _: &[String]) -> Result<()> {
    crate::setup::for_benches()
}
