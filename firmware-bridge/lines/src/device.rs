//! The device's end as a state machine: every call says the time, and takes or gives one thing. The table
//! in `docs/lines.md` is its specification.

use crate::frame::Frame;
use crate::message::{Boot, CommandId, Name, ToDevice, unseal};
use crate::ring::Ring;

/// Milliseconds of the device's clock, which may wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub u32);

impl Millis {
    fn after(self, milliseconds: u32) -> Self {
        Self(self.0.wrapping_add(milliseconds))
    }

    /// Milliseconds until `self`, 0 if that is past.
    fn left(self, now: Self) -> u32 {
        let left = self.0.wrapping_sub(now.0);
        if left > u32::MAX / 2 { 0 } else { left }
    }
}

/// Properties that a firmware chooses.
#[derive(Debug, Clone, Copy)]
pub struct Config<'m> {
    /// The device's name.
    pub name: Name<'m>,
    /// Pairs that stand in the hello at the start, such as `fw=1.4.2 hw=th-board-2`. No LF.
    pub info: &'m str,
    /// Bits a second on the wire.
    pub baud: u32,
    /// Lines under way at once: 8, on fast lines 32, on RS-485 1.
    pub window: u8,
}

/// Memory to work in.
#[derive(Debug)]
pub struct Memory<'m> {
    /// Holds lines until they are safe; each takes two bytes more than its text.
    pub ring: &'m mut [u8],
    /// Takes one line of the bridge; its length goes into the hello as `max`.
    pub line: &'m mut [u8],
    /// Keeps the answer to the last command for the case that it is asked for again.
    pub answer: &'m mut [u8],
}

/// One thing that happens to the device.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A byte has come.
    Byte(u8),
    /// The UART can take a line.
    Room,
    /// The application says a line.
    Line(&'a [u8]),
    /// The application has carried a command out, or not.
    Answer {
        /// The command's number.
        command: CommandId,
        /// `true` if it was carried out.
        ok: bool,
        /// Further words; what is longer than the memory for it is cut off.
        text: &'a [u8],
    },
}

/// One thing that the device's end asks for.
#[derive(Debug)]
pub enum Output<'d> {
    /// Nothing.
    Nothing,
    /// Write this line. Only [`Input::Room`] gives one.
    Send(Frame<'d>),
    /// Nothing to write for so many milliseconds, unless something else happens before.
    Wait(u32),
    /// Carry this command out and give its answer. It comes once, however often the line is repeated.
    Command {
        /// The command's number.
        command: CommandId,
        /// The command's words.
        text: &'d [u8],
    },
}

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
    /// Lines to send again: bit k stands for `again_from + k`.
    again: u32,
    again_from: u32,
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
            again: 0,
            again_from: 0,
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
            (self.got, self.sent, self.again, self.rto_at) = (0, 0, 0, None);
        }
        self.got = self.got.max(self.ring.base());
        self.sent = self.sent.max(self.got);
        if self.sent == self.got {
            self.rto_at = None;
        }
    }

    fn take_line(&mut self, now: Millis, len: usize) -> Output<'_> {
        let line = self.line.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line_len = line.len();
        let Some(message) = unseal(line, self.boot).and_then(ToDevice::read) else {
            return Output::Nothing;
        };
        match (message, self.boot) {
            (ToDevice::New(boot), None) => {
                self.boot = Some(boot);
                (self.hello, self.said_hello) = (true, false);
                self.hello_at = now.after(HELLO_MS);
                (self.got, self.sent) = (self.ring.base(), self.ring.base());
            }
            (
                ToDevice::Ok {
                    boot,
                    next,
                    safe,
                    time,
                    who,
                },
                Some(mine),
            ) if boot == mine => {
                if let Some(time) = time {
                    self.time = Some((time, now));
                }
                // A full hello is a hello of its own: the one that was answered had not said all.
                self.full |= who;
                self.hello |= who;
                if let Some(safe) = safe {
                    self.forget(now, safe.0);
                }
                self.go_back(now, next.0);
            }
            (ToDevice::Held(number), Some(_)) => self.held_to(now, number.0),
            (ToDevice::Safe(number), Some(_)) => self.forget(now, number.0),
            (ToDevice::Missing(number), Some(_)) => self.send_again(now, number.0),
            (ToDevice::Command { command, text }, Some(_)) => {
                let len = text.len();
                if self.task == Task::None || self.command != command {
                    self.command = command;
                    self.task = Task::Running;
                    self.answer_due = false;
                    let end = line_len - SEAL_BYTES;
                    let text = self.line.get(end - len..end).unwrap_or_default();
                    return Output::Command { command, text };
                }
                self.answer_due = self.task == Task::Answered;
            }
            _ => {}
        }
        Output::Nothing
    }

    /// `next` of an `@ok`: the bridge may want lines again that it held before it was restarted.
    fn go_back(&mut self, now: Millis, next: u32) {
        let to = next.saturating_sub(1);
        if to > self.ring.top() {
            return;
        }
        self.hello |= to < self.ring.base();
        let to = to.max(self.ring.base());
        if to < self.got {
            self.sent = to;
        }
        self.held_to(now, to);
    }

    fn held_to(&mut self, now: Millis, number: u32) {
        if number > self.ring.top() {
            return;
        }
        let before = core::mem::replace(&mut self.got, number.max(self.ring.base()));
        self.sent = self.sent.max(self.got);
        if self.got > before {
            self.rto = self.rto_base();
            self.rto_at = None;
        }
        if self.sent == self.got {
            self.rto_at = None;
        } else if self.rto_at.is_none() {
            self.rto_at = Some(now.after(self.rto));
        }
    }

    fn forget(&mut self, now: Millis, number: u32) {
        if number > self.ring.top() {
            return;
        }
        while self.ring.count() > 0 && self.ring.base() < number {
            self.ring.pop();
        }
        let got = self.got.max(self.ring.base());
        self.held_to(now, got);
        self.settle(now);
    }

    fn send_again(&mut self, now: Millis, number: u32) {
        if number == 0 || number > self.ring.top() {
            return;
        }
        if number <= self.ring.base() {
            self.hello = true;
            return;
        }
        self.held_to(now, self.got.max(number - 1));
        self.repeat(number);
    }

    /// Notes a line that was sent before; what lies too far from the others is asked for once more anyway.
    fn repeat(&mut self, number: u32) {
        if number == 0 || number > self.sent {
            return;
        }
        if self.again == 0 {
            self.again_from = number;
        }
        if let Some(down) = self.again_from.checked_sub(number) {
            self.again = self.again.checked_shl(down).unwrap_or(0) | 1;
            self.again_from = number;
        } else {
            self.again |= 1_u32.checked_shl(number - self.again_from).unwrap_or(0);
        }
    }

    /// Returns the lowest line to send again that is still held.
    fn next_again(&mut self) -> Option<u32> {
        while self.again != 0 {
            let bit = self.again.trailing_zeros();
            self.again &= self.again - 1;
            let number = self.again_from.saturating_add(bit);
            if number > self.ring.base() && number <= self.ring.top() {
                return Some(number);
            }
        }
        None
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

    fn room(&mut self, now: Millis) -> Output<'_> {
        let due = |at: Millis| at.left(now) == 0;
        if self.boot.is_none() {
            if !due(self.hello_at) {
                return Output::Wait(self.hello_at.left(now));
            }
            self.full = true;
            return self.say_hello(now);
        }
        if self.rto_at.is_some_and(due) {
            self.hello = true;
            self.repeat(self.got + 1);
            self.rto = (2 * self.rto).min(RTO_MS_MAX.max(self.rto_base()));
            self.rto_at = Some(now.after(self.rto));
        }
        self.hello |= due(self.idle_at) || due(self.hello_at);
        let may_send = self.sent < self.ring.top()
            && self.sent - self.got < u32::from(self.config.window.max(1));
        // A flood that evicts lines all the time asks for a hello each time: every second line is one then.
        if self.hello && !(self.said_hello && may_send) {
            return self.say_hello(now);
        }
        if self.answer_due {
            self.answer_due = false;
            self.on_wire(now);
            return Output::Send(self.answer_frame());
        }
        if let Some(number) = self.next_again() {
            self.on_wire(now);
            return Output::Send(self.line_frame(number));
        }
        if may_send {
            self.sent += 1;
            if self.rto_at.is_none() {
                self.rto_at = Some(now.after(self.rto));
            }
            self.on_wire(now);
            return Output::Send(self.line_frame(self.sent));
        }
        let timers = [Some(self.idle_at), Some(self.hello_at), self.rto_at];
        let left = timers.into_iter().flatten().map(|at| at.left(now));
        Output::Wait(left.min().unwrap_or(IDLE_MS))
    }

    /// Notes that something other than a hello goes out.
    fn on_wire(&mut self, now: Millis) {
        self.idle_at = now.after(IDLE_MS);
        self.said_hello = false;
    }

    fn say_hello(&mut self, now: Millis) -> Output<'_> {
        let wait = match self.boot {
            Some(_) => HELLO_MS,
            None => {
                self.asked = self.asked.saturating_add(1);
                1_000 * u32::from(self.asked.min(5))
            }
        };
        self.hello_at = now.after(wait);
        self.idle_at = now.after(IDLE_MS);
        self.hello = false;
        self.said_hello = true;
        let full = core::mem::take(&mut self.full);
        let boot = self.boot.as_ref().map_or(&b"-"[..], |boot| boot.digits());
        let mut frame = Frame::new(b'@')
            .bytes(self.config.name.as_bytes())
            .bytes(b" boot=")
            .bytes(boot)
            .bytes(b" first=")
            .number(self.ring.base() + 1)
            .bytes(b" lost=")
            .number(self.lost);
        if self.boot.is_some() && self.sent > self.got {
            // A window that was lost whole leaves no gap that the bridge could see.
            frame = frame.bytes(b" sent=").number(self.sent);
        }
        if full {
            if !self.config.info.is_empty() {
                frame = frame.bytes(b" ").body([self.config.info.as_bytes(), &[]]);
            }
            frame = frame.max(self.line.len() as u32);
        }
        Output::Send(frame.seal(None))
    }

    fn line_frame(&mut self, number: u32) -> Frame<'_> {
        let frame = Frame::new(b'#').number(number).bytes(b" ");
        let body = self.ring.get(number);
        frame.body(body).seal(self.boot.as_ref())
    }

    fn answer_frame(&self) -> Frame<'_> {
        let verdict: &[u8] = if self.answer_ok { b" ok" } else { b" err" };
        let text = self.answer.get(..self.answer_len).unwrap_or_default();
        let mut frame = Frame::new(b'<').number(self.command.0).bytes(verdict);
        if !text.is_empty() {
            frame = frame.bytes(b" ");
        }
        frame.body([text, &[]]).seal(self.boot.as_ref())
    }

    /// 300 ms, and twice the time that a window of the longest lines takes on the wire.
    fn rto_base(&self) -> u32 {
        let window = u32::from(self.config.window.max(1));
        let bytes = window * (u32::from(self.longest) + FRAME_BYTES);
        // Ten bits a byte, twice, in milliseconds: 255 lines of 64 KiB fit, and 64-bit division costs flash.
        RTO_MS + (bytes * 200 / (self.config.baud / 100).max(1)).min(60_000)
    }
}
