//! Roots of Debian to try packages in: made once by mmdebstrap, kept in the cache as archives, unpacked for each trial.

use super::Arch;
use crate::setup;
use crate::shell::{Workspace, cache, run, say, turn};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Beside the essential packages: what ours depends on, and the brokers of the trial.
const INCLUDED: &str = "systemd,mosquitto,mosquitto-clients,util-linux,iproute2,procps";

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Fails with what is missing and what to type, where a root of the architecture cannot be made and run.
pub(super) fn possible(arch: &Arch) -> Result<()> {
    if !fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        bail!(
            "--test makes roots of Debian and runs in them, as root: sudo cargo xtask packages --test"
        );
    }
    setup::for_roots(arch.emulator.is_some())?;
    let Some(emulator) = arch.emulator else {
        return Ok(());
    };
    if !Path::new(BINFMT).join("register").exists() {
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "binfmt_misc", "binfmt_misc", BINFMT]))
            .context("the kernel has no binfmt_misc, by which it runs programs of other boards")?;
    }
    let entry = Path::new(BINFMT).join(emulator);
    if entry.exists() {
        return Ok(());
    }
    let settings = format!("/usr/lib/binfmt.d/{emulator}.conf");
    say(format!(
        "telling the kernel of {emulator}, which runs programs of other boards"
    ));
    fs::read(&settings)
        .and_then(|line| fs::write(Path::new(BINFMT).join("register"), line))
        .with_context(|| format!("by hand, as root: cat {settings} > {BINFMT}/register"))
}

/// A fresh root in the target directory, of which nothing is mounted.
pub(super) fn fresh(workspace: &Workspace, arch: &Arch, suite: &str) -> Result<PathBuf> {
    let archive = archive(arch, suite)?;
    let root = workspace
        .target
        .join("roots")
        .join(format!("{suite}-{}", arch.name));
    remove(&root)?;
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    run(Command::new("tar")
        .args(["--numeric-owner", "-xf"])
        .arg(&archive)
        .arg("-C")
        .arg(&root))?;
    Ok(root)
}

/// Removes a root; on one file system only, should something have been mounted in it after all.
pub(super) fn remove(root: &Path) -> Result<()> {
    run(Command::new("rm")
        .args(["-rf", "--one-file-system"])
        .arg(root))
}

fn archive(arch: &Arch, suite: &str) -> Result<PathBuf> {
    let folder = cache("roots")?;
    let archive = folder.join(format!("{suite}-{}.tar", arch.debian));
    let _turn = turn(&folder)?;
    if archive.is_file() {
        return Ok(archive);
    }
    let mirror = setup::mirror()?;
    say(format!(
        "making a root of Debian {suite} for {} (some minutes, once)",
        arch.debian
    ));
    let fresh = folder.join(".new.tar");
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--mode=root"])
        .arg(format!("--architectures={}", arch.debian))
        .arg(format!("--include={INCLUDED}"))
        .arg(suite)
        .arg(&fresh)
        .arg(&mirror))?;
    fs::rename(&fresh, &archive).with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(archive)
}
