//! `cargo xtask examples`: builds each example function whose compiler is installed, in its folder and
//! with the commands that its README names, and the receiver. Running them is left to the tests.

use crate::setup::{self, WASM};
use crate::shell::{Workspace, capture, program, run, say};
use crate::stock::pack;
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A folder below `examples/`.
struct Example {
    name: &'static str,
    /// Names the tool to install before the example can be built, if one is missing.
    lacks: fn() -> Option<&'static str>,
    /// Builds `filter.wasm` in the folder that is given.
    build: fn(&Workspace, &Path) -> Result<()>,
}

const EXAMPLES: [Example; 4] = [
    Example {
        name: "rust-filter",
        lacks: || None,
        build: rust_filter,
    },
    Example {
        name: "wat-filter",
        lacks: || None,
        build: |workspace, folder| {
            pack(
                workspace,
                &folder.join("filter.wat"),
                &folder.join("filter.wasm"),
            )
        },
    },
    Example {
        name: "c-filter",
        lacks: c_compiler,
        build: c_filter,
    },
    Example {
        name: "assemblyscript-filter",
        lacks: node,
        build: assemblyscript_filter,
    },
];

/// The workspace of the receiver. Tests find its program where it is built.
const RECEIVER: &str = "examples/receiver";

/// Builds what can be built and names what cannot; with `check` that is a failure.
pub(crate) fn all(workspace: &Workspace, check: bool) -> Result<()> {
    functions(workspace, check)?;
    receiver(workspace, "build")
}

/// The receiver, built or with its tests run. It brings SQLite along: a minute when it is built first.
pub(crate) fn receiver(workspace: &Workspace, command: &str) -> Result<()> {
    run(&mut workspace.nested_cargo(RECEIVER, &[command, "--quiet", "--locked"]))?;
    say(format!("{command} of {RECEIVER} is done"));
    Ok(())
}

/// The functions among the examples.
pub(crate) fn functions(workspace: &Workspace, check: bool) -> Result<()> {
    setup::for_guests(workspace)?;
    let mut skipped = Vec::new();
    for example in EXAMPLES {
        if let Some(lacks) = (example.lacks)() {
            say(format!("SKIPPED: examples/{}: {lacks}", example.name));
            skipped.push(example.name);
            continue;
        }
        let folder = workspace.root.join("examples").join(example.name);
        (example.build)(workspace, &folder)?;
        let size = fs::metadata(folder.join("filter.wasm"))?.len();
        say(format!(
            "built examples/{}/filter.wasm, {size} bytes",
            example.name
        ));
    }
    if check && !skipped.is_empty() {
        bail!("examples skipped: {}", skipped.join(", "));
    }
    Ok(())
}

fn rust_filter(workspace: &Workspace, folder: &Path) -> Result<()> {
    let name = "examples/rust-filter";
    let build = [
        "build",
        "--release",
        "--quiet",
        "--locked",
        "--target",
        WASM,
    ];
    run(&mut workspace.nested_cargo(name, &build))?;
    let built = workspace
        .nested_target(name)
        .join(WASM)
        .join("release/filter.wasm");
    pack(workspace, &built, &folder.join("filter.wasm"))
}

fn c_compiler() -> Option<&'static str> {
    let complete = program("clang").is_some() && program("wasm-ld").is_some();
    (!complete).then_some("install clang and lld (`cargo xtask setup --all`)")
}

fn c_filter(workspace: &Workspace, folder: &Path) -> Result<()> {
    run(Command::new("clang")
        .args(["--target=wasm32-unknown-unknown", "-Oz", "-nostdlib"])
        .arg("-Wl,--no-entry,-z,stack-size=16384")
        .args(["-I../../rules/sdk/c", "filter.c", "-o", "filter.wasm"])
        .current_dir(folder))?;
    let module = folder.join("filter.wasm");
    pack(workspace, &module, &module)
}

fn node() -> Option<&'static str> {
    // The compiler refuses older ones.
    const OLDEST: u32 = 20;
    let version = capture(Command::new("node").arg("--version")).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next();
    let recent = major
        .and_then(|major| major.parse().ok())
        .is_some_and(|major: u32| major >= OLDEST);
    (!recent || program("npm").is_none()).then_some("install node 20 or later, with npm")
}

fn assemblyscript_filter(_: &Workspace, folder: &Path) -> Result<()> {
    let age = |file: &str| {
        fs::metadata(folder.join(file))
            .and_then(|file| file.modified())
            .ok()
    };
    // npm leaves its own record of what it installed; `npm ci` starts over each time.
    let installed = age("node_modules/.package-lock.json");
    if installed.is_none() || installed < age("package-lock.json") {
        say("npm ci in examples/assemblyscript-filter");
        run(Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(folder))?;
    }
    run(Command::new("npm")
        .args(["run", "--silent", "build"])
        .current_dir(folder))
}
