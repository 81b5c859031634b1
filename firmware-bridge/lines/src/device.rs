//! The device's end as a state machine: every call says the time, and takes or gives one thing. The table
//! in `docs/lines.md` is its specification.

mod again;
mod hear;
mod interface;
mod say;

use crate::message::{Boot, CommandId};
use crate::ring::Ring;
use again::Again;

pub use interface::{Config, Input, Memory, Millis, Output};

const RTO_MS: u32 = 300;
const RTO_MS_MAX: u32 = 5_000;
const IDLE_MS: u32 = 10_000;
/// A hello comes at least so often, or a device that is never idle would never be told the time.
const HELLO_MS: u32 = 60_000;
/// `*` and the checksum.
const SEAL_BYTES: usize = 9;
/// Bytes around a text: two LF, mark, number, space, checksum.
const FRAME_BYTES: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    None,
    Running,
    Answered,
}

/// The device's end.
#[derive(Debug)]
pub struct Device<'m> {
    config: Config<'m>,
    ring: Ring<'m>,
    line: &'m mut [u8],
    answer: &'m mut [u8],
    boot: Option<Boot>,
    lost: u32,
    /// All up to here is held by the bridge.
    got: u32,
    /// All up to here was sent since the last time it was gone back.
    sent: u32,
    again: Again,
    hello: bool,
    /// The next hello says all; the one before was not followed by anything else.
    full: bool,
    said_hello: bool,
    /// Hellos sent without an answer while asking.
    asked: u8,
    hello_at: Millis,
    idle_at: Millis,
    rto: u32,
    rto_at: Option<Millis>,
    longest: u16,
    /// Bytes of the line that comes; more than `line` holds if it is too long.
    received: usize,
    time: Option<(u64, Millis)>,
    command: CommandId,
    task: Task,
    answer_ok: bool,
    answer_len: usize,
    answer_due: bool,
}

impl<'m> Device<'m> {
    /// A device that has just been reset.
    pub fn new(now: Millis, config: Config<'m>, memory: Memory<'m>) -> Self {
        let mut device = Self {
            config,
            ring: Ring::new(memory.ring),
            line: memory.line,
            answer: memory.answer,
            boot: None,
            lost: 0,
            got: 0,
            sent: 0,
            again: Again::default(),
            hello: false,
            full: false,
            said_hello: false,
            asked: 0,
            hello_at: now,
            idle_at: now,
            rto: 0,
            rto_at: None,
            longest: 0,
            received: 0,
            time: None,
            command: CommandId(0),
            task: Task::None,
            answer_ok: false,
            answer_len: 0,
            answer_due: false,
        };
        device.rto = device.rto_base();
        device
    }

    /// Takes one thing that happened, and returns one thing to do.
    pub fn step(&mut self, now: Millis, input: Input<'_>) -> Output<'_> {
        match input {
            Input::Byte(b'\n') => {
                let len = core::mem::take(&mut self.received);
                return self.take_line(now, len);
            }
            Input::Byte(byte) => {
                if let Some(place) = self.line.get_mut(self.received) {
                    *place = byte;
                }
                self.received = self.received.saturating_add(1);
            }
            Input::Line(text) => self.push(now, text),
            Input::Answer { command, ok, text } => self.keep_answer(command, ok, text),
            Input::Room => return self.room(now),
        }
        Output::Nothing
    }

    /// Lines held, because they are not safe yet.
    pub fn held(&self) -> u32 {
        self.ring.count()
    }

    /// Lines given up since the reset, because the ring was full.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// The boot that the bridge gave.
    pub fn boot(&self) -> Option<Boot> {
        self.boot
    }

    /// Milliseconds since 1970, once the bridge has said it.
    pub fn time(&self, now: Millis) -> Option<u64> {
        let (time, at) = self.time?;
        Some(time + u64::from(now.0.wrapping_sub(at.0)))
    }

    fn push(&mut self, now: Millis, text: &[u8]) {
        if !self.ring.can_hold(text.len()) {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        while !self.ring.has_room(text.len()) {
            self.ring.pop();
            self.lost = self.lost.saturating_add(1);
            // The bridge would wait for a line that never comes.
            self.hello |= self.ring.base() > self.sent;
            self.settle(now);
        }
        self.longest = self.longest.max(text.len() as u16);
        self.ring.push(text);
    }

    /// Keeps the numbers in order after lines went, and begins a new boot after the last number.
    fn settle(&mut self, now: Millis) {
        if self.ring.base() == u32::MAX {
            self.ring.renumber();
            self.boot = None;
            self.asked = 0;
            self.hello_at = now;
            (self.got, self.sent, self.rto_at) = (0, 0, None);
            self.again = Again::default();
        }
        self.got = self.got.max(self.ring.base());
        self.sent = self.sent.max(self.got);
        if self.sent == self.got {
            self.rto_at = None;
        }
    }

    fn keep_answer(&mut self, command: CommandId, ok: bool, text: &[u8]) {
        if self.task != Task::Running || command != self.command {
            return;
        }
        self.task = Task::Answered;
        self.answer_ok = ok;
        self.answer_due = true;
        self.answer_len = text.len().min(self.answer.len());
        for (to, from) in self.answer.iter_mut().zip(text) {
            *to = if matches!(from, b'\n' | b'\r') {
                b' '
            } else {
                *from
            };
        }
    }
}
