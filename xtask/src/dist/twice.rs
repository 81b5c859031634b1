//! `cargo xtask dist --twice`: the same commit built from two clones in folders of different names, with registries of
//! their own, and compared byte for byte.

use super::build::Build;
use super::targets::Target;
use super::{git, remove};
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of different lengths: a path that got into a binary would show.
const CLONES: [&str; 2] = ["a", "another-clone"];

/// Builds each twice; fails, with the names of what differs, unless all bytes are the same.
pub(super) fn twice(workspace: &Workspace, wanted: &[(&'static Target, Build)]) -> Result<()> {
    if !git(workspace, &["status", "--porcelain"])?.is_empty() {
        say("what is not committed is in neither of both builds");
    }
    let place = workspace.target.join("twice");
    remove(&place)?;
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let mut outcomes = Vec::new();
    for name in CLONES {
        say(format!("── clone {name}"));
        let out = clone_and_build(workspace, &place.join(name), wanted)?;
        outcomes.push(bytes_below(&out, &out)?);
    }
    let [one, other] = &*outcomes else {
        bail!("there should be two builds");
    };
    let differ = differences(one, other);
    if !differ.is_empty() {
        bail!(
            "not the same bytes: {}; both builds are kept in {}",
            differ.join(", "),
            place.display()
        );
    }
    for name in one.keys() {
        say(format!("same bytes twice: {}", name.display()));
    }
    remove(&place)
}

/// Clones, builds with a fresh `CARGO_HOME` in a folder beside, and returns where the results are.
fn clone_and_build(
    workspace: &Workspace,
    clone: &Path,
    wanted: &[(&'static Target, Build)],
) -> Result<PathBuf> {
    run(Command::new("git")
        .args(["clone", "--quiet", "--no-hardlinks"])
        .arg(&workspace.root)
        .arg(clone))?;
    let out = clone.join("dist");
    let mut dist = Command::new("cargo");
    dist.current_dir(clone)
        .args(["xtask", "dist", "--out"])
        .arg(&out)
        .env("CARGO_HOME", clone.with_extension("cargo"))
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_TARGET_DIR");
    let only = wanted.first().map(|(_, build)| *build);
    let only = only.filter(|only| wanted.iter().all(|(_, build)| build == only));
    if let Some(build) = only {
        dist.args(["--only", build.name()]);
    }
    for (target, build) in wanted {
        match build {
            Build::Small if only.is_none() => dist.arg("--small"),
            Build::Bridge if only.is_none() => &mut dist, // It goes along with each target.
            _ => dist.args(["--target", target.name]),
        };
    }
    settings(&clone.with_extension("cargo"))?;
    run(&mut dist)?;
    Ok(out)
}

/// Gives a fresh `CARGO_HOME` the settings of ours: a registry's mirror, for one.
fn settings(fresh: &Path) -> Result<()> {
    fs::create_dir_all(fresh)?;
    let home = std::env::home_dir().unwrap_or_default();
    let ours = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let config = ours.join("config.toml");
    if config.is_file() {
        fs::copy(config, fresh.join("config.toml"))?;
    }
    Ok(())
}

/// All files below a folder, by their paths in it.
fn bytes_below(root: &Path, folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            files.append(&mut bytes_below(root, &path)?);
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(files)
}

/// Names of the files that are in one only, or have other bytes.
fn differences(
    one: &BTreeMap<PathBuf, Vec<u8>>,
    other: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    differ.map(|name| name.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_or_is_missing_is_named() {
        let files = |pairs: &[(&str, &[u8])]| -> BTreeMap<PathBuf, Vec<u8>> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, bytes)| (PathBuf::from(name), bytes.to_vec()))
                .collect()
        };
        let one = files(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        assert!(differences(&one, &one).is_empty());
        let other = files(&[("a", b"1"), ("b", b"x")]);
        assert_eq!(differences(&one, &other), ["b", "c"]);
    }
}
