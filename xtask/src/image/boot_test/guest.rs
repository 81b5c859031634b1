//! A machine in QEMU, the way into it, and the broker that its results go to.

use crate::shell::{capture, line};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A port that nobody has at this moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine in QEMU; its power is cut when this is dropped.
#[derive(Debug)]
pub(super) struct Guest(Process);

impl Guest {
    pub(super) fn start(command: &Command) -> Result<Self> {
        let mut own = Command::new(command.get_program());
        own.args(command.get_args()).stdin(Stdio::null());
        let child = own
            .spawn()
            .with_context(|| format!("cannot start `{}`", line(command)))?;
        Ok(Self(Process(child)))
    }

    /// Fails where the machine has ended.
    pub(super) fn check_runs(&mut self) -> Result<()> {
        match self.0.0.try_wait()? {
            Some(status) => bail!("QEMU has ended ({status})"),
            None => Ok(()),
        }
    }

    /// Waits for the machine's end.
    pub(super) fn until_end(&mut self, within: Duration) -> Result<()> {
        let began = Instant::now();
        while self.0.0.try_wait()?.is_none() {
            if began.elapsed() > within {
                bail!("the guest did not power off within {} s", within.as_secs());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Waits until the console has a text in it.
    pub(super) fn until_console(
        &mut self,
        console: &Path,
        text: &str,
        within: Duration,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check_runs()?;
            let bytes = fs::read(console).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(text) {
                return Ok(());
            }
            if began.elapsed() > within {
                bail!("no {text:?} on the console within {} s", within.as_secs());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// The broker that results go to, with a subscriber.
#[derive(Debug)]
pub(super) struct Upstream {
    _broker: Process,
    _subscriber: Process,
    results: PathBuf,
}

impl Upstream {
    /// Starts both on this machine alone; a guest reaches them at 10.0.2.2.
    pub(super) fn start(port: u16, work: &Path) -> Result<Self> {
        let config = work.join("upstream.conf");
        fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\n"),
        )?;
        let broker = crate::shell::program("mosquitto").context("mosquitto is not installed")?;
        let broker = Command::new(broker)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let broker = Process(broker);
        std::thread::sleep(Duration::from_secs(1));
        let results = work.join("results.txt");
        let file = File::create(&results)?;
        let port = port.to_string();
        let subscriber = Command::new("mosquitto_sub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-q",
                "1",
                "-t",
                "hot/#",
                "-v",
            ])
            .stdout(file)
            .spawn()?;
        Ok(Self {
            _broker: broker,
            _subscriber: Process(subscriber),
            results,
        })
    }

    /// Number of results that have come.
    pub(super) fn results(&self) -> usize {
        let text = fs::read_to_string(&self.results).unwrap_or_default();
        text.lines().count()
    }
}

/// The way into a guest, for the user `gateway`.
#[derive(Debug)]
pub(super) struct Shell {
    port: String,
    key: PathBuf,
}

impl Shell {
    pub(super) fn new(port: u16, key: &Path) -> Self {
        Self {
            port: port.to_string(),
            key: key.to_owned(),
        }
    }

    /// Runs a command there; returns what it says.
    pub(super) fn run(&self, command: &str) -> Result<String> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(&self.key).args(["-p", &self.port]);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            "ConnectTimeout=120",
            "ConnectionAttempts=5",
        ] {
            ssh.args(["-o", option]);
        }
        capture(ssh.arg("gateway@127.0.0.1").arg(command))
    }
}
