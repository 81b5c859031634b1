//! zig and cargo-zigbuild from PyPI, pinned, in a virtual environment of ours: a C compiler and linker
//! for every target, and for any version of glibc.

use super::targets::Target;
use crate::setup;
use crate::shell::{cache, capture, run, say, turn};
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PACKAGES: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.1"];

/// The installed tools.
pub(crate) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Installs what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        let cache = cache("cross-tools")?;
        let _turn = turn(&cache)?;
        let venv = cache.join("venv");
        let bin = venv.join("bin");
        // Written last: a set-up that was interrupted begins anew.
        let mark = cache.join("installed");
        let wanted = PACKAGES.join("\n");
        if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
            return Ok(Self { bin });
        }
        setup::for_cross_tools()?;
        say("installing zig and cargo-zigbuild from PyPI (about 100 MB)");
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv))?;
        run(Command::new(bin.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(PACKAGES))
        .context("zig and cargo-zigbuild could not be installed")?;
        fs::write(mark, wanted)?;
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
        let ours = |line: &&str| PACKAGES.iter().any(|package| package == line);
        Ok(list.lines().filter(ours).collect::<Vec<_>>().join("\n"))
    }
}
