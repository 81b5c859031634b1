//! Programs of crates.io that make packages and check them: pinned, built once into a cache folder of ours.

use crate::shell::{cache, run, say, turn};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A crate with a program of its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// The feature that its program needs.
    feature: Option<&'static str>,
    /// Purpose of the tool, for the person who waits for it.
    why: &'static str,
}

pub(crate) const DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
    feature: None,
    why: "makes Debian packages",
};

pub(crate) const ABOUT: Tool = Tool {
    name: "cargo-about",
    version: "0.9.3",
    feature: Some("cli"),
    why: "gathers the licence texts of what is linked",
};

pub(crate) const CYCLONEDX: Tool = Tool {
    name: "cargo-cyclonedx",
    version: "0.5.9",
    feature: None,
    why: "lists what is linked, as a bill of materials",
};

pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    feature: None,
    why: "refuses licences and sources that deny.toml does not allow",
};

impl Tool {
    /// The program, built before if it is not there in this version.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        let Self {
            name,
            version,
            feature,
            why,
        } = self;
        let root = cache("cargo-tools")?;
        let binary = root.join("bin").join(name);
        if self.is_there() {
            return Ok(binary);
        }
        let _turn = turn(&root)?;
        if self.is_there() {
            return Ok(binary); // Another xtask was faster.
        }
        say(format!(
            "building {name} {version}, which {why} (some minutes, once)"
        ));
        let target = root.join("target");
        run(Command::new("cargo")
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&root)
            .arg("--target-dir")
            .arg(&target)
            .arg(format!("{name}@{version}"))
            .args(feature.map(|feature| format!("--features={feature}")))
            // Quick to build: each of them runs for a second or two.
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env_remove("RUSTFLAGS"))
        .with_context(|| {
            let feature = feature.map(|feature| format!(" --features {feature}"));
            format!(
                "by hand: cargo install --locked {name}@{version}{} --root {}",
                feature.unwrap_or_default(),
                root.display()
            )
        })?;
        Ok(binary)
    }

    /// `true` if it is installed in this version.
    fn is_there(self) -> bool {
        let Ok(root) = cache("cargo-tools") else {
            return false;
        };
        let installed = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
        let entry = format!("\"{} {} (", self.name, self.version);
        installed.contains(&entry) && root.join("bin").join(self.name).is_file()
    }
}
