//! A pair of pseudo-terminals by socat, and the bridge as a program.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemill_tests::wait_until;

/// Tests take turns: their bridges have the same ids, of which a machine has each once.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two pseudo-terminals that are joined as by a cable.
pub(crate) struct Cable {
    socat: Child,
    device: PathBuf,
    host: PathBuf,
}

impl Cable {
    pub(crate) fn plug(folder: &Path, name: &str) -> Self {
        let (device, host) = (folder.join(format!("{name}-device")), folder.join(name));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let socat = Command::new("socat")
            .args([end(&device), end(&host)])
            .spawn()
            .unwrap();
        let cable = Self {
            socat,
            device,
            host,
        };
        let both = || cable.device.exists() && cable.host.exists();
        wait_until(both, || "socat made no pair of terminals".to_owned());
        cable
    }

    pub(crate) fn host(&self) -> &Path {
        &self.host
    }

    pub(crate) fn device_path(&self) -> &Path {
        &self.device
    }

    /// The device's end, for reading and writing.
    pub(crate) fn device(&self) -> File {
        const NO_CONTROLLING_TERMINAL: i32 = 0o400;
        let mut options = OpenOptions::new();
        let options = options
            .read(true)
            .write(true)
            .custom_flags(NO_CONTROLLING_TERMINAL);
        options.open(&self.device).unwrap()
    }

    pub(crate) fn say(&self, text: &str) {
        self.device().write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // As it ends, it takes its links away.
        let pid = self.socat.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.socat.wait();
    }
}

/// A running bridge; killed when dropped.
pub(crate) struct Bridge {
    child: Child,
    log: Arc<Mutex<String>>,
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tidemill-bridge"))
}

/// The program as an ordinary user runs it, from a folder that is opened to all: root passes locks that others do not.
pub(crate) fn ordinary(folder: &TempDir) -> Command {
    const NOBODY: &str = "65534";
    let copy = folder.path().join("tidemill-bridge");
    if !copy.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_tidemill-bridge"), &copy).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    }
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(copy);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg(copy);
    command
}

/// Writes a configuration; `lines` are those of its ports.
pub(crate) fn configure(folder: &TempDir, id: &str, broker: u16, ports: &str) -> PathBuf {
    let path = folder.path().join(format!("{id}.toml"));
    let control = folder.path().join(format!("{id}.socket"));
    let text = format!(
        "[bridge]\nid = {id:?}\ncontrol = {control:?}\n[broker]\nurl = \"mqtt://127.0.0.1:{broker}\"\n{ports}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn port(name: &str, host: &Path, lines: &str) -> String {
    format!("[[port]]\nname = {name:?}\npath = {host:?}\n{lines}\n")
}

impl Bridge {
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_as(program(), config)
    }

    /// Starts it by a command of the caller's.
    pub(crate) fn start_as(mut program: Command, config: &Path) -> Self {
        let mut child = program
            .args(["run", "--config"])
            .arg(config)
            .env("TIDEMILL_LOG", "debug")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (copy, lines) = (
            Arc::clone(&log),
            BufReader::new(child.stderr.take().unwrap()),
        );
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn until_logged(&self, text: &str) {
        wait_until(
            || self.log().contains(text),
            || format!("{text:?} is not in\n{}", self.log()),
        );
    }

    pub(crate) fn until_logged_times(&self, text: &str, times: usize) {
        let has = || self.log().matches(text).count() >= times;
        wait_until(has, || {
            format!("{text:?} is not {times} times in\n{}", self.log())
        });
    }

    /// Ends it as systemd would, and returns how it ended and how long that took.
    pub(crate) fn stop(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let pid = self.pid().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        (self.child.wait().unwrap(), began.elapsed())
    }

    /// Says that its configuration has changed.
    pub(crate) fn hang_up(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", "HUP", &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Open files of the process.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the bridge's log:\n{}", self.log());
        }
    }
}

/// Runs a command of the bridge to its end: exit code and all it wrote.
pub(crate) fn ran(arguments: &[&str]) -> (Option<i32>, String) {
    let done = program().args(arguments).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Reads lines of a child in the background.
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn of(out: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                copy.lock().unwrap().push(line);
            }
        });
        Self(lines)
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn until(&self, is_there: impl Fn(&str) -> bool) -> String {
        let find = || {
            self.0
                .lock()
                .unwrap()
                .iter()
                .find(|line| is_there(line))
                .cloned()
        };
        wait_until(
            || find().is_some(),
            || format!("{:?}", self.0.lock().unwrap()),
        );
        find().unwrap()
    }
}
