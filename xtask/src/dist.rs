//! `cargo xtask dist`: the agent for every board, each as a binary and as an archive, with checksums and
//! what they were made from. Nothing is left in `dist/` of a build that failed.

mod binary;
mod sizes;
pub(crate) mod targets;
pub(crate) mod tools;

use crate::args::Args;
use crate::setup;
use crate::shell::{Workspace, capture, run, say};
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use targets::{TARGETS, Target};
use tools::Tools;

/// The text of `cargo xtask dist --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask dist [OPTIONS] [TARGET…]

  TARGET      which of the targets of docs/development.md to build (default all)
  --out DIR   where to (default dist)

Builds the agent without its demo: DIR/TARGET/tidemill, DIR/tidemill-VERSION-TARGET.tar.gz, DIR/SHA256SUMS
and DIR/TARGET/build.txt, which says what it was made from. Installs zig and cargo-zigbuild (PyPI, in a
cache folder) and the targets' standard libraries. Fails when a binary is larger than its row in
docs/performance.md, and lowers the row when it is smaller.

Exit codes: 0 built, 1 failed, 2 wrong use
";

/// Builds what was asked for.
pub(crate) fn dist(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &[], &["out"])?;
    let wanted = chosen(&args.words)?;
    let out = workspace.root.join(args.text("out").unwrap_or("dist"));
    let tools = Tools::ensure()?;
    for target in &wanted {
        setup::for_target(workspace, target.name)?;
    }
    let version = version(workspace)?;
    let mut rows = Vec::new();
    for (number, target) in wanted.iter().enumerate() {
        let name = target.name;
        say(format!("── {name} ({} of {})", number + 1, wanted.len()));
        let built = build(workspace, &tools, target).with_context(|| name.to_owned())?;
        binary::check(&built, target).with_context(|| name.to_owned())?;
        let bytes = fs::metadata(&built)?.len();
        pack(workspace, &tools, target, &built, &version, &out)?;
        rows.push((*target, bytes));
    }
    checksums(&out)?;
    for (target, bytes) in &rows {
        say(format!(
            "{:<32} {:>6.2} MB",
            target.name,
            *bytes as f64 / 1e6
        ));
    }
    sizes::guard(workspace, &rows)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let known = |name: &String| Ok(Target::named(name)?);
    names.iter().map(known).collect()
}

/// The binary, built without what only people at a desk need.
fn build(workspace: &Workspace, tools: &Tools, target: &Target) -> Result<PathBuf> {
    let folder = workspace.target.join("dist");
    let package = [
        "--locked",
        "--release",
        "--package=tidemill",
        "--no-default-features",
        "--features=sql",
    ];
    let mut zigbuild = tools.zigbuild("build", target);
    zigbuild
        .current_dir(&workspace.root)
        .args(package)
        .arg("--target-dir")
        .arg(&folder)
        .env("SOURCE_DATE_EPOCH", commit_time(workspace)?)
        .env("RUSTFLAGS", rust_flags(workspace, target))
        .env("CFLAGS", c_flags(workspace));
    run(&mut zigbuild)?;
    Ok(folder.join(target.name).join("release/tidemill"))
}

/// Paths of this machine and what they are called in the binary.
fn paths(workspace: &Workspace) -> Vec<(PathBuf, &'static str)> {
    let home = env::home_dir().unwrap_or_default();
    let cargo = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    vec![(workspace.root.clone(), "/tidemill"), (cargo, "/cargo")]
}

fn rust_flags(workspace: &Workspace, target: &Target) -> String {
    let mut flags: Vec<_> = paths(workspace)
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .collect();
    if target.is_static() {
        // zig brings musl's start files; those of rustup's targets would come on top of them.
        flags.push("-Clink-self-contained=no".to_owned());
    }
    flags.join(" ")
}

fn c_flags(workspace: &Workspace) -> String {
    let prefixes = paths(workspace);
    let flags = prefixes
        .iter()
        .map(|(path, name)| format!("-ffile-prefix-map={}={name}", path.display()));
    flags.collect::<Vec<_>>().join(" ")
}

/// Puts binary and archive into `out`, each whole or not at all.
fn pack(
    workspace: &Workspace,
    tools: &Tools,
    target: &Target,
    built: &Path,
    version: &str,
    out: &Path,
) -> Result<()> {
    let name = format!("tidemill-{version}-{}", target.name);
    let fresh = out.join(format!(".{name}.new"));
    remove(&fresh)?;
    let inside = fresh.join(&name);
    fs::create_dir_all(&inside).with_context(|| format!("cannot make {}", inside.display()))?;
    fs::copy(built, inside.join("tidemill"))?;
    for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"] {
        fs::copy(workspace.root.join(file), inside.join(file))?;
    }
    fs::write(
        inside.join("build.txt"),
        made_from(workspace, tools, target, version)?,
    )?;
    let archive = fresh.join(format!("{name}.tar.gz"));
    run(Command::new("tar")
        .current_dir(&fresh)
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip -9 -n"])
        .arg(format!("--mtime=@{}", commit_time(workspace)?))
        .arg("-cf")
        .arg(&archive)
        .arg(&name))?;
    let place = out.join(target.name);
    remove(&place)?;
    fs::create_dir_all(&place)?;
    fs::rename(inside.join("tidemill"), place.join("tidemill"))?;
    fs::rename(inside.join("build.txt"), place.join("build.txt"))?;
    fs::rename(&archive, out.join(format!("{name}.tar.gz")))?;
    remove(&fresh)
}

/// Lists all that the bytes of a binary depend on besides the sources.
fn made_from(
    workspace: &Workspace,
    tools: &Tools,
    target: &Target,
    version: &str,
) -> Result<String> {
    let commit = git(workspace, &["rev-parse", "HEAD"])?;
    let changed = !git(workspace, &["status", "--porcelain"])?.is_empty();
    let rustc = capture(Command::new("rustc").arg("-V").current_dir(&workspace.root))?;
    let origin = setup::origin_of_std(workspace, target.name)?;
    Ok(format!(
        "tidemill {version} for {}\ncommit {commit}{}\n{}\nstd: {origin}\n{}\n",
        target.name,
        if changed { " with changes" } else { "" },
        rustc.trim(),
        tools.versions()?,
    ))
}

fn checksums(out: &Path) -> Result<()> {
    let mut archives: Vec<_> = fs::read_dir(out)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tar.gz"))
        .collect();
    archives.sort();
    let sums = capture(Command::new("sha256sum").current_dir(out).args(&archives))?;
    fs::write(out.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")
}

fn version(workspace: &Workspace) -> Result<String> {
    let id = capture(&mut workspace.cargo(&["pkgid", "--package", "tidemill"]))?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or_default();
    Ok(version.to_owned())
}

fn commit_time(workspace: &Workspace) -> Result<String> {
    git(workspace, &["log", "-1", "--format=%ct"])
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
