//! `cargo xtask packages`: Debian packages of what `cargo xtask dist` has built, and their trial in roots of Debian.

mod deb;
mod roots;
mod trial;

use crate::args::{Args, Misuse};
use crate::dist::build::Build;
use crate::shell::{Workspace, say};
use anyhow::{Context, Result};
use std::path::Path;

/// The text of `cargo xtask packages --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask packages [OPTIONS]

  --arch A     amd64, arm64, armhf or armv6; may be given several times (default: all that dist/ has)
  --only P     tidemill or tidemill-bridge alone
  --test       then try them in roots of Debian: installs, runs, upgrades, downgrades, removes, purges. As root
  --suite S    bookworm or trixie; may be given several times (default: both)
  --dist DIR   where `cargo xtask dist` has put its results, and the packages go (default dist)

Makes DIR/tidemill_VERSION_ARCH.deb and DIR/tidemill-bridge_VERSION_ARCH.deb; armv6 is
tidemill-armv6_VERSION_armhf.deb and tidemill-bridge-armv6_VERSION_armhf.deb, which are static. Installs
cargo-deb (crates.io, in a cache folder); for --test mmdebstrap and qemu-user-static. Roots are made once, some
minutes each, and kept in the cache folder.

Exit codes: 0 made, and every trial passed; 1 failed; 2 wrong use
";

/// A package, and what of `dist/` goes into it.
#[derive(Debug)]
pub(crate) struct Arch {
    /// The name for `--arch`.
    name: &'static str,
    /// Debian's name of the architecture.
    debian: &'static str,
    /// The name that rustc uses for the target.
    target: &'static str,
    /// What stands behind the program's name in the package's.
    suffix: &'static str,
    /// The variant in the crate's Cargo.toml, unless it is the plain one.
    variant: Option<&'static str>,
    /// The emulator's name in `binfmt_misc`, of architectures that are not this machine's.
    emulator: Option<&'static str>,
}

impl Arch {
    fn package(&self, program: Build) -> String {
        format!("{}{}", program.program(), self.suffix)
    }
}

/// Programs that have packages.
const PROGRAMS: [Build; 2] = [Build::Full, Build::Bridge];

const ARCHES: [Arch; 4] = [
    Arch {
        name: "amd64",
        debian: "amd64",
        target: "x86_64-unknown-linux-gnu",
        suffix: "",
        variant: None,
        emulator: None,
    },
    Arch {
        name: "arm64",
        debian: "arm64",
        target: "aarch64-unknown-linux-gnu",
        suffix: "",
        variant: None,
        emulator: Some("qemu-aarch64"),
    },
    Arch {
        name: "armhf",
        debian: "armhf",
        target: "armv7-unknown-linux-gnueabihf",
        suffix: "",
        variant: Some("armhf"),
        emulator: Some("qemu-arm"),
    },
    Arch {
        name: "armv6",
        debian: "armhf",
        target: "arm-unknown-linux-musleabihf",
        suffix: "-armv6",
        variant: Some("armv6"),
        emulator: Some("qemu-arm"),
    },
];

/// Debian's suites that packages are tried in.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Makes the packages that were asked for, and tries them.
pub(crate) fn packages(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(
        words.iter().cloned(),
        &["test"],
        &["arch", "suite", "dist", "only"],
    )?;
    args.no_words()?;
    let dist = workspace.root.join(args.text("dist").unwrap_or("dist"));
    let wanted = chosen(&args, &dist)?;
    let suites = suites(&args)?;
    if args.flag("test") {
        // Before anything is built: what cannot be tried here is said at once.
        for arch in &wanted {
            roots::possible(arch)?;
        }
    }
    let programs = programs(&args)?;
    let packages = wanted
        .iter()
        .flat_map(|arch| programs.iter().map(|program| (*arch, *program)));
    for (arch, program) in packages.clone() {
        let package = deb::make(workspace, &dist, (arch, program), deb::Version::Own)?;
        say(format!("made {}", package.display()));
    }
    if !args.flag("test") {
        return Ok(());
    }
    for (arch, program) in packages {
        if arch.name == "armhf" {
            trial::refuses_armv6(workspace, program).context("preinst of armhf")?;
        }
        for suite in &suites {
            let name = format!("{} for {} on {suite}", program.program(), arch.name);
            say(format!("── trial of {name}"));
            let package = (arch, program);
            trial::whole_life(workspace, &dist, package, suite).with_context(|| name.clone())?;
            say(format!("── trial of {name}: passed"));
        }
    }
    Ok(())
}

/// The program that was named, or all.
fn programs(args: &Args) -> Result<Vec<Build>> {
    let Some(only) = args.text("only") else {
        return Ok(PROGRAMS.to_vec());
    };
    let found = PROGRAMS.iter().find(|program| program.program() == only);
    let found = found.ok_or_else(|| {
        let known = PROGRAMS.map(Build::program).join(" or ");
        Misuse(format!("--only: {only:?} has no package; write {known}"))
    })?;
    Ok(vec![*found])
}

/// The packages that were named, or those of which the binary is there.
fn chosen(args: &Args, dist: &Path) -> Result<Vec<&'static Arch>> {
    if args.all("arch").is_empty() {
        let there: Vec<_> = ARCHES
            .iter()
            .filter(|arch| dist.join(arch.target).join("tidemill").is_file())
            .collect();
        return if there.is_empty() {
            Err(anyhow::anyhow!(
                "{} has no binary yet; `cargo xtask dist` builds them",
                dist.display()
            ))
        } else {
            Ok(there)
        };
    }
    let known = |name: &String| {
        ARCHES.iter().find(|arch| arch.name == name).ok_or_else(|| {
            let all = ARCHES.map(|arch| arch.name).join(", ");
            Misuse(format!(
                "{name} is no architecture of ours; there are {all}"
            ))
            .into()
        })
    };
    args.all("arch").iter().map(known).collect()
}

fn suites(args: &Args) -> Result<Vec<&'static str>> {
    let known = |name: &String| {
        SUITES
            .into_iter()
            .find(|suite| suite == name)
            .ok_or_else(|| {
                let all = SUITES.join(", ");
                Misuse(format!(
                    "{name} is no suite that packages are tried in; there are {all}"
                ))
                .into()
            })
    };
    match args.all("suite") {
        [] => Ok(SUITES.to_vec()),
        names => names.iter().map(known).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::targets::Target;

    #[test]
    fn packages_are_made_of_targets_that_dist_builds() {
        for arch in &ARCHES {
            let target = Target::named(arch.target).unwrap();
            assert_eq!(target.is_static(), arch.name == "armv6");
            assert_eq!(target.runner.is_empty(), arch.emulator.is_none());
        }
    }

    #[test]
    fn unknown_names_are_misuse_and_the_known_ones_are_told() {
        let args = |line: &str| {
            let words = line.split_whitespace().map(str::to_owned);
            Args::parse(words, &["test"], &["arch", "suite", "dist"]).unwrap()
        };
        let error = chosen(&args("--arch mips"), Path::new("dist")).unwrap_err();
        assert!(error.is::<Misuse>() && error.to_string().contains("amd64, arm64, armhf, armv6"));
        let error = suites(&args("--suite sid")).unwrap_err();
        assert!(error.is::<Misuse>() && error.to_string().contains("bookworm, trixie"));
        assert_eq!(suites(&args("--suite trixie")).unwrap(), ["trixie"]);
    }
}
