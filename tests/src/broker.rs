//! A real mosquitto on a free loopback port, in a temporary directory, for one test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::{PATIENCE, signal, wait_until};

/// Paths of the program, by Debian and others; `/usr/sbin` is not on every user's path.
const PROGRAMS: [&str; 3] = [
    "mosquitto",
    "/usr/sbin/mosquitto",
    "/usr/local/sbin/mosquitto",
];

/// A running, or stopped, mosquitto. It is killed when dropped.
pub struct Broker {
    directory: tempfile::TempDir,
    port: u16,
    config: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker that anybody may use, with further lines of configuration. A port that
    /// another process took in the meantime is answered with another port.
    pub fn start(lines: &str) -> Self {
        for _ in 0..5 {
            let mut broker = Self::stopped(lines);
            if broker.try_run() {
                return broker;
            }
        }
        panic!("mosquitto did not come up on any of five free ports");
    }

    /// Reserves a port for a broker that is not running yet.
    pub fn stopped(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        // Started as root it would become a user who cannot write here.
        let config = format!(
            "user root\npersistence_location {}/\nlistener {port} 127.0.0.1\n\
             allow_anonymous true\n{lines}\n",
            directory.path().display()
        );
        Self {
            directory,
            port,
            config,
            child: None,
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of a file in the broker's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds a line of configuration for the next start; of a repeated key mosquitto takes the last.
    pub fn add(&mut self, line: &str) {
        self.config.push_str(line);
        self.config.push('\n');
    }

    /// Starts it on its port, after [`Self::stop`] or [`Self::stopped`].
    pub fn run(&mut self) {
        assert!(
            self.try_run(),
            "mosquitto did not start on port {}",
            self.port
        );
    }

    /// Ends it as an operator would; with `persistence true` it saves its sessions first.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, "TERM");
            child.wait().unwrap();
        }
    }

    /// Kills it: nothing is saved, every connection breaks.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal, by its name without SIG: STOP makes it hang, CONT go on.
    pub fn signal(&self, name: &str) {
        signal(self.child.as_ref().expect("the broker runs"), name);
    }

    fn try_run(&mut self) -> bool {
        let config = self.path("mosquitto.conf");
        fs::write(&config, &self.config).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let mut child = PROGRAMS
            .iter()
            .find_map(|program| {
                Command::new(program)
                    .arg("-v")
                    .arg("-c")
                    .arg(&config)
                    .current_dir(self.directory.path())
                    .stdout(Stdio::null())
                    .stderr(log.try_clone().unwrap())
                    .spawn()
                    .ok()
            })
            .expect(
                "mosquitto is missing: `cargo xtask test` installs it, \
                 so does `sudo apt-get install mosquitto`",
            );
        let up = accepts(self.port, &mut child);
        self.child = Some(child);
        if !up {
            self.kill();
        }
        up
    }

    /// Waits until it logged this.
    pub fn until_logged(&self, text: &str) {
        wait_until(
            || self.log().contains(text),
            || format!("no {text:?} in the broker's log:\n{}", self.log()),
        );
    }

    /// Waits until so many lines of its log have this in them. The patience is for one line, not
    /// for all of them.
    pub fn until_logged_times(&self, text: &str, count: usize) {
        let mut had = 0;
        while had < count {
            let mut now = had;
            wait_until(
                || {
                    now = self.log().matches(text).count();
                    now > had
                },
                || format!("{text:?} {had} times of {count} in the broker's log, then no more"),
            );
            had = now;
        }
    }

    /// The broker's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Connects until the broker answers, without sleeping: a refused connection comes back at once, so
/// the loop yields in between.
fn accepts(port: u16, child: &mut Child) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// A loopback port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
