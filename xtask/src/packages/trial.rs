//! A package's life in a root of Debian: installed, run to a first result, upgraded, downgraded, removed, purged; and what it leaves.

use super::deb::{self, Version};
use super::{Arch, roots};
use crate::dist::build::Build;
use crate::dist::tools::Tools;
use crate::setup;
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The steps inside the root.
fn script(program: Build) -> &'static str {
    match program {
        Build::Bridge => "packaging/deb/trial-bridge.sh",
        _ => "packaging/deb/trial.sh",
    }
}

/// Paths that are not the package's: the kernel's, dpkg's own records, logs and caches, and copies
/// of the lists of users, which are made when one is added.
const NOT_COMPARED: [&str; 14] = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "root",
    "var/lib/dpkg",
    "var/log",
    "var/cache",
    "etc/.pwd.lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
];

/// Tries the package in a fresh root.
pub(super) fn whole_life(
    workspace: &Workspace,
    dist: &Path,
    (arch, program): (&Arch, Build),
    suite: &str,
) -> Result<()> {
    let own = deb::make(workspace, dist, (arch, program), Version::Own)?;
    let higher = deb::make(workspace, dist, (arch, program), Version::Higher)?;
    let root = roots::fresh(workspace, arch, suite)?;
    let before = names_below(&root, &root)?;
    let inside = root.join("tmp");
    fs::copy(&own, inside.join("own.deb"))?;
    fs::copy(&higher, inside.join("higher.deb"))?;
    fs::copy(
        workspace.root.join(script(program)),
        inside.join("trial.sh"),
    )?;
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--pid", "--fork", "--net", "--ipc", "--uts"])
        .args(["--kill-child", "--mount-proc"])
        .arg(format!("--root={}", root.display()))
        .args(["/bin/sh", "/tmp/trial.sh", &arch.package(program)]);
    // Nobody is there to answer, so a question fails.
    unshare
        .stdin(std::process::Stdio::null())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    if arch.name == "armv6" {
        say("Debian's own programs are of ARMv7: only our program is run as on ARMv6");
        unshare.env("TRIAL_CPU", "arm1176");
    }
    run(&mut unshare)?;
    let after = names_below(&root, &root)?;
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    if !changed.is_empty() {
        let names: Vec<_> = changed
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "after purge there are other files than before: {}",
            names.join(", ")
        );
    }
    say(format!("{} files, the same as before", after.len()));
    roots::remove(&root)
}

/// Shows that the armhf package refuses a board with ARMv6: Debian's own armhf programs do not run there, so its preinst
/// runs by this machine's shell, with a `uname` of ARMv6 code that an emulated ARM1176 runs.
pub(super) fn refuses_armv6(workspace: &Workspace, program: Build) -> Result<()> {
    setup::for_emulation()?;
    let tools = Tools::ensure()?;
    let folder = workspace.target.join("packages/armv6");
    fs::create_dir_all(&folder)?;
    let source = folder.join("uname.c");
    let uname = folder.join("uname.arm");
    fs::write(
        &source,
        "#include <stdio.h>\n#include <sys/utsname.h>\n\
         int main(void) { struct utsname name; if (uname(&name)) return 1; puts(name.machine); return 0; }\n",
    )?;
    run(tools
        .zig()
        .args([
            "cc",
            "-target",
            "arm-linux-musleabihf",
            "-mcpu=arm1176jzf_s",
        ])
        .args(["-static", "-o"])
        .arg(&uname)
        .arg(&source))?;
    let script = folder.join("uname");
    let text = format!(
        "#!/bin/sh\nexec qemu-arm-static -cpu arm1176 '{}'\n",
        uname.display()
    );
    fs::write(&script, text)?;
    run(Command::new("chmod").arg("755").arg(&script))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.clone()).chain(env::split_paths(&path));
    let outcome = Command::new("sh")
        .arg(workspace.root.join(preinst(program)))
        .arg("install")
        .env("PATH", env::join_paths(folders)?)
        .output()
        .context("cannot start sh")?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    let other = format!("{}-armv6", program.program());
    if outcome.status.success() || !said.contains(&other) {
        bail!("it should refuse ARMv6 and name {other}; it said {said:?}");
    }
    say(format!("on ARMv6: {}", said.trim()));
    Ok(())
}

fn preinst(program: Build) -> &'static str {
    match program {
        Build::Bridge => "packaging/deb/bridge/armhf/preinst",
        _ => "packaging/deb/armhf/preinst",
    }
}

/// Paths of all that is below `folder`, but for what is not compared.
fn names_below(root: &Path, folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
        if NOT_COMPARED.iter().any(|other| name == Path::new(other)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            names.append(&mut names_below(root, &path)?);
        }
        names.insert(name);
    }
    Ok(names)
}
