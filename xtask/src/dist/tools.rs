//! zig and cargo-zigbuild from PyPI, pinned, in a virtual environment of ours: a C compiler and linker
//! for every target, and for any version of glibc.

use super::targets::Target;
use crate::setup;
use crate::setup::python::Packages;
use crate::shell::capture;
use anyhow::Result;
use std::env;
use std::path::PathBuf;
use std::process::Command;

const PACKAGES: Packages = Packages {
    folder: "cross-tools",
    names: &["ziglang==0.17.1", "cargo-zigbuild==0.24.1"],
    what: "zig and cargo-zigbuild (about 100 MB)",
};

/// The installed tools.
pub(crate) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        setup::for_cross_tools()?;
        let bin = PACKAGES.ensure()?;
        Ok(Self { bin })
    }

    /// `cargo zigbuild` or its like for `target`, with no flags of the caller's.
    pub(crate) fn zigbuild(&self, verb: &str, target: &Target) -> Command {
        let mut command = Command::new(self.bin.join("cargo-zigbuild"));
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.bin.clone()).chain(env::split_paths(&path));
        // Paths that came from PATH have no colon in them.
        command.env("PATH", env::join_paths(folders).unwrap_or(path.clone()));
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        let glibc = target.glibc.map(|version| format!(".{version}"));
        let triple = format!("{}{}", target.name, glibc.unwrap_or_default());
        command.args([
            if verb == "build" { "zigbuild" } else { verb },
            "--target",
            &triple,
        ]);
        command
    }

    /// zig itself, as a C compiler for any target.
    pub(crate) fn zig(&self) -> Command {
        let mut command = Command::new(self.bin.join("python"));
        command.args(["-m", "ziglang"]);
        command
    }

    /// Versions of both, as a build's manifest has them.
    pub(crate) fn versions(&self) -> Result<String> {
        let list = capture(Command::new(self.bin.join("pip")).args(["list", "--format=freeze"]))?;
        let ours = |line: &&str| PACKAGES.names.iter().any(|package| package == line);
        Ok(list.lines().filter(ours).collect::<Vec<_>>().join("\n"))
    }
}
