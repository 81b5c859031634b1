//! The file that a live sample goes to, one line an event.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::{Failure, events};
use crate::event::Event;
use tidemill_base::text::{printable, size_text};

#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// `None` once it has become as long as it may.
    file: Option<File>,
    bytes_max: u64,
    bytes: u64,
    events: u64,
    /// A clock that is set back does not set the recording back: lines stand in the order of arrival.
    last_at_ms: i64,
}

impl Record {
    /// A file that must not be there.
    pub(super) fn create(path: &Path, bytes_max: u64) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "is there already".to_owned(),
                _ => format!("cannot be written: {error}"),
            };
            Failure::Wrong(vec![format!("{}: {why}", path.display())])
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            bytes_max,
            bytes: 0,
            events: 0,
            last_at_ms: 0,
        })
    }

    /// Adds an event that was worked on at this time. It is in the file when this returns. Returns
    /// a message for people if the recording has ended.
    pub(super) fn add(&mut self, event: &Event, at_ms: i64) -> Result<Option<String>, Failure> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let at_ms = at_ms.max(self.last_at_ms);
        let line = events::line(event, at_ms).map_err(|error| Failure::Failed(error.into()))?;
        let bytes = self.bytes + line.len() as u64;
        if bytes > self.bytes_max {
            self.file = None;
            let (path, max) = (self.path.display(), size_text(self.bytes_max));
            return Ok(Some(format!(
                "{path} has reached {max} with {} events: the recording has ended, the run goes on",
                self.events
            )));
        }
        file.write_all(line.as_bytes()).map_err(|error| {
            let path = self.path.display();
            Failure::Failed(anyhow::anyhow!("{path}: cannot be written: {error}"))
        })?;
        self.bytes = bytes;
        self.events += 1;
        self.last_at_ms = at_ms;
        Ok(None)
    }

    /// The number of recorded events, and the command that runs them again, to which the time is
    /// added here.
    pub(super) fn summary(&self, command: &str, from_ms: i64, until_ms: i64) -> String {
        // Of an end that was not recorded nothing can be run again.
        let until_ms = match self.file {
            Some(_) => until_ms.max(self.last_at_ms),
            None => self.last_at_ms,
        };
        let (events, path) = (self.events, printable(self.path.display()));
        let command = printable(command);
        format!(
            "{events} events are in {path}; to run them again:\n  {command} --from {from_ms} --until {until_ms}"
        )
    }
}
