//! `cargo xtask test`: every test there is, after installing what they need. First what is
//! compiled for wasm32 and has workspaces of its own, since the workspace's tests run the examples;
//! last what only optimised code can show.

mod emulated;

use crate::shell::{Workspace, run, say};
use crate::{examples, setup, stock};
use anyhow::Result;
use std::process::Command;

/// Nested workspaces, and which of their crates run on this machine.
pub(crate) const NESTED: [(&str, &str); 2] = [
    ("rules/sdk", "--workspace"),
    ("rules/stock", "--package=tidemill-pack"),
];

/// Runs the tests: with `quick` only the workspace's, with `all` after installing optional compilers,
/// and with the receiver among the examples.
pub(crate) fn test(workspace: &Workspace, quick: bool, all: bool) -> Result<()> {
    setup::for_tests(workspace, all)?;
    if !quick {
        guests(workspace)?;
    }
    if all && !quick {
        // Built before the workspace's tests, which run it where it is there.
        say("tests of examples/receiver");
        examples::receiver(workspace, "build")?;
        examples::receiver(workspace, "test")?;
    }
    say("tests of the workspace");
    run(&mut workspace.cargo(&["test", "--workspace"]))?;
    if quick {
        return Ok(());
    }
    say("tests of functions, hostile ones among them, as the release runs them");
    let a_million = "a_million_keys";
    run(&mut optimised(
        workspace,
        &["--lib", "--", "function::", a_million],
    ))?;
    run(&mut optimised(workspace, &["--test", "prices"]))?;
    say("simulator of crashes, power cuts and lost connections");
    run(&mut optimised(workspace, &["--test", "simulator"]))
}

/// Polls, and returns of a device, in the long tests of the bridge; an ordinary run has a tenth of them.
const LONG: [(&str, &str); 2] = [
    ("TIDEMILL_BRIDGE_POLLS", "10000"),
    ("TIDEMILL_BRIDGE_RETURNS", "100"),
];

/// Runs the tests of the bridge at their full length.
pub(crate) fn bridge(workspace: &Workspace) -> Result<()> {
    setup::for_bridge_tests()?;
    say("tests of the bridge, at full length");
    let tests = ["test", "--package", "tidemill-bridge"];
    run(workspace.cargo(&tests).envs(LONG))
}

/// Runs the agent's unit tests and the simulator in the code of another `target`; with `quick` only those of functions,
/// journal and records.
pub(crate) fn of_target(workspace: &Workspace, target: &str, quick: bool) -> Result<()> {
    emulated::test(workspace, target, quick)
}

/// Tests of the agent in the release's code; the feature lets the simulator build faults in.
fn optimised(workspace: &Workspace, which: &[&str]) -> Command {
    let test = ["test", "--profile", "hostile", "--package", "tidemill"];
    let mut command = workspace.cargo(&test);
    command.args(["--features", "sabotage"]).args(which);
    command
}

fn guests(workspace: &Workspace) -> Result<()> {
    stock::stock(workspace, true)?;
    examples::functions(workspace, false)?;
    for (folder, crates) in NESTED {
        say(format!("tests of {folder}"));
        run(&mut workspace.nested_cargo(folder, &["test", crates]))?;
    }
    Ok(())
}
