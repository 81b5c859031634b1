//! `tidemill probe-pond`: opens a state database and reads it. Only the agent calls it, after a start that
//! ended while it did the same.

use std::path::PathBuf;

use super::Failure;
use crate::storage::pond;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Its folder
    pond: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    pond::bound_memory(&options.pond);
    pond::probe(&options.pond).map_err(|what| Failure::Failed(anyhow::Error::msg(what)))
}
