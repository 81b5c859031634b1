//! Commands of one port, one at a time: repeated until the device answers, or there is a reason why it does not.

use super::line_of;
use super::types::Output;
use crate::time::Mono;
use std::collections::VecDeque;
use tidemill_lines::{Boot, CommandId};

/// The caller's name for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandToken(pub u64);

/// The answer of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `true` if the command was carried out.
    pub ok: bool,
    /// Further words.
    pub text: Vec<u8>,
}

/// Reasons for a command to end without the device's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandFailure {
    /// It may have been carried out all the same.
    #[error("no answer within 5 s")]
    Silence,
    /// It may have been carried out before.
    #[error("the device was reset before it answered")]
    Reset,
    /// It was never sent.
    #[error("the device is away")]
    Away,
    /// It was never sent.
    #[error("the command is longer than the {max} bytes of a line that the device takes")]
    TooLong {
        /// The longest line that the device takes, mark, number and checksum included.
        max: u32,
    },
    /// It was never sent.
    #[error("a command is one line of text without control characters")]
    NotALine,
    /// It was never sent.
    #[error("busy")]
    Busy,
    /// It was never sent.
    #[error("the port has frames, which go one way")]
    OneWay,
    /// It was never sent.
    #[error("the port has Modbus units, which are only read")]
    OnlyRead,
}

const WAITING_MAX: usize = 64;
const WAITING_BYTES_MAX: usize = 64 << 10;
const TRY_MS: u64 = 5_000;
const AWAY_MS: u64 = 60_000;
const RTO_MS: u64 = 300;

#[derive(Debug)]
struct Command {
    token: CommandToken,
    id: CommandId,
    text: Vec<u8>,
    came: Mono,
}

/// The first of the commands, once it was written.
#[derive(Debug, Clone, Copy)]
struct Sent {
    boot: Boot,
    first: Mono,
    again_at: Mono,
}

/// Commands that wait, the first of which may be under way.
#[derive(Debug, Default)]
pub(super) struct Commands {
    waiting: VecDeque<Command>,
    bytes: usize,
    sent: Option<Sent>,
}

impl Commands {
    /// Takes a command; returns its end if it can never be sent.
    pub(super) fn push(
        &mut self,
        now: Mono,
        token: CommandToken,
        id: CommandId,
        text: &[u8],
    ) -> Option<Output> {
        let is_line = std::str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control));
        let is_full =
            self.waiting.len() >= WAITING_MAX || self.bytes + text.len() > WAITING_BYTES_MAX;
        let failure = match (is_line, is_full) {
            (false, _) => CommandFailure::NotALine,
            (true, true) => CommandFailure::Busy,
            (true, false) => {
                self.bytes += text.len();
                self.waiting.push_back(Command {
                    token,
                    id,
                    text: text.to_vec(),
                    came: now,
                });
                return None;
            }
        };
        Some(Output::Answered {
            token,
            command: id,
            reply: Err(failure),
            took_ms: 0,
        })
    }

    /// Takes an answer; `None` if it is to no command that is under way.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        id: CommandId,
        ok: bool,
        text: &[u8],
    ) -> Option<Output> {
        let is_it = self.sent.is_some() && self.waiting.front().is_some_and(|first| first.id == id);
        let text = text.to_vec();
        is_it.then(|| self.end(now, Ok(Reply { ok, text })))?
    }

    /// Writes the first command, again where it is time, and ends those that have waited long enough.
    /// `boot` is there while the device is.
    pub(super) fn turn(
        &mut self,
        now: Mono,
        boot: Option<Boot>,
        away_since: Option<Mono>,
        max: u32,
        baud: u32,
        out: &mut Vec<Output>,
    ) {
        while let Some(first) = self.waiting.front() {
            let content = content(first);
            let line_bytes = content.len() + 9;
            let failure = match (self.sent, boot, away_since) {
                (Some(sent), Some(boot), _) if sent.boot != boot => Some(CommandFailure::Reset),
                (Some(sent), ..) if now >= sent.first.after(TRY_MS) => {
                    Some(CommandFailure::Silence)
                }
                (None, Some(_), _) if line_bytes > max as usize => {
                    Some(CommandFailure::TooLong { max })
                }
                (None, None, Some(since)) if now >= since.max(first.came).after(AWAY_MS) => {
                    Some(CommandFailure::Away)
                }
                _ => None,
            };
            if let Some(failure) = failure {
                out.extend(self.end(now, Err(failure)));
                continue;
            }
            if let Some(boot) = boot
                && self.sent.is_none_or(|sent| sent.again_at <= now)
            {
                let on_wire = line_bytes as u64 * 20_000 / u64::from(baud.max(1));
                self.sent = Some(Sent {
                    boot,
                    first: self.sent.map_or(now, |sent| sent.first),
                    again_at: now.after(RTO_MS + on_wire),
                });
                out.push(line_of(Some(boot), content));
            }
            return;
        }
    }

    pub(super) fn due(&self, away_since: Option<Mono>) -> Option<Mono> {
        let first = self.waiting.front()?;
        match (self.sent, away_since) {
            (Some(sent), None) => Some(sent.again_at.min(sent.first.after(TRY_MS))),
            (Some(sent), Some(_)) => Some(sent.first.after(TRY_MS)),
            (None, Some(since)) => Some(since.max(first.came).after(AWAY_MS)),
            (None, None) => None,
        }
    }

    fn end(&mut self, now: Mono, reply: Result<Reply, CommandFailure>) -> Option<Output> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.text.len();
        self.sent = None;
        Some(Output::Answered {
            token: first.token,
            command: first.id,
            reply,
            took_ms: now.since(first.came),
        })
    }
}

fn content(command: &Command) -> Vec<u8> {
    let mut content = format!(">{} ", command.id.0).into_bytes();
    content.extend(&command.text);
    content
}
