//! A release build of the agent or the bridge for a target: its features, the flags that make its bytes the same in every
//! folder, and its symbols, which are taken off into a file of their own.

use super::git;
use super::targets::Target;
use super::tools::Tools;
use crate::args::Misuse;
use crate::shell::{Workspace, capture, run};
use anyhow::{Context, Result, anyhow};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Content of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// With the demo and its broker: what `cargo build` makes.
    Default,
    /// Without the demo: what gateways get.
    Full,
    /// Without the compiler of statements, too.
    Small,
    /// The serial bridge, which is a program of its own.
    Bridge,
}

impl Build {
    pub(crate) const ALL: [Self; 4] = [Self::Default, Self::Full, Self::Small, Self::Bridge];

    /// The name in rows of sizes and in options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Full => "full",
            Self::Small => "small",
            Self::Bridge => "bridge",
        }
    }

    /// The program, which has the name of its crate.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Default | Self::Full | Self::Small => "tidemill",
            Self::Bridge => "tidemill-bridge",
        }
    }

    /// The folder of its crate.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Default | Self::Full | Self::Small => "agent",
            Self::Bridge => "firmware-bridge",
        }
    }

    /// The build of this name, or misuse with all that there are.
    pub(crate) fn named(name: &str) -> Result<Self, Misuse> {
        let found = Self::ALL.into_iter().find(|build| build.name() == name);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::name).join(", ");
            Misuse(format!("{name} is no build; there are {all}"))
        })
    }

    /// Behind the target in names of files.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Default => "-default",
            Self::Full => "",
            Self::Small => "-small",
            Self::Bridge => "-bridge",
        }
    }

    /// Arguments of cargo that choose the features of its crate.
    pub(crate) fn features(self) -> &'static [&'static str] {
        match self {
            Self::Default | Self::Bridge => &[],
            Self::Full => &["--no-default-features", "--features=sql"],
            Self::Small => &["--no-default-features"],
        }
    }
}

/// A binary as it is shipped, and the same with its symbols.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) stripped: PathBuf,
    pub(crate) with_symbols: PathBuf,
}

/// Builds the program; both binaries lie in the target directory until the next build of the same target.
pub(crate) fn build(
    workspace: &Workspace,
    tools: &Tools,
    target: &Target,
    build: Build,
) -> Result<Binary> {
    let folder = workspace.target.join("dist");
    let mut zigbuild = tools.zigbuild("build", target);
    zigbuild
        .current_dir(&workspace.root)
        .args(["--locked", "--release", "--package", build.program()])
        .args(build.features())
        .args(["--config", "profile.release.strip=\"none\""])
        .arg("--target-dir")
        .arg(&folder)
        .env("SOURCE_DATE_EPOCH", commit_time(workspace)?)
        .env("RUSTFLAGS", rust_flags(workspace, target))
        .env("CFLAGS", c_flags(workspace));
    run(&mut zigbuild)?;
    let release = folder.join(target.name).join("release");
    let with_symbols = release.join(build.program());
    let stripped = release.join(format!("tidemill{}.stripped", build.suffix()));
    strip(workspace, &with_symbols, &stripped)?;
    Ok(Binary {
        stripped,
        with_symbols,
    })
}

/// Takes symbols off by the program that rustc itself brings for that; it knows every target.
fn strip(workspace: &Workspace, from: &Path, to: &Path) -> Result<()> {
    let rustc = |what: &str| {
        let mut rustc = Command::new("rustc");
        let said = capture(rustc.args(["--print", what]).current_dir(&workspace.root));
        said.map(|path| PathBuf::from(path.trim()))
    };
    let of_host = rustc("target-libdir")?;
    let objcopy = of_host.parent().map(|at| at.join("bin/rust-objcopy"));
    let objcopy = objcopy.filter(|path| path.is_file()).ok_or_else(|| {
        anyhow!(
            "the toolchain lacks rust-objcopy, which comes with rustc; install the toolchain anew"
        )
    })?;
    // Written aside: a run that is interrupted leaves nothing that looks whole.
    let fresh = to.with_extension("new");
    run(Command::new(objcopy)
        .arg("--strip-all")
        .arg(from)
        .arg(&fresh)
        // The folder of rustc's LLVM, too.
        .env("LD_LIBRARY_PATH", rustc("sysroot")?.join("lib")))?;
    fs::rename(&fresh, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Seconds of the commit, which stand for the time of all that is made from it.
pub(crate) fn commit_time(workspace: &Workspace) -> Result<String> {
    git(workspace, &["log", "-1", "--format=%ct"])
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
