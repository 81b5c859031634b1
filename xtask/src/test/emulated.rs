//! `cargo xtask test --target T`: tests of the agent in another target's code, run by qemu-user.

use crate::args::Misuse;
use crate::dist::targets::{TARGETS, Target};
use crate::dist::tools::Tools;
use crate::setup;
use crate::shell::{Workspace, run, say};
use anyhow::Result;
use std::process::Command;

/// What a board's code is most likely to get wrong: the interpreter on the host's stack, and what is on disk.
const QUICK: [&str; 3] = ["function::", "journal::", "record::"];

/// Names the emulator to tests that start a program of the target themselves.
const RUNNER: &str = "TIDEMILL_TEST_RUNNER";

/// Seeds of the simulator: an emulator takes some ten times as long for each.
const SEEDS: &str = "500";

/// Builds with the release's code and runs all unit tests and the simulator, or with `quick` what [`QUICK`] names.
pub(super) fn test(workspace: &Workspace, name: &str, quick: bool) -> Result<()> {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        let text = format!("{name} is no target of ours; there are {}", all.join(", "));
        return Err(Misuse(text).into());
    };
    let tools = Tools::ensure()?;
    setup::for_target(workspace, name)?;
    setup::for_emulation()?;
    say(format!("unit tests for {name}"));
    let filters: &[&str] = if quick { &QUICK } else { &[] };
    run(command(workspace, &tools, target)
        .args(["--lib", "--"])
        .args(filters))?;
    if quick {
        return Ok(());
    }
    say(format!("simulator for {name}, {SEEDS} seeds"));
    run(command(workspace, &tools, target)
        .args(["--test", "simulator"])
        .env("TIDEMILL_SIM_SEEDS", SEEDS))
}

fn command(workspace: &Workspace, tools: &Tools, target: &Target) -> Command {
    let mut command = tools.zigbuild("test", target);
    command
        .current_dir(&workspace.root)
        .args(["--locked", "--profile", "hostile", "--package", "tidemill"])
        .args(["--no-default-features", "--features", "sabotage"])
        .arg("--target-dir")
        .arg(workspace.target.join("emulated"));
    if target.is_static() {
        command.env("RUSTFLAGS", "-Clink-self-contained=no");
    }
    if !target.runner.is_empty() {
        let of_target = target.name.replace('-', "_").to_uppercase();
        command.env(format!("CARGO_TARGET_{of_target}_RUNNER"), target.runner);
        command.env(RUNNER, target.runner);
    }
    command
}
