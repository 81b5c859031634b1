//! The socket for those who look on: lines of JSON, live. Nothing here is waited for: one who reads too slowly is told
//! how much was missed.

use super::inputs;
use crate::bridge;
use crate::config::Config;
use crate::message::{PortIndex, Shown};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tidemill_base::text::printable;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

/// Those who look on at once.
const MONITORS_MAX: usize = 4;

/// Lines that wait for a slow reader.
const LINES_MAX: usize = 256;

/// A question has to come within this time, in one line of this length.
const ASK_WITHIN: Duration = Duration::from_secs(5);
const QUESTION_BYTES_MAX: u64 = 4_096;

/// A question on the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The port to look at; all where there is none.
    pub(crate) monitor: Option<String>,
}

/// The first line of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The bridge.
    pub(crate) bridge: String,
    /// The reason why nothing follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A line of a port, or a number of lines that were missed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) port: String,
    pub(crate) direction: String,
    pub(crate) kind: String,
    pub(crate) text: String,
    /// Lines before this one that were missed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) missed: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

struct Monitor {
    number: u64,
    port: Option<PortIndex>,
    lines: mpsc::Sender<Seen>,
    missed: u64,
}

/// Those who look on.
#[derive(Clone)]
pub(super) struct Control {
    names: Arc<[String]>,
    bridge: Arc<str>,
    monitors: Arc<Mutex<Vec<Monitor>>>,
}

impl Control {
    /// Listens on the socket; where that cannot be, the bridge does its work without.
    pub(super) fn listen(config: &Config, inputs: mpsc::Sender<inputs::Input>) -> Self {
        let control = Self {
            names: config.ports.iter().map(|port| port.name.clone()).collect(),
            bridge: config.id.as_str().into(),
            monitors: Arc::default(),
        };
        match bind(&config.control) {
            Ok(listener) => {
                tokio::spawn(control.clone().serve(listener, inputs));
            }
            Err(error) => {
                let path = config.control.display();
                warn!(
                    "`tidemill-bridge monitor` has no use: {}: {error}",
                    printable(path)
                );
            }
        }
        control
    }

    async fn serve(self, listener: UnixListener, inputs: mpsc::Sender<inputs::Input>) {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            let (control, inputs) = (self.clone(), inputs.clone());
            tokio::spawn(async move {
                // Whoever hangs up early hears nothing of it.
                let _ = control.monitor(stream, number, &inputs).await;
                if control.leave(number) {
                    let _ = inputs.send(bridge::Input::Looked(false).into()).await;
                }
            });
        }
    }

    async fn monitor(
        &self,
        stream: UnixStream,
        number: u64,
        inputs: &mpsc::Sender<inputs::Input>,
    ) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader.take(QUESTION_BYTES_MAX));
        let mut line = String::new();
        timeout(ASK_WITHIN, reader.read_line(&mut line)).await??;
        let (joined, error) = match self.join(&line, number) {
            Ok(lines) => (Some(lines), None),
            Err(why) => (None, Some(why)),
        };
        let bridge = self.bridge.to_string();
        write_line(&mut writer, &Greeting { bridge, error }).await?;
        let Some(mut lines) = joined else {
            return Ok(());
        };
        let _ = inputs.send(bridge::Input::Looked(true).into()).await;
        let mut byte = [0];
        loop {
            tokio::select! {
                seen = lines.recv() => match seen {
                    Some(seen) => write_line(&mut writer, &seen).await?,
                    None => return Ok(()),
                },
                // Nothing more is asked: what comes is the end.
                _ = reader.read(&mut byte) => return Ok(()),
            }
        }
    }

    fn join(&self, line: &str, number: u64) -> Result<mpsc::Receiver<Seen>, String> {
        let question: Question = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let port = match question.monitor {
            None => None,
            Some(name) => {
                let at = self.names.iter().position(|known| *known == name);
                let known = || self.names.join(", ");
                Some(PortIndex(at.ok_or_else(|| {
                    format!("there is no port {name:?}, but {}", known())
                })?))
            }
        };
        let mut monitors = self.lock();
        if monitors.len() >= MONITORS_MAX {
            return Err(format!("{MONITORS_MAX} look on already"));
        }
        let (sender, lines) = mpsc::channel(LINES_MAX);
        monitors.push(Monitor {
            number,
            port,
            lines: sender,
            missed: 0,
        });
        Ok(lines)
    }

    /// `true` if nobody is left.
    fn leave(&self, number: u64) -> bool {
        let mut monitors = self.lock();
        monitors.retain(|monitor| monitor.number != number);
        monitors.is_empty()
    }

    /// Shows a line to all who look at its port.
    pub(super) fn show(&self, shown: &Shown) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        for monitor in self.lock().iter_mut() {
            if monitor.port.is_some_and(|port| port != shown.port) {
                continue;
            }
            let seen = Seen {
                at,
                port: self.names.get(shown.port.0).cloned().unwrap_or_default(),
                direction: shown.direction.to_string(),
                kind: shown.kind.to_owned(),
                text: String::from_utf8_lossy(shown.bytes.trim_ascii()).into_owned(),
                missed: monitor.missed,
            };
            monitor.missed = match monitor.lines.try_send(seen) {
                Ok(()) => 0,
                Err(_) => monitor.missed + 1,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Monitor>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_line(
    writer: &mut (impl AsyncWriteExt + Unpin),
    line: &impl Serialize,
) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

/// Listens at a path, where an ended bridge may have left its socket.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if Blocking::connect(path).is_err() && path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
