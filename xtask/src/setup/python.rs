//! Programs and libraries of PyPI, pinned, each set in a virtual environment of its own in a cache folder of ours.

use super::apt::{self, Package};
use crate::shell::{cache, capture, run, say, turn};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const VENV: &[Package] = &[Package {
    name: "python3-venv",
    program: "python3",
    why: "holds packages of PyPI apart from the system",
}];

/// A set of packages.
pub(crate) struct Packages {
    /// The folder in the cache.
    pub(crate) folder: &'static str,
    /// Packages with their versions.
    pub(crate) names: &'static [&'static str],
    /// What is being installed, for the person who waits for it.
    pub(crate) what: &'static str,
}

/// Peers that the bridge is tried against.
pub(super) const PEERS: Packages = Packages {
    folder: "peers",
    names: &["pymodbus[serial]==3.16.1"],
    what: "pymodbus, whose units the bridge is tried against",
};

impl Packages {
    /// Installs what is missing; returns the folder of its programs.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let cache = cache(self.folder)?;
        let _turn = turn(&cache)?;
        let venv = cache.join("venv");
        let bin = venv.join("bin");
        // Written last: a set-up that was interrupted begins anew.
        let mark = cache.join("installed");
        let wanted = self.names.join("\n");
        if fs::read_to_string(&mark).is_ok_and(|have| have == wanted) {
            return Ok(bin);
        }
        // Debian's python3 has the module only with this package.
        apt::ensure_unless(VENV, |package| {
            capture(Command::new(package.program).args(["-c", "import ensurepip"])).is_ok()
        })?;
        say(format!("installing {} from PyPI", self.what));
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv))?;
        run(Command::new(bin.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(self.names))
        .with_context(|| format!("{} could not be installed", self.what))?;
        fs::write(mark, wanted)?;
        Ok(bin)
    }
}

/// Installs the peers of the bridge. Its tests say which one they lack, and are passed over.
pub(super) fn peers() {
    if let Err(error) = PEERS.ensure() {
        say(format!(
            "some tests of the bridge will be SKIPPED: {error:#}"
        ));
    }
}
