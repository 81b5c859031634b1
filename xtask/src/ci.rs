//! `cargo xtask ci`: everything that has to hold before a change lands, one named and timed step
//! after the other; the first that fails ends it.

use crate::lint;
use crate::nab;
use crate::setup::{self, WASM};
use crate::shell::{Workspace, capture, program, run, say};
use crate::test::{self, NESTED};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Instant;

type Step = fn(&Workspace) -> Result<()>;

const STEPS: [(&str, Step); 9] = [
    ("set-up", setup::for_ci),
    ("formatting", formatting),
    ("sizes and bare integers", lint::lint),
    ("lints", lints),
    ("tests", |workspace| test::test(workspace, false, true)),
    ("anomalies in examples/nab", |workspace| {
        nab::nab(workspace, &["--check".to_owned()])
    }),
    ("demo", demo),
    ("documentation", documentation),
    ("dependencies", dependencies),
];

/// Runs all steps.
pub(crate) fn ci(workspace: &Workspace) -> Result<()> {
    let begun = Instant::now();
    for (name, step) in STEPS {
        say(format!("── {name}"));
        let begun = Instant::now();
        step(workspace).with_context(|| format!("{name} failed"))?;
        say(format!(
            "── {name}: passed in {} s",
            begun.elapsed().as_secs()
        ));
    }
    say(format!("all passed in {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn formatting(workspace: &Workspace) -> Result<()> {
    let folders = [
        ".",
        "agent/fuzz",
        "firmware-bridge/fuzz",
        "rules/sdk",
        "rules/sql/fuzz",
        "rules/stock",
        "examples/rust-filter",
        "examples/receiver",
    ];
    for folder in folders {
        let mut fmt = workspace.cargo(&["fmt", "--all", "--check"]);
        run(fmt.current_dir(workspace.root.join(folder)))?;
    }
    Ok(())
}

fn lints(workspace: &Workspace) -> Result<()> {
    let deny = ["--", "-D", "warnings"];
    // The same packages twice, so that what they depend on is compiled once: with the faults for
    // tests and all that tests, then the small build for gateways.
    let with_faults = ["--all-targets", "--features", "tidemill/sabotage"];
    for targets in [
        &with_faults[..],
        &["--lib", "--bins", "--no-default-features"],
    ] {
        run(workspace
            .cargo(&["clippy", "--workspace"])
            .args(targets)
            .args(deny))?;
    }
    let receiver = [("examples/receiver", "--package=receiver")];
    for (folder, crates) in NESTED.into_iter().chain(receiver) {
        let mut clippy = workspace.nested_cargo(folder, &["clippy", crates, "--all-targets"]);
        run(clippy.args(deny))?;
    }
    if program("c++").is_some() {
        for folder in ["agent/fuzz", "firmware-bridge/fuzz", "rules/sql/fuzz"] {
            // In our own target folder, where most of what they depend on has just been checked.
            let mut clippy = workspace.cargo(&["clippy", "--all-targets", "--target-dir"]);
            clippy.arg(&workspace.target).args(deny);
            run(clippy.current_dir(workspace.root.join(folder)))?;
        }
    } else {
        say("SKIPPED: the fuzz targets need a C++ compiler, for libFuzzer (apt-get install g++)");
    }
    setup::for_guests(workspace)?;
    for folder in ["rules/stock", "examples/rust-filter"] {
        let mut clippy = workspace.nested_cargo(folder, &["clippy", "--release", "--target", WASM]);
        run(clippy.args(deny))?;
    }
    Ok(())
}

/// The demo of the binary that the tests have just run: another selection of packages compiles what they
/// depend on anew, and a fat release build takes minutes.
fn demo(workspace: &Workspace) -> Result<()> {
    let agent = workspace.target.join("debug/tidemill");
    run(Command::new(agent).args(["demo", "--for", "5s"]))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Licences, bans, sources and known faults of all that is shipped; deny.toml says what is accepted and why.
fn dependencies(workspace: &Workspace) -> Result<()> {
    if capture(&mut workspace.cargo(&["deny", "--version"])).is_err() {
        say("SKIPPED: cargo-deny is not installed (cargo install cargo-deny --locked)");
        return Ok(());
    }
    let mut checks = vec!["bans", "licenses", "sources"];
    match capture(&mut workspace.cargo(&["deny", "fetch", "db"])) {
        Ok(_) => checks.push("advisories"),
        Err(error) => say(format!(
            "SKIPPED: advisories, because their database cannot be fetched here; those that the last review \
             accepted stand in deny.toml: {error:#}"
        )),
    }
    run(workspace.cargo(&["deny", "check"]).args(&checks))?;
    let config = workspace.root.join("deny.toml");
    for folder in ["rules/stock", "rules/sdk", "examples/receiver"] {
        let mut deny = workspace.cargo(&["deny", "--config"]);
        // An advisory accepted for the agent need not be in all of them.
        deny.arg(&config).args(["check", "--allow"]);
        deny.arg("advisory-not-detected").args(&checks);
        run(deny.current_dir(workspace.root.join(folder)))?;
    }
    Ok(())
}
