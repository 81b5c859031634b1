//! `cargo xtask stock`: compiles the functions that ship with the agent, strips what the host has no
//! use for, and writes or compares `rules/stock/wasm`. Those files are committed, so that the agent
//! builds where only the host's own target is installed.

use crate::setup::{self, WASM};
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The workspace of the functions and of the tool that packs them.
const STOCK: &str = "rules/stock";

/// Builds all stock functions; with `check` nothing is written, and a difference is a failure.
pub(crate) fn stock(workspace: &Workspace, check: bool) -> Result<()> {
    setup::for_guests(workspace)?;
    let built = build(workspace)?;
    let committed = workspace.root.join(STOCK).join("wasm");
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
fn build(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let compiled = workspace.nested_target(STOCK).join(WASM).join("release");
    // A function that is gone would be found there for ever; the others are not compiled again.
    for module in modules(&compiled).unwrap_or_default() {
        fs::remove_file(module)?;
    }
    let build = [
        "build",
        "--release",
        "--quiet",
        "--locked",
        "--target",
        WASM,
    ];
    run(&mut workspace.nested_cargo(STOCK, &build))?;
    let packed = compiled.join("packed");
    fs::create_dir_all(&packed)?;
    let mut places = Vec::new();
    for module in modules(&compiled)? {
        let place = packed.join(module.file_name().unwrap_or_default());
        pack(workspace, &module, &place)?;
        places.push(place);
    }
    Ok(places)
}

fn modules(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = file?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Strips `module` (or compiles it, if it is Wasm text) into `place`.
pub(crate) fn pack(workspace: &Workspace, module: &Path, place: &Path) -> Result<()> {
    let package = ["run", "--quiet", "--locked", "--package", "tidemill-pack"];
    let mut pack = workspace.nested_cargo(STOCK, &package);
    run(pack.arg("--").arg(module).arg(place))
}
