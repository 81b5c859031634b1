//! A private mosquitto on a free loopback port, for the length of one run.

use super::publish::WINDOW;
use super::usage::{self, Usage};
use crate::shell::program;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// Ends with its owner.
pub(crate) struct Broker {
    pub(crate) port: u16,
    process: Child,
}

impl Broker {
    /// Starts one whose files lie in `folder`; returns once it accepts connections.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let mosquitto = program("mosquitto").context("mosquitto is not installed")?;
        let config = folder.join("mosquitto.conf");
        let log = folder.join("mosquitto.log");
        // The port is free when asked for; somebody may take it before mosquitto does.
        for _ in 0..3 {
            let port = free_port()?;
            fs::write(&config, configuration(port))?;
            let mut process = Command::new(&mosquitto)
                .arg("-c")
                .arg(&config)
                .stdout(File::create(&log)?)
                .stderr(File::create(&log)?)
                .spawn()?;
            if listens(port, &mut process)? {
                return Ok(Self { port, process });
            }
            process.kill()?;
            process.wait()?;
        }
        bail!("mosquitto did not start: {}", fs::read_to_string(&log)?)
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        usage::of(self.process.id())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing else to do about it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The broker's configuration: no queue limit, so that messages that are lost were lost by the
/// agent; no persistence, so that no disk is measured.
fn configuration(port: u16) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
         max_inflight_messages {WINDOW}\nmax_queued_messages 0\nset_tcp_nodelay true\n"
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn listens(port: u16, process: &mut Child) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) && process.try_wait()?.is_none() {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}
