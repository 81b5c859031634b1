//! Archives: what stands in them, in an order and with times that are the same in every run.

use super::build::{Build, commit_time};
use super::targets::Target;
use super::tools::Tools;
use super::{extras, git, remove};
use crate::setup;
use crate::shell::{Workspace, capture, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Files of the sources that go along, beside the service.
const FILES: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// A binary that was built, and from what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) target: &'a Target,
    pub(super) build: Build,
    pub(super) version: &'a str,
    pub(super) binary: &'a Path,
}

impl Made<'_> {
    /// The target, and the build unless it is the full one.
    fn name(&self) -> String {
        format!("{}{}", self.target.name, self.build.suffix())
    }
}

/// Puts binary and archive into `out`, each whole or not at all.
pub(super) fn pack(
    workspace: &Workspace,
    tools: &Tools,
    made: &Made<'_>,
    out: &Path,
) -> Result<()> {
    let name = format!("tidemill-{}-{}", made.version, made.name());
    let fresh = out.join(format!(".{name}.new"));
    remove(&fresh)?;
    let inside = fresh.join(&name);
    fs::create_dir_all(&inside).with_context(|| format!("cannot make {}", inside.display()))?;
    let program = made.build.program();
    fs::copy(made.binary, inside.join(program))?;
    extras::write(workspace, made.target, made.build, &inside)?;
    let service = format!("packaging/deb/{program}.service");
    for file in FILES.into_iter().chain([&*service]) {
        let path = workspace.root.join(file);
        let own = path.file_name().unwrap_or_default();
        fs::copy(&path, inside.join(own)).with_context(|| format!("cannot copy {file}"))?;
    }
    fs::write(inside.join("build.txt"), made_from(workspace, tools, made)?)?;
    let archive = fresh.join(format!("{name}.tar.gz"));
    run(Command::new("tar")
        .current_dir(&fresh)
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mode=u=rwX,go=rX", "--use-compress-program=gzip -9 -n"])
        .arg(format!("--mtime=@{}", commit_time(workspace)?))
        .arg("-cf")
        .arg(&archive)
        .arg(&name))?;
    let place = out.join(made.name());
    remove(&place)?;
    fs::rename(&inside, &place)?;
    fs::rename(&archive, out.join(format!("{name}.tar.gz")))?;
    remove(&fresh)
}

/// Lists all that the bytes of a binary depend on besides the sources.
fn made_from(workspace: &Workspace, tools: &Tools, made: &Made<'_>) -> Result<String> {
    let Made {
        target, version, ..
    } = made;
    let commit = git(workspace, &["rev-parse", "HEAD"])?;
    let changed = !git(workspace, &["status", "--porcelain"])?.is_empty();
    let rustc = capture(Command::new("rustc").arg("-V").current_dir(&workspace.root))?;
    let origin = setup::origin_of_std(workspace, target.name)?;
    Ok(format!(
        "tidemill {version} for {}, {} build\ncommit {commit}{}\n{}\nstd: {origin}\n{}\n",
        target.name,
        made.build.name(),
        if changed { " with changes" } else { "" },
        rustc.trim(),
        tools.versions()?,
    ))
}

pub(super) fn checksums(out: &Path) -> Result<()> {
    let mut archives: Vec<_> = fs::read_dir(out)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tar.gz"))
        .collect();
    archives.sort();
    let sums = capture(Command::new("sha256sum").current_dir(out).args(&archives))?;
    fs::write(out.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")
}
