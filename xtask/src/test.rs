//! `cargo xtask test`: every test there is, after installing what they need. The workspace's own come
//! first; then what is compiled for wasm32 and therefore has workspaces of its own.

use crate::shell::{Workspace, run, say};
use crate::{examples, setup, stock};
use anyhow::Result;

/// Workspaces of their own, with tests that run on this machine.
pub(crate) const NESTED: [&str; 2] = ["rules/sdk", "rules/stock/pack"];

/// Runs the tests: with `quick` only the workspace's, with `all` after installing optional compilers.
pub(crate) fn test(workspace: &Workspace, quick: bool, all: bool) -> Result<()> {
    setup::for_tests(workspace, all)?;
    say("tests of the workspace");
    run(&mut workspace.cargo(&["test", "--workspace"]))?;
    if quick {
        return Ok(());
    }
    for folder in NESTED {
        say(format!("tests of {folder}"));
        let target = workspace.guest_target();
        run(workspace
            .cargo(&["test", "--workspace", "--target-dir"])
            .arg(target)
            .current_dir(workspace.root.join(folder)))?;
    }
    stock::stock(workspace, true)?;
    examples::examples(workspace, false)
}
