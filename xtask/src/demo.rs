//! `cargo xtask demo`: a release build, then the agent's own demo in our place, so that its exit code
//! and the signals it gets are its own. The demo brings its broker and its functions along: nothing is installed.

use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Builds, then becomes `tidemill demo ARGS…`; returns only on failure.
pub(crate) fn demo(workspace: &Workspace, args: &[String]) -> Result<()> {
    let agent = workspace.target.join("release/tidemill");
    if !agent.is_file() {
        say("building the agent; the first time takes a few minutes");
    }
    run(&mut workspace.cargo(&["build", "--release", "--package", "tidemill"]))?;
    let error = Command::new(&agent).arg("demo").args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", agent.display()))
}
