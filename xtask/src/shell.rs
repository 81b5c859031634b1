//! Running other programs: where the workspace is, how commands are named when they fail, which
//! programs are installed. What to run is for the commands' own modules.

use anyhow::{Context, Result, anyhow, bail};
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of the sources and of builds.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The target directory in use, whatever set it (environment, configuration, default).
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds both; fails unless this was started by `cargo xtask`.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .ok_or_else(|| anyhow!("start me as `cargo xtask`, so that I know the workspace"))?;
        let root = Path::new(&manifest).parent().map(Path::to_owned);
        // This program lies in TARGET/debug or TARGET/release.
        let program = env::current_exe().context("where am I?")?;
        let target = program.ancestors().nth(2).map(Path::to_owned);
        match (root, target) {
            (Some(root), Some(target)) => Ok(Self { root, target }),
            _ => bail!("{} is no place for xtask", program.display()),
        }
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).args(args);
        command
    }

    /// Target directory of the nested workspace in `folder`: apart, because its crates may be
    /// called like others', and inside our target directory, so that `cargo clean` takes it along.
    pub(crate) fn nested_target(&self, folder: &str) -> PathBuf {
        self.target.join("nested").join(folder.replace('/', "-"))
    }

    /// A cargo command in the nested workspace in `folder`, building where that one builds.
    pub(crate) fn nested_cargo(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = pristine_cargo();
        let target = self.nested_target(folder);
        command.current_dir(self.root.join(folder)).args(args);
        command.arg("--target-dir").arg(target);
        command
    }
}

/// Says one line of what is going on.
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("xtask: {}", text.as_ref());
}

/// Runs `command` with our input and output; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs `command` with its output going to `log`; when it fails, shows that output.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    run(command).inspect_err(|_| eprint!("{}", fs::read_to_string(log).unwrap_or_default()))
}

/// The output of `command`; fails, with what it complained about, unless it succeeds.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", line(command), complaint.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not print text", line(command)))
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A cargo command that nothing of the caller's build settings reaches: for what must come out the
/// same for everybody (guests that are committed, the standard library).
pub(crate) fn pristine_cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let prefixes = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUSTC_"];
        let names = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL"];
        if prefixes.iter().any(|prefix| text.starts_with(prefix)) || names.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}

/// The path of `name`, if it is installed. Debian keeps servers where only root's `PATH` looks.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Our own folder in the user's cache, made if need be.
pub(crate) fn cache(name: &str) -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| anyhow!("neither XDG_CACHE_HOME nor HOME is set"))?;
    let folder = base.join("tidemill").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Waits for its turn and holds it until dropped: two set-ups must not write the same files.
pub(crate) fn turn(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if lock.try_lock().is_err() {
        say("waiting for another xtask");
        lock.lock()?;
    }
    Ok(lock)
}
