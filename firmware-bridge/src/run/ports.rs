//! One task for each port: finds its device, opens it, moves bytes, and waits for it to come back.

use super::inputs;
use crate::bridge::Input;
use crate::config;
use crate::devices::Roots;
use crate::message::PortIndex;
use crate::port::{Line, State};
use crate::serial::Serial;
use std::sync::Arc;
use std::time::Duration;
use tidemill_base::text::printable;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

/// Bytes read at once.
const READ_BYTES: usize = 4_096;

/// Time between two looks for a device, where nothing tells that one has come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Time between the end of a device and the first look for it: not to spin where it fails at once.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Time between two questions to the kernel for its counts.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

pub(super) struct PortTask {
    pub(super) index: PortIndex,
    pub(super) config: Arc<config::Port>,
    pub(super) roots: Arc<Roots>,
    pub(super) inputs: mpsc::Sender<inputs::Input>,
    pub(super) plugged: watch::Receiver<()>,
}

/// The main loop has ended.
struct Over;

impl PortTask {
    pub(super) async fn run(mut self, mut writes: mpsc::Receiver<Vec<u8>>) {
        while self.once(&mut writes).await.is_ok() {}
    }

    /// One life of the device, or one wait for it.
    async fn once(&mut self, writes: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), Over> {
        let mut told = None;
        let serial = loop {
            self.plugged.mark_unchanged();
            match Serial::open(&self.roots, &self.config.finder, &self.config.line) {
                Ok((serial, line)) => {
                    self.tell(line).await?;
                    break serial;
                }
                Err(line) if told.as_ref() == Some(&line) => {}
                Err(line) => {
                    told = Some(line.clone());
                    self.tell(line).await?;
                }
            }
            tokio::select! {
                changed = self.plugged.changed() => changed.map_err(|_| Over)?,
                () = sleep(LOOK_EVERY) => {}
            }
        };
        while writes.try_recv().is_ok() {} // They were for the device as it was.
        let why = tokio::select! {
            why = self.read(&serial) => why?,
            why = write(&serial, writes) => why?,
        };
        drop(serial);
        self.tell(Line {
            state: State::Absent,
            tty: None,
            why: Some(why),
        })
        .await?;
        sleep(REOPEN_AFTER).await;
        Ok(())
    }

    /// Reads until the device is gone; returns why.
    async fn read(&self, serial: &Serial) -> Result<String, Over> {
        let mut counts = interval(COUNTS_EVERY);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; READ_BYTES];
        let before = serial.overruns().unwrap_or(0);
        loop {
            tokio::select! {
                read = serial.port.read(&mut buffer) => match read {
                    Ok(0) => return Ok("the device was unplugged".to_owned()),
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                        self.send(Input::Bytes(self.index, bytes)).await?;
                    }
                    Err(error) => return Ok(format!("the device was unplugged: {error}")),
                },
                _ = counts.tick() => {
                    if let Some(now) = serial.overruns() {
                        let lost = now.saturating_sub(before);
                        self.send(Input::Overruns(self.index, lost)).await?;
                    }
                }
            }
        }
    }

    async fn tell(&self, line: Line) -> Result<(), Over> {
        let port = &*self.config.name;
        let why = line.why.as_deref().unwrap_or_default();
        let tty = line.tty.as_deref().unwrap_or_default();
        match line.state {
            State::Open => info!(port, "open: {}", printable(tty)),
            State::Absent => info!(port, "absent: {}", printable(why)),
            _ => warn!(port, "{} cannot be had: {}", printable(tty), printable(why)),
        }
        self.send(Input::Line(self.index, line)).await
    }

    async fn send(&self, what: Input) -> Result<(), Over> {
        self.inputs.send(what.into()).await.map_err(|_| Over)
    }
}

/// Writes until the device is gone; returns why.
async fn write(serial: &Serial, writes: &mut mpsc::Receiver<Vec<u8>>) -> Result<String, Over> {
    loop {
        let bytes = writes.recv().await.ok_or(Over)?;
        if let Err(error) = serial.port.write_all(&bytes).await {
            return Ok(format!("nothing can be written: {error}"));
        }
    }
}
