//! One package: what `dist` built is laid where cargo-deb looks for it, and the crate's Cargo.toml says where each file goes.

use super::Arch;
use crate::dist::build::Build;
use crate::dist::extras::{LICENCES, materials_of};
use crate::setup::cargo_tools::DEB;
use crate::shell::{Workspace, capture, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that a package bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Version of the sources.
    Own,
    /// A higher one of the same content, to upgrade to in a trial.
    Higher,
}

/// Files and folders of `dist/TARGET` that go into a package.
fn parts(program: Build) -> [String; 7] {
    let name = program.program();
    [
        name.to_owned(),
        "build.txt".to_owned(),
        format!("{name}.service"),
        LICENCES.to_owned(),
        materials_of(program),
        "man".to_owned(),
        "completions".to_owned(),
    ]
}

/// Makes the package and returns its path: in `dist`, or of a higher version in the target directory.
pub(super) fn make(
    workspace: &Workspace,
    dist: &Path,
    (arch, program): (&Arch, Build),
    version: Version,
) -> Result<PathBuf> {
    let stage = workspace.target.join("packages");
    let built = format!("{}{}", arch.target, program.suffix());
    let laid = stage.join(arch.target).join("release");
    lay(&dist.join(built), &laid, program).with_context(|| {
        let target = arch.target;
        format!("`cargo xtask dist {target}` builds what goes into the package")
    })?;
    let out = match version {
        Version::Own => dist.to_owned(),
        Version::Higher => stage.join("higher"),
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let number = number(workspace, version)?;
    let file = out.join(format!(
        "{}_{number}_{}.deb",
        arch.package(program),
        arch.debian
    ));
    // Written aside: a run that is interrupted leaves nothing that looks whole.
    let fresh = out.join(format!(".{}{}.new", arch.name, program.suffix()));
    let mut deb = Command::new(DEB.ensure()?);
    deb.current_dir(&workspace.root)
        .args(["--no-build", "--no-strip", "--quiet", "--locked"])
        .args(["--package", program.program(), "--target", arch.target])
        .args(["--deb-version", &number])
        .arg("--output")
        .arg(&fresh)
        .env("CARGO_TARGET_DIR", &stage)
        .env("SOURCE_DATE_EPOCH", time(workspace)?);
    if let Some(variant) = arch.variant {
        deb.args(["--variant", variant]);
    }
    run(&mut deb)?;
    let is = capture(
        Command::new("dpkg-deb")
            .args(["--field"])
            .arg(&fresh)
            .arg("Architecture"),
    )?;
    if is.trim() != arch.debian {
        bail!("the package is of {}, not of {}", is.trim(), arch.debian);
    }
    fs::rename(&fresh, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Copies what `dist` built to where cargo-deb looks for it.
fn lay(from: &Path, to: &Path, program: Build) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for part in parts(program) {
        let part = from.join(part);
        if !part.exists() {
            bail!("{} is missing", part.display());
        }
        run(Command::new("cp").arg("-a").arg(&part).arg(to))?;
    }
    let pages = fs::read_dir(to.join("man"))?;
    let pages: Vec<_> = pages
        .map(|page| page.map(|page| page.path()))
        .collect::<Result<_, _>>()?;
    run(Command::new("gzip").arg("-9n").args(pages))
}

fn number(workspace: &Workspace, version: Version) -> Result<String> {
    let own = crate::dist::version(workspace)?;
    Ok(match version {
        Version::Own => format!("{own}-1"),
        Version::Higher => format!("{own}-2"),
    })
}

fn time(workspace: &Workspace) -> Result<String> {
    crate::dist::build::commit_time(workspace)
}
