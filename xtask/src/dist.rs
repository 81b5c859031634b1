//! `cargo xtask dist`: the agent and the serial bridge for every board, each as a binary and as an archive, with checksums and
//! what they were made from. Nothing is left in `dist/` of a build that failed.

mod binary;
pub(crate) mod build;
pub(crate) mod extras;
mod pack;
pub(crate) mod sizes;
pub(crate) mod symbols;
pub(crate) mod targets;
pub(crate) mod tools;
mod twice;

use crate::args::Args;
use crate::setup;
use crate::setup::cargo_tools::DENY;
use crate::shell::{Workspace, capture, run, say};
use anyhow::{Context, Result};
use build::Build;
use sizes::Size;
use std::fs;
use std::path::Path;
use std::process::Command;
use targets::{TARGETS, Target};
use tools::Tools;

/// The text of `cargo xtask dist --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask dist [OPTIONS] [TARGET…]

  TARGET        which of the targets of docs/development.md to build (default all); or --target TARGET
  --small       the small build as well, which has no SQL; without TARGETs that of the static ones
  --only B      full, small or bridge alone
  --twice       two clones, each with a registry of its own, whose results must have the same bytes
  --out DIR     where to (default dist)

Builds the agent without its demo: DIR/TARGET with the binary, manual pages, completions, the service,
licence texts, bill of materials, and build.txt, which says what it was made from; the same as an archive,
DIR/tidemill-VERSION-TARGET.tar.gz; DIR/SHA256SUMS. Small builds have -small behind TARGET, those of the serial
bridge -bridge. Installs zig and
cargo-zigbuild (PyPI), cargo-about, cargo-cyclonedx and cargo-deny (crates.io) in a cache folder, and the
targets' standard libraries. Fails when deny.toml does not allow a licence or source, and when a binary is
larger than its row in docs/performance.md; lowers the row when it is smaller.

Exit codes: 0 built, 1 failed, 2 wrong use
";

/// Builds what was asked for.
pub(crate) fn dist(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(
        words.iter().cloned(),
        &["small", "twice"],
        &["out", "target", "only"],
    )?;
    let wanted = chosen(&args)?;
    if args.flag("twice") {
        return twice::twice(workspace, &wanted);
    }
    let out = workspace.root.join(args.text("out").unwrap_or("dist"));
    let tools = Tools::ensure()?;
    for (target, _) in &wanted {
        setup::for_target(workspace, target.name)?;
    }
    allowed(workspace)?;
    let version = version(workspace)?;
    let mut sizes = Vec::new();
    for (number, (target, build)) in wanted.iter().enumerate() {
        let name = format!("{} ({})", target.name, build.name());
        say(format!("── {name}, {} of {}", number + 1, wanted.len()));
        let bytes =
            one(workspace, &tools, (target, *build), &version, &out).with_context(|| name)?;
        sizes.push(Size {
            target,
            build: *build,
            bytes,
        });
    }
    pack::checksums(&out)?;
    for Size {
        target,
        build,
        bytes,
    } in &sizes
    {
        let megabytes = *bytes as f64 / 1e6;
        say(format!(
            "{:<32} {:<6} {megabytes:>6.2} MB",
            target.name,
            build.name()
        ));
    }
    sizes::guard(workspace, &sizes)
}

/// Fails on a licence, crate or source that deny.toml does not allow.
fn allowed(workspace: &Workspace) -> Result<()> {
    let mut deny = Command::new(DENY.ensure()?);
    run(deny.current_dir(&workspace.root).args([
        "--log-level=error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
    .context("what deny.toml does not allow is not shipped")
}

/// Builds, checks and packs one binary, and returns its size.
fn one(
    workspace: &Workspace,
    tools: &Tools,
    wanted: (&'static Target, Build),
    version: &str,
    out: &Path,
) -> Result<u64> {
    let (target, build) = wanted;
    let built = build::build(workspace, tools, target, build)?.stripped;
    binary::check(&built, target)?;
    let bytes = fs::metadata(&built)?.len();
    let made = pack::Made {
        target,
        build,
        version,
        binary: &built,
    };
    pack::pack(workspace, tools, &made, out)?;
    Ok(bytes)
}

/// The targets that were named, or all, each with its builds.
fn chosen(args: &Args) -> Result<Vec<(&'static Target, Build)>> {
    let names: Vec<_> = args.words.iter().chain(args.all("target")).collect();
    let targets: Vec<&'static Target> = if names.is_empty() {
        TARGETS.iter().collect()
    } else {
        names
            .iter()
            .map(|name| Target::named(name))
            .collect::<Result<_, _>>()?
    };
    let has_small =
        |target: &Target| args.flag("small") && (!names.is_empty() || target.is_static());
    let only = args.text("only").map(Build::named).transpose()?;
    let mut wanted = Vec::new();
    for target in targets {
        let builds = match only {
            Some(build) => vec![build],
            None if has_small(target) => vec![Build::Full, Build::Small, Build::Bridge],
            None => vec![Build::Full, Build::Bridge],
        };
        wanted.extend(builds.into_iter().map(|build| (target, build)));
    }
    Ok(wanted)
}

/// The version of the agent.
pub(crate) fn version(workspace: &Workspace) -> Result<String> {
    let id = capture(&mut workspace.cargo(&["pkgid", "--package", "tidemill"]))?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or_default();
    Ok(version.to_owned())
}

fn git(workspace: &Workspace, args: &[&str]) -> Result<String> {
    let said = capture(Command::new("git").current_dir(&workspace.root).args(args))?;
    Ok(said.trim().to_owned())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
