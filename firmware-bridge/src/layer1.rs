//! The bridge's end of acknowledged lines, for one port: a state machine that takes time, lines, PUBACKs and
//! commands, and says what to write, to publish and to answer. It opens nothing and keeps nothing on disk:
//! after a kill, the device's next hello says what no `+` has covered. The table in `docs/lines.md` is its
//! specification.

mod commands;
mod hello;
mod run;
mod types;

pub use crate::queue::Ticket;
pub use crate::time::{Mono, Now};
pub use commands::{CommandFailure, CommandToken, Reply};
pub use types::{Counts, DeviceInfo, Input, Limits, Output, State};

use commands::Commands;
use run::{OldRun, Run, Taken};
use std::collections::VecDeque;
use std::sync::Arc;
use tidemill_lines::{Boot, FromDevice, LineNumber, ToDevice, seal, unseal};

/// Lines after which `=` or `+` is written at once, and the time after which it is written in any case.
const ACK_LINES: u32 = 4;
const ACK_MS: u64 = 5;

/// Silence after which a device counts as away.
const SILENCE_MS: u64 = 30_000;

/// Boots of the past that are remembered, so that a line of theirs is not taken twice.
const OLD_RUNS_MAX: usize = 8;

/// Texts on their way to the broker.
type Queue = crate::queue::Queue<Arc<[u8]>>;

/// The bridge's end of one port; `B` makes a boot that nobody ever had.
#[derive(Debug)]
pub struct Layer1<B> {
    limits: Limits,
    fresh_boot: B,
    run: Option<Run>,
    old: VecDeque<OldRun>,
    device: DeviceInfo,
    /// Asked `who` so often since the device's properties were unknown.
    who_asked: u8,
    queue: Queue,
    commands: Commands,
    acks: Acks,
    heard_at: Mono,
    is_silent: bool,
    counts: Counts,
    out: Vec<Output>,
}

/// Acknowledgements that wait to be written.
#[derive(Debug, Default)]
struct Acks {
    held: bool,
    safe: bool,
    lines: u32,
    at: Option<Mono>,
}

impl<B: FnMut() -> Boot> Layer1<B> {
    /// A port on which nothing was heard yet.
    pub fn new(limits: Limits, fresh_boot: B) -> Self {
        Self {
            limits,
            fresh_boot,
            run: None,
            old: VecDeque::new(),
            device: DeviceInfo::default(),
            who_asked: 0,
            queue: Queue::new(limits.in_flight_max),
            commands: Commands::default(),
            acks: Acks::default(),
            heard_at: Mono(0),
            is_silent: false,
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// Takes one thing that happened, and returns all that is to be done, in order.
    pub fn step(&mut self, now: Now, input: Input<'_>) -> Vec<Output> {
        match input {
            Input::Time => {}
            Input::Line(line) => self.take(now, line),
            Input::Acknowledged { ticket, reason } => {
                self.counts.unheard += u64::from(reason == 0x10);
                self.counts.refused += u64::from(reason >= 0x80);
                self.queue.acknowledged(now.mono, ticket, reason);
            }
            Input::Broker(is_there) => self.queue.broker(is_there),
            Input::Room(bytes) => self.limits.room_bytes = bytes,
            Input::Command {
                token,
                command,
                text,
            } => {
                let failure = self.commands.push(now.mono, token, command, text);
                self.out.extend(failure);
            }
        }
        self.advance_safe(now.mono);
        self.queue.publish(now.mono, |sent| {
            self.out.push(Output::Publish {
                ticket: sent.ticket,
                boot: sent.boot,
                number: sent.number,
                text: sent.content.clone(),
            });
        });
        self.look_for_silence(now.mono);
        self.ask(now.mono);
        self.acknowledge(now.mono);
        self.command(now.mono);
        std::mem::take(&mut self.out)
    }

    /// The next time at which [`Input::Time`] does something.
    pub fn due(&self) -> Option<Mono> {
        let silence =
            (self.run.is_some() && !self.is_silent).then(|| self.heard_at.after(SILENCE_MS));
        let ask = self.run.as_ref().filter(|_| self.may_ask());
        [
            self.acks.at,
            silence,
            ask.and_then(Run::ask_at),
            self.queue.retry_at(),
            self.commands.due(self.away_since()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// State of the link for the port's status.
    pub fn state(&self) -> State {
        match self.run {
            None => State::Quiet,
            Some(_) if self.is_silent => State::Silent,
            Some(_) => State::Linked,
        }
    }

    /// Properties of the device, as its last hellos said them.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// The boot whose lines are taken.
    pub fn boot(&self) -> Option<Boot> {
        self.run.as_ref().map(|run| run.boot)
    }

    /// Counts since the start.
    pub fn counts(&self) -> Counts {
        let lost = self.run.as_ref().map_or(0, |run| u64::from(run.lost));
        Counts {
            lost: self.counts.lost + lost,
            ..self.counts
        }
    }

    /// Bytes held for the broker, lines beyond a gap among them.
    pub fn held_bytes(&self) -> usize {
        self.queue.bytes() + self.run.as_ref().map_or(0, Run::beyond_bytes)
    }

    /// Lines beyond a gap, of which none is acknowledged.
    pub fn beyond(&self) -> usize {
        self.run.as_ref().map_or(0, Run::beyond_lines)
    }

    fn take(&mut self, now: Now, line: &[u8]) {
        let Some(content) = unseal(line, self.boot()) else {
            self.counts.damaged += 1;
            return;
        };
        let Some(message) = FromDevice::read(content) else {
            if ToDevice::read(content).is_some() {
                self.counts.echoes += 1;
            } else {
                self.counts.malformed += 1;
            }
            return;
        };
        self.counts.good += 1;
        self.heard_at = now.mono;
        self.is_silent = false;
        match message {
            FromDevice::Hello(hello) => self.hello(now, hello),
            FromDevice::Line { number, text } => self.take_line(now.mono, number, text),
            FromDevice::Answer { command, ok, text } => {
                match self.commands.answered(now.mono, command, ok, text) {
                    Some(answer) => self.out.push(answer),
                    None => self.counts.unasked += 1,
                }
            }
        }
    }

    fn take_line(&mut self, now: Mono, number: LineNumber, text: &[u8]) {
        let Some(run) = &mut self.run else { return };
        match run.take(now, number, text, &self.limits, &mut self.queue) {
            Taken::Kept => {
                self.acks.lines += 1;
                self.acks.held = true;
            }
            Taken::Known => {
                self.counts.repeated += 1;
                if number <= run.safe {
                    self.acks.safe = true;
                } else {
                    self.acks.held = true;
                }
            }
            Taken::NoRoom => {
                self.counts.no_room += 1;
                self.acks.held = true;
            }
        }
        self.acks.at.get_or_insert(now.after(ACK_MS));
    }

    /// Counts lines safe that PUBACKs have covered in order.
    fn advance_safe(&mut self, now: Mono) {
        while let Some((boot, number)) = self.queue.pop_safe() {
            if let Some(run) = self.run.as_mut().filter(|run| run.boot == boot) {
                run.safe = number;
                self.acks.safe = true;
                self.acks.lines += 1;
                self.acks.at.get_or_insert(now.after(ACK_MS));
            } else if let Some(old) = self.old.iter_mut().find(|old| old.boot == boot) {
                old.safe = number;
            }
        }
    }

    fn look_for_silence(&mut self, now: Mono) {
        self.is_silent |= self.run.is_some() && now >= self.heard_at.after(SILENCE_MS);
    }

    /// `true` if a line that was asked for could be taken.
    fn may_ask(&self) -> bool {
        let room = |run: &Run| run.has_room(run.longest, &self.limits, &self.queue);
        !self.is_silent && self.run.as_ref().is_some_and(room)
    }

    fn ask(&mut self, now: Mono) {
        if !self.may_ask() {
            return;
        }
        let Some(run) = &mut self.run else { return };
        for number in run.ask(now, &self.limits, &self.queue) {
            let content = format!("-{}", number.0);
            self.out.push(line_of(Some(run.boot), content.into_bytes()));
        }
    }

    fn acknowledge(&mut self, now: Mono) {
        let is_due = self.acks.at.is_some_and(|at| at <= now) || self.acks.lines >= ACK_LINES;
        let Some(run) = self.run.as_ref().filter(|_| is_due) else {
            return;
        };
        let held = run.held_to();
        let mut say = |mark: char, number: LineNumber| {
            let content = format!("{mark}{}", number.0);
            self.out.push(line_of(Some(run.boot), content.into_bytes()));
        };
        // `+` stands for `=` as well where nothing more is held.
        if self.acks.safe && run.safe.0 > 0 {
            say('+', run.safe);
        }
        if self.acks.held && !(self.acks.safe && run.safe == held) {
            if held == run.safe && held.0 > 0 {
                say('+', held);
            } else {
                say('=', held);
            }
        }
        self.acks = Acks::default();
    }

    fn away_since(&self) -> Option<Mono> {
        match self.state() {
            State::Linked => None,
            State::Quiet => Some(Mono(0)),
            State::Silent => Some(self.heard_at),
        }
    }

    fn command(&mut self, now: Mono) {
        let away_since = self.away_since();
        let boot = self.boot().filter(|_| away_since.is_none());
        let max = self.device.max.unwrap_or(DeviceInfo::MAX_DEFAULT);
        self.commands
            .turn(now, boot, away_since, max, self.limits.baud, &mut self.out);
    }
}

/// A line for the wire, with an LF before as well, so that half a line in front does no harm.
fn line_of(boot: Option<Boot>, content: Vec<u8>) -> Output {
    let seal = seal(boot, &content);
    let mut line = vec![b'\n'];
    line.extend(content);
    line.extend(seal);
    Output::Write(line)
}
