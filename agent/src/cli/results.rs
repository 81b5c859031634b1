//! Results of a rule that is tried, as lines of JSON in the order in which things happened: to
//! standard output, or kept to be compared. Everything else goes to standard error.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Failure;
use crate::mill::{Emitted, Output};
use tidemill_base::console::{self, Stdout};
use tidemill_base::text::shown;

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultLine<'a> {
    Json {
        at: i64,
        port: &'a str,
        key: &'a str,
        payload: &'a RawValue,
    },
    Bytes {
        at: i64,
        port: &'a str,
        key: &'a str,
        payload_base64: String,
    },
    DeadLetter {
        at: i64,
        dead_letter: &'a str,
        topic: &'a str,
    },
}

/// Receives the outputs of the mill.
pub(super) struct Results {
    out: Stdout,
    /// The lines, where they are to be compared and not written.
    kept: Option<Vec<String>>,
    /// `true` if emissions that go out together are one line.
    array: bool,
    /// Emissions of the present group so far.
    rows: Vec<Emitted>,
    /// Number of lines still wanted; `None` for any number.
    lines_left: Option<u64>,
    emissions: u64,
    dead: u64,
}

impl Results {
    /// Results that are written at once, up to a number of lines.
    pub(super) fn written(array: bool, lines_max: Option<u64>) -> Self {
        Self {
            out: console::stdout(),
            kept: None,
            array,
            rows: Vec::new(),
            lines_left: lines_max,
            emissions: 0,
            dead: 0,
        }
    }

    /// Results that are kept for [`Results::into_kept`].
    pub(super) fn kept(array: bool) -> Self {
        Self {
            kept: Some(Vec::new()),
            ..Self::written(array, None)
        }
    }

    /// Returns `true` if all lines that are wanted were written. Later results are ignored.
    pub(super) fn are_complete(&self) -> bool {
        self.lines_left == Some(0)
    }

    /// Takes the outputs of a step of the mill at this time, and empties them.
    pub(super) fn take(&mut self, at: i64, outputs: &mut Vec<Output>) -> Result<(), Failure> {
        for output in outputs.drain(..) {
            let goes_along = match &output {
                Output::Emission(sent) => {
                    let last = self.rows.last();
                    last.is_none_or(|last| last.together == sent.together)
                }
                // Log lines may come between the rows of a firing.
                other => !matches!(other, Output::DeadLetter(_)),
            };
            if !goes_along {
                self.gathered()?;
            }
            if self.are_complete() {
                continue;
            }
            match output {
                Output::Emission(sent) if self.array => {
                    self.emissions += 1;
                    self.rows.push(sent);
                }
                Output::Emission(sent) => {
                    self.emissions += 1;
                    self.emission(&sent)?;
                }
                Output::DeadLetter(dead) => {
                    self.dead += 1;
                    self.write(&ResultLine::DeadLetter {
                        at: dead.at_ms,
                        dead_letter: &dead.reason,
                        topic: dead.topic.as_str(),
                    })?;
                }
                Output::Logs { lines, .. } => {
                    let mut err = console::stderr();
                    for line in lines {
                        writeln!(err, "log at {at}: {}", line.text)?;
                    }
                }
                Output::BadTime { topic, reason, .. } => {
                    let topic = shown(topic.as_str());
                    writeln!(console::stderr(), "at {at}: bad time, {topic}: {reason}")?;
                }
                Output::Quarantined { for_ms, .. } => {
                    let seconds = for_ms / 1_000;
                    writeln!(
                        console::stderr(),
                        "at {at}: too many faults, the rule rests for {seconds} s"
                    )?;
                }
                // This mill keeps nothing, so it has nothing to say of journal, lanes and sessions.
                _ => {}
            }
        }
        self.gathered()
    }

    fn emission(&mut self, sent: &Emitted) -> Result<(), Failure> {
        let payload = one_line(&sent.payload);
        let (at, port, key) = (sent.at_ms, sent.port.name.as_str(), &*sent.key);
        match serde_json::from_slice::<&RawValue>(&payload) {
            Ok(payload) => self.write(&ResultLine::Json {
                at,
                port,
                key,
                payload,
            }),
            Err(_) => self.write(&ResultLine::Bytes {
                at,
                port,
                key,
                payload_base64: BASE64_STANDARD.encode(&sent.payload),
            }),
        }
    }

    /// Writes the group of emissions as one line.
    fn gathered(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let texts: Vec<String> = rows
            .iter()
            .map(|row| String::from_utf8_lossy(&one_line(&row.payload)).into_owned())
            .collect();
        let payload = RawValue::from_string(format!("[{}]", texts.join(",")))
            .map_err(|error| Failure::Failed(error.into()))?;
        self.write(&ResultLine::Json {
            at: first.at_ms,
            port: first.port.name.as_str(),
            key: &first.key,
            payload: &payload,
        })
    }

    fn write(&mut self, line: &ResultLine<'_>) -> Result<(), Failure> {
        let line = serde_json::to_string(line).map_err(|error| Failure::Failed(error.into()))?;
        if let Some(left) = &mut self.lines_left {
            *left = left.saturating_sub(1);
        }
        match &mut self.kept {
            Some(kept) => kept.push(line),
            None => self.out.json(line)?,
        }
        Ok(())
    }

    /// The number of emissions.
    pub(super) fn emissions(&self) -> u64 {
        self.emissions
    }

    /// Counts of emissions and dead letters, for people.
    pub(super) fn counted(&self) -> String {
        let Self {
            emissions, dead, ..
        } = self;
        format!("{emissions} emissions, {dead} dead letters")
    }

    /// The lines that were kept.
    pub(super) fn into_kept(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}

/// JSON may be written over several lines; a line break is never part of a string in it.
fn one_line(payload: &Bytes) -> Bytes {
    if !payload.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return payload.clone();
    }
    payload
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect()
}
