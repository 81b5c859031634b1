//! Debian packages: installs those whose program is missing, as root or through sudo. Where neither
//! is possible it says what to type.

use crate::shell::{cache, program, run, say, turn};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{IsTerminal, stdin};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// A package and the program that shows it is installed.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    /// Purpose of the package, for the person who is asked to install it.
    pub(super) why: &'static str,
}

/// Installs what is missing of `packages`.
pub(super) fn ensure(packages: &[Package]) -> Result<()> {
    ensure_unless(packages, |package| program(package.program).is_some())
}

/// Installs those of `packages` that are not `there`.
pub(super) fn ensure_unless(packages: &[Package], there: fn(&Package) -> bool) -> Result<()> {
    let missing = || -> Vec<_> { packages.iter().filter(|package| !there(package)).collect() };
    if missing().is_empty() {
        return Ok(());
    }
    let _turn = turn(&cache("apt")?)?;
    let missing = missing(); // Another xtask may just have installed them.
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing
        .iter()
        .map(|package| format!("{} ({})", package.name, package.why));
    let wanted = wanted.collect::<Vec<_>>().join(", ");
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    let Some(prefix) = prefix() else {
        bail!(
            "missing: {wanted}. As root: `{by_hand}`; elsewhere than on Debian: what has that name"
        );
    };
    say(format!("installing {wanted}"));
    install(prefix, &names).with_context(|| format!("by hand, as root: {by_hand}"))
}

/// Tries with the package lists as they are: refreshing them costs seconds and needs the network.
fn install(prefix: &[&str], names: &[&str]) -> Result<()> {
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(names);
    let at_once = apt_get(prefix, &arguments).stderr(Stdio::null()).status();
    if at_once.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    say("refreshing the package lists first");
    run(&mut apt_get(prefix, &["update"]))?;
    run(&mut apt_get(prefix, &arguments))
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command
        .args(prefix)
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
            "-o",
            "DPkg::Lock::Timeout=300",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Command prefix to become root: none needed, or sudo where it asks nothing or somebody is there
/// to answer. `None` if there is no way.
fn prefix() -> Option<&'static [&'static str]> {
    program("apt-get")?;
    if is_root() {
        return Some(&[]);
    }
    program("sudo")?;
    let silent = Command::new("sudo")
        .args(["-n", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (silent || stdin().is_terminal()).then_some(&["sudo", "env"])
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
