//! The sources of Rust's standard library, unpacked and ready to be built: from the toolchain's own
//! rust-src component, a file the user names, or Debian's rust-src package of the same release.
//! Building them is left to `target`.

use crate::shell::{capture, program, run, run_logged, say};
use anyhow::{Context, Result, anyhow, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names a rust-src `.deb`, or a folder with `library/` in it, to use instead of a download.
const OVERRIDE: &str = "TIDEMILL_RUST_SRC";

/// Debian's suites that carry recent compilers. Backports go first: they keep several releases.
const SUITES: [&str; 4] = ["trixie-backports", "sid", "forky", "trixie"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder `library` of exactly `release`, below `cache`; fetched once, then found there.
pub(super) fn library(release: &str, sysroot: &Path, cache: &Path) -> Result<PathBuf> {
    let source = cache.join("src");
    let library = source.join("library");
    if library.join("sysroot/Cargo.toml").is_file() {
        return Ok(library);
    }
    let fresh = cache.join("src.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let component = sysroot.join("lib/rustlib/src/rust");
    match env::var_os(OVERRIDE).map(PathBuf::from) {
        Some(path) if path.is_dir() => copy(&path, &fresh)?,
        Some(path) => unpack(&path, release, &fresh)?,
        None if component.join("library/sysroot").is_dir() => copy(&component, &fresh)?,
        None => {
            let apt = cache.join("apt");
            unpack(&download(release, &apt)?, release, &fresh)?;
            fs::remove_dir_all(apt)?; // The package and lists that are larger still.
        }
    }
    only_rlib(&fresh.join("library/std/Cargo.toml"))?;
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    fs::rename(&fresh, &source)?;
    Ok(library)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    say(format!(
        "taking the library's sources from {}",
        from.display()
    ));
    run(Command::new("cp")
        .arg("-r")
        .arg(from.join("library"))
        .arg(to))
}

/// A `libstd.so` would need a linker for the target; nobody here links against one.
fn only_rlib(manifest: &Path) -> Result<()> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("no sources of std: {}", manifest.display()))?;
    Ok(fs::write(
        manifest,
        text.replace(r#"["dylib", "rlib"]"#, r#"["rlib"]"#),
    )?)
}

fn unpack(package: &Path, release: &str, to: &Path) -> Result<()> {
    say(format!("unpacking {}", package.display()));
    let mut archive = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("dpkg-deb is needed to unpack rust-src")?;
    let tar = archive.stdout.take().expect("the output was just piped");
    // Of the package only the library; its copies of other crates are incomplete.
    run(Command::new("tar")
        .args(["--extract", "--file=-", "--directory"])
        .arg(to)
        .args(["--strip-components=4", "--exclude=*/library/vendor"])
        .arg(format!("./usr/src/rustc-{release}/library"))
        .stdin(tar))?;
    if !archive.wait()?.success() {
        bail!("{} is no sound Debian package", package.display());
    }
    Ok(())
}

/// Fetches the package into `apt`, from the mirror that apt uses already, through an apt state of our
/// own: the machine's sources stay as they are, and apt checks the signatures.
fn download(release: &str, apt: &Path) -> Result<PathBuf> {
    let mirror = mirror()?;
    fs::create_dir_all(apt.join("lists/partial"))?;
    fs::create_dir_all(apt.join("archives/partial"))?;
    let log = apt.join("log");
    for suite in SUITES {
        say(format!("looking for rust-src {release} in Debian {suite}"));
        let source = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(apt.join("sources.list"), source)?;
        if run_logged(private_apt("apt-get", apt).arg("update"), &log).is_err() {
            continue;
        }
        let versions = capture(private_apt("apt-cache", apt).args(["madison", "rust-src"]))?;
        let Some(version) = matching(&versions, release) else {
            continue;
        };
        say(format!("fetching rust-src {version} (45 MB)"));
        let name = format!("rust-src={version}");
        let mut fetch = private_apt("apt-get", apt);
        run_logged(fetch.args(["download", &name]).current_dir(apt), &log)?;
        return package_in(apt).ok_or_else(|| anyhow!("apt-get left no package"));
    }
    bail!("Debian has no rust-src {release} any more; set {OVERRIDE} to such a package or folder")
}

fn package_in(folder: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "deb"))
}

/// The version of `release` among the lines of `apt-cache madison`.
fn matching<'a>(versions: &'a str, release: &str) -> Option<&'a str> {
    let version = |line: &'a str| line.split('|').nth(1).map(str::trim);
    let fits = |version: &&str| {
        let rest = version.strip_prefix(release);
        rest.is_some_and(|rest| rest.starts_with(['+', '-', '~']))
    };
    versions.lines().filter_map(version).find(fits)
}

/// The Debian mirror in apt's sources. apt itself names it only once its lists have been fetched.
pub(super) fn mirror() -> Result<String> {
    if program("apt-get").is_none() {
        bail!("this is no Debian: only rustup, or {OVERRIDE}, can provide the target's library");
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten();
    files.extend(parts.flatten().map(|entry| entry.path()));
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts
        .filter_map(|text| mirror_in(&text).map(str::to_owned))
        .next()
        .ok_or_else(|| anyhow!("apt's sources name no Debian mirror; set {OVERRIDE}"))
}

/// The first one named in a source file, be its form one line per source or one paragraph.
fn mirror_in(sources: &str) -> Option<&str> {
    let lines = sources
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
}

fn private_apt(tool: &str, state: &Path) -> Command {
    let mut command = Command::new(tool);
    for (key, value) in [
        ("Dir::Etc::SourceList", state.join("sources.list")),
        ("Dir::Etc::SourceParts", "/dev/null".into()),
        ("Dir::State::Lists", state.join("lists")),
        ("Dir::State::status", "/dev/null".into()),
        ("Dir::Cache", state.to_owned()),
        ("Acquire::Languages", "none".into()),
        (
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
            "false".into(),
        ),
        (
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled",
            "false".into(),
        ),
        // The sandbox's user could not write into a home.
        ("APT::Sandbox::User", "root".into()),
    ] {
        command.arg("-o").arg(format!("{key}={}", value.display()));
    }
    command.arg("-q");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_release_matches() {
        let versions = " rust-src | 1.95.1+dfsg1-1 | sid\n rust-src | 1.95.0+dfsg1-2~bpo13+1 | b\n";
        for (release, expected) in [
            ("1.95.0", Some("1.95.0+dfsg1-2~bpo13+1")),
            ("1.95.1", Some("1.95.1+dfsg1-1")),
            ("1.95", None),
            ("1.9", None),
        ] {
            assert_eq!(matching(versions, release), expected, "{release}");
        }
    }
    #[test]
    fn the_mirror_is_found_in_both_forms_of_source_files() {
        let here = Some("http://mirror.test/debian");
        for (sources, expected) in [
            ("deb http://mirror.test/debian bookworm main", here),
            (
                "deb [arch=amd64] http://mirror.test/debian bookworm main",
                here,
            ),
            (
                "# http://old.test/debian\nTypes: deb\nURIs: http://mirror.test/debian\n",
                here,
            ),
            (
                "deb http://mirror.test/debian-security bookworm-security main",
                None,
            ),
            ("deb http://mirror.test/ubuntu noble main", None),
        ] {
            assert_eq!(mirror_in(sources), expected, "{sources}");
        }
    }
}
