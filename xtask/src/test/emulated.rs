//! `cargo xtask test --target T`: tests of the agent in another target's code, run by qemu-user.

use crate::dist::targets::Target;
use crate::dist::tools::Tools;
use crate::setup;
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The agent's tests of all that a board's code is most likely to get wrong beside the journal: the interpreter on the
/// host's stack, and records.
const QUICK: [&str; 2] = ["function::", "record::"];

/// Names the emulator to tests that start a program of the target themselves.
const RUNNER: &str = "TIDEMILL_TEST_RUNNER";

/// Names the agent to end-to-end tests.
const PROGRAM: &str = "TIDEMILL_TEST_PROGRAM";

/// The packages whose tests run.
const AGENT: &str = "tidemill";
const JOURNAL: &str = "tidemill-journal";

/// The end-to-end tests that kill the agent.
const KILLS: &str = "durability::kills";

/// Seeds of the simulator: an emulator takes some ten times as long for each.
const SEEDS: &str = "500";

/// Builds with the release's code and runs all unit tests, the simulator and tests that kill the agent, or with `quick` what [`QUICK`] names.
pub(super) fn test(workspace: &Workspace, name: &str, quick: bool) -> Result<()> {
    let target = Target::named(name)?;
    let tools = Tools::ensure()?;
    setup::for_target(workspace, name)?;
    setup::for_emulation()?;
    say(format!("unit tests for {name}"));
    let filters: &[&str] = if quick { &QUICK } else { &[] };
    run(command(workspace, &tools, target, "test")
        .args(["--package", AGENT, "--lib", "--"])
        .args(filters))?;
    run(command(workspace, &tools, target, "test").args(["--package", JOURNAL, "--lib"]))?;
    if quick {
        return Ok(());
    }
    say(format!("simulator for {name}, {SEEDS} seeds"));
    run(command(workspace, &tools, target, "test")
        .args(["--package", AGENT, "--test", "simulator"])
        .env("TIDEMILL_SIM_SEEDS", SEEDS))?;
    say(format!(
        "kills of the agent for {name}, between brokers of this machine"
    ));
    run(command(workspace, &tools, target, "build").args([
        "--package",
        AGENT,
        "--bin",
        "tidemill",
    ]))?;
    run(workspace
        .cargo(&["test", "--workspace", "--test", "end_to_end", KILLS])
        .env(RUNNER, target.runner)
        .env(PROGRAM, wrapped(workspace, target)?))
}

/// A script that runs the agent of the target in the emulator: tests know one path.
fn wrapped(workspace: &Workspace, target: &Target) -> Result<PathBuf> {
    let folder = workspace
        .target
        .join("emulated")
        .join(target.name)
        .join("hostile");
    let script = folder.join("tidemill.sh");
    let program = folder.join("tidemill");
    let text = format!(
        "#!/bin/sh\nexec {} '{}' \"$@\"\n",
        target.runner,
        program.display()
    );
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    Ok(script)
}

fn command(workspace: &Workspace, tools: &Tools, target: &Target, verb: &str) -> Command {
    let mut command = tools.zigbuild(verb, target);
    command
        .current_dir(&workspace.root)
        .args(["--locked", "--profile", "hostile"])
        .args(["--no-default-features", "--features", "sabotage,sql"])
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
