//! `cargo xtask soak`: the real agent between two brokers while everything around it fails. The work is
//! done by a program of the tests' crate; this builds it beside the agent.

use crate::args::Args;
use crate::setup;
use crate::shell::{Workspace, run};
use anyhow::{Result, bail};
use std::process::Command;

/// The text of `cargo xtask soak --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask soak [OPTIONS]

  --for D       how long, such as 90s, 10m or 1h (default 10m)
  --seed N      what is done, and in which order (default 1)
  --optimised   the release's code instead of a debug build

The agent runs between two mosquittos through links that are cut, silent, slow or closed; the brokers
are stopped in their tracks, the disk fills, the clock is set, the agent is killed. In the end every
event must have counted once and the books must balance, else the exit code is 1. Full disks need root
and loop devices, false clocks a C compiler; what is not there is said and left out.
";

/// Builds agent and soak, and runs it.
pub(crate) fn soak(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &["optimised"], &["for", "seed"])?;
    args.no_words()?;
    setup::for_benches()?;
    let (profile, folder) = if args.flag("optimised") {
        ("hostile", "hostile")
    } else {
        ("dev", "debug")
    };
    let build = ["build", "--profile", profile, "--bins", "--package"];
    let packages = ["tidemill", "--package", "tidemill-tests"];
    run(workspace.cargo(&build).args(packages))?;
    let mut soak = Command::new(workspace.target.join(folder).join("soak"));
    soak.args(["--for", args.text("for").unwrap_or("10m")]);
    soak.args(["--seed", args.text("seed").unwrap_or("1")]);
    if !soak.status()?.success() {
        bail!("the soak found something: see above");
    }
    Ok(())
}
