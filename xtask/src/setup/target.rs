//! The standard library of a target in the active toolchain: by `rustup target add`, or, where
//! rustup may download nothing, built from the sources of the compiler's own release and entered
//! in rustup's records. Where the sources come from is left to `rust_src`.

use super::rust_src;
use crate::shell::{
    Workspace, cache, capture, pristine_cargo, program, run, run_logged, say, turn,
};
use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, io};

/// Marks a standard library that was not made by the compiler's release.
const BUILT_HERE: &str = "built-by-xtask";

/// The toolchain that builds the workspace, whichever `rust-toolchain.toml` names.
struct Toolchain {
    sysroot: PathBuf,
    release: String,
    commit: String,
}

impl Toolchain {
    /// Asks rustc.
    fn active(workspace: &Workspace) -> Result<Self> {
        let ask = |argument| {
            capture(
                Command::new("rustc")
                    .args(argument)
                    .current_dir(&workspace.root),
            )
        };
        let sysroot = ask(&["--print", "sysroot"][..])?;
        let version = ask(&["-vV"])?;
        let field = |name: &str| {
            let mut values = version.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::to_owned)
        };
        Ok(Self {
            sysroot: sysroot.trim().into(),
            release: field("release: ").ok_or_else(|| anyhow!("rustc -vV names no release"))?,
            commit: field("commit-hash: ").unwrap_or_default(),
        })
    }

    /// `true` if programs can be built for `target`.
    fn has(&self, target: &str) -> bool {
        let Ok(files) = fs::read_dir(self.rustlib().join(target).join("lib")) else {
            return false;
        };
        let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
        files
            .flatten()
            .any(|file| is_std(&file.file_name().to_string_lossy()))
    }

    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }
}

/// Makes sure that the toolchain can build for `target`.
pub(super) fn ensure(workspace: &Workspace, target: &str) -> Result<()> {
    let toolchain = Toolchain::active(workspace)?;
    if toolchain.has(target) {
        return Ok(());
    }
    if !added_by_rustup(workspace, &toolchain, target) {
        build(&toolchain, target).with_context(|| {
            let release = &toolchain.release;
            format!("rustc {release} lacks {target}, which `rustup target add {target}` would add")
        })?;
    }
    // Crates compiled against an earlier build of the library do not fit this one, and cargo cannot
    // tell.
    Ok(remove(&workspace.nested_target(""))?)
}

/// Origin of the standard library of `target`, for a build's manifest.
pub(super) fn origin(workspace: &Workspace, target: &str) -> Result<&'static str> {
    let rustlib = Toolchain::active(workspace)?.rustlib();
    Ok(if rustlib.join(target).join(BUILT_HERE).exists() {
        "built from the sources of the compiler's release"
    } else {
        "as the compiler's release has it"
    })
}

/// Lets rustup add the target, unless it was told not to download; `false` if the target is still missing.
fn added_by_rustup(workspace: &Workspace, toolchain: &Toolchain, target: &str) -> bool {
    let may_download = env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0");
    if program("rustup").is_none() || !may_download {
        return false;
    }
    say(format!("rustup target add {target}"));
    let mut add = Command::new("rustup");
    add.args(["target", "add", target])
        .current_dir(&workspace.root);
    if let Err(error) = run(&mut add) {
        say(format!("{error}"));
    }
    toolchain.has(target)
}

fn build(toolchain: &Toolchain, target: &str) -> Result<()> {
    let known = capture(Command::new("rustc").args(["--print", "target-list"]))?;
    if !known.lines().any(|name| name == target) {
        bail!("rustc knows no such target");
    }
    let cache = cache(&format!("rust-std/{}", toolchain.release))?;
    let _turn = turn(&cache)?;
    if toolchain.has(target) {
        return Ok(()); // Another xtask was faster.
    }
    let begun = Instant::now();
    let library = rust_src::library(&toolchain.release, &toolchain.sysroot, &cache)?;
    say(format!(
        "building the standard library for {target} (about half a minute)"
    ));
    let output = cache.join("target");
    compile(
        toolchain,
        target,
        &library,
        &output,
        &cache.join("build.log"),
    )?;
    install(toolchain, target, &output.join(target).join("release/deps"))?;
    fs::remove_dir_all(&output)?;
    let seconds = begun.elapsed().as_secs();
    say(format!(
        "added {target} to rustc {} ({seconds} s)",
        toolchain.release
    ));
    Ok(())
}

/// Compiles as rustc's own build does: the workspace `sysroot` with its lock file.
fn compile(
    toolchain: &Toolchain,
    target: &str,
    library: &Path,
    output: &Path,
    log: &Path,
) -> Result<()> {
    // Bitcode lets programs use LTO; the prefix is the one that published toolchains carry.
    let flags = format!(
        "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix={}=/rustc/{}/library",
        library.display(),
        toolchain.commit
    );
    let mut cargo = pristine_cargo();
    cargo
        .current_dir(library.join("sysroot"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        // Hashed into crate names, so that std's copy of a crate differs from a program's own.
        .env(
            "__CARGO_DEFAULT_LIB_METADATA",
            format!("std-{}", toolchain.release),
        )
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            target,
            "--target-dir",
        ])
        .arg(output)
        .args([
            "--no-default-features",
            "--features",
            "panic-unwind backtrace",
        ]);
    run_logged(&mut cargo, log)
}

/// Puts the libraries where rustup would, whole or not at all, and tells rustup's records.
fn install(toolchain: &Toolchain, target: &str, built: &Path) -> Result<()> {
    let rustlib = toolchain.rustlib();
    let fresh = rustlib.join(format!("{target}.new"));
    let place = rustlib.join(target);
    remove(&fresh)?;
    fs::create_dir_all(fresh.join("lib"))
        .with_context(|| format!("cannot write to the toolchain in {}", rustlib.display()))?;
    let mut manifest = format!("file:lib/rustlib/{target}/{BUILT_HERE}\n");
    fs::write(fresh.join(BUILT_HERE), "")?;
    for file in fs::read_dir(built)? {
        let path = file?.path();
        let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|e| e == "rlib"))
        else {
            continue;
        };
        fs::copy(&path, fresh.join("lib").join(name))?;
        manifest += &format!("file:lib/rustlib/{target}/lib/{}\n", name.to_string_lossy());
    }
    remove(&place)?;
    fs::rename(&fresh, &place)?;
    record(&rustlib, target, &manifest)
}

/// Without these, rustup would not list the target, and would want to fetch it again.
fn record(rustlib: &Path, target: &str, manifest: &str) -> Result<()> {
    let config = rustlib.join("multirust-config.toml");
    if !config.is_file() {
        return Ok(()); // Not a toolchain of rustup's.
    }
    let component = format!("rust-std-{target}");
    fs::write(rustlib.join(format!("manifest-{component}")), manifest)?;
    let components = rustlib.join("components");
    let listed = fs::read_to_string(&components)?;
    if !listed.lines().any(|line| line == component) {
        append(&components, &format!("{component}\n"))?;
    }
    let entry = format!("pkg = \"rust-std\"\ntarget = \"{target}\"\nis_extension = false\n");
    if !fs::read_to_string(&config)?.contains(&entry) {
        append(&config, &format!("\n[[components]]\n{entry}"))?;
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_recorded_once_however_often_it_is_added() {
        let folder = env::temp_dir().join(format!("tidemill-record-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("components"), "rustc-host\n").unwrap();
        fs::write(
            folder.join("multirust-config.toml"),
            "config_version = \"1\"\n",
        )
        .unwrap();
        for _ in 0..2 {
            record(&folder, "wasm32-unknown-unknown", "file:x\n").unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            read("components"),
            "rustc-host\nrust-std-wasm32-unknown-unknown\n"
        );
        assert_eq!(
            read("multirust-config.toml")
                .matches("[[components]]")
                .count(),
            1
        );
        assert_eq!(read("manifest-rust-std-wasm32-unknown-unknown"), "file:x\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
