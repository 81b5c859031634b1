//! `cargo xtask stock`: compiles the functions that ship with the agent, strips what the host has no
//! use for, and writes or compares `rules/stock/wasm`. Those files are committed, so that the agent
//! builds where only the host's own target is installed.

use crate::setup::{self, WASM};
use crate::shell::{Workspace, pristine_cargo, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Builds all stock functions; with `check` nothing is written, and a difference is a failure.
pub(crate) fn stock(workspace: &Workspace, check: bool) -> Result<()> {
    setup::for_guests(workspace)?;
    let stock = workspace.root.join("rules/stock");
    let built = build(workspace, &stock)?;
    let committed = stock.join("wasm");
    fs::create_dir_all(&committed)?;
    let mut different = Vec::new();
    for path in built {
        let name = path.file_name().unwrap_or_default();
        let module = fs::read(&path)?;
        let place = committed.join(name);
        if fs::read(&place).is_ok_and(|bytes| bytes == module) {
            continue;
        }
        let name = name.to_string_lossy();
        if check {
            different.push(name.into_owned());
        } else {
            fs::write(&place, &module)?;
            say(format!(
                "wrote rules/stock/wasm/{name}, {} bytes",
                module.len()
            ));
        }
    }
    if !different.is_empty() {
        bail!(
            "rules/stock/wasm is not what the sources give: {} (run `cargo xtask stock`)",
            different.join(", ")
        );
    }
    say("stock functions are up to date");
    Ok(())
}

/// The packed modules, in a folder of their own, sorted by name.
fn build(workspace: &Workspace, stock: &Path) -> Result<Vec<PathBuf>> {
    let target = workspace.guest_target();
    let mut cargo = pristine_cargo();
    cargo
        .current_dir(stock)
        .args(["build", "--release", "--quiet", "--locked"]);
    run(cargo.args(["--target", WASM, "--target-dir"]).arg(&target))?;
    let packed = target.join("packed");
    fs::create_dir_all(&packed)?;
    let compiled = target.join(WASM).join("release");
    let mut modules = Vec::new();
    let files = fs::read_dir(&compiled).with_context(|| format!("no {}", compiled.display()))?;
    for file in files {
        let module = file?.path();
        if module
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let place = packed.join(module.file_name().unwrap_or_default());
            pack(workspace, stock, &module, &place)?;
            modules.push(place);
        }
    }
    modules.sort();
    Ok(modules)
}

fn pack(workspace: &Workspace, stock: &Path, module: &Path, place: &Path) -> Result<()> {
    let mut pack = workspace.cargo(&["run", "--release", "--quiet", "--locked", "--target-dir"]);
    pack.arg(workspace.guest_target())
        .current_dir(stock.join("pack"));
    run(pack.arg("--").arg(module).arg(place))
}
