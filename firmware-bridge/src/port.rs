//! One port as a state machine: bytes of the device, answers of the broker, commands and time in; bytes for the
//! device and publishes out. It opens nothing and reads no clock.

mod commands;
mod counts;
mod frames;
mod log;
mod modbus;
mod plain;
mod status;
mod take;

use crate::config;
use crate::demux::Splitter;
use crate::frames::Deframer;
use crate::layer1::{self, Layer1, Limits};
use crate::message::{Lane, Output, PortIndex, Publish, PublishId, Qos};
use crate::queue::Ticket;
use crate::smp::Packets;
use crate::time::{Mono, Now};
use crate::topics::{self, Below};
use commands::Commands;
use log::LogGate;
use modbus::Units;
use plain::PlainLines;
use std::collections::VecDeque;
use std::sync::Arc;
use tidemill_lines::{Boot, LineNumber};

pub use counts::Counts;
pub use status::{Line, State};

/// Makes a name for a run that nobody ever had.
pub type FreshBoot = Box<dyn FnMut() -> Boot>;

/// Lines of a port that are taken in one turn.
const LINES_A_TURN: usize = 64;

/// Reason codes of a broker that will never take a message: its topic, its length or its form.
const NEVER: [u8; 3] = [0x90, 0x95, 0x99];

/// Bytes of a port that may wait for their turn.
const BACKLOG_BYTES_MAX: usize = 64 << 10;

/// Names by which the outside knows a port.
#[derive(Debug, Clone)]
pub struct Names {
    /// The bridge's name.
    pub bridge: String,
    /// The port.
    pub index: PortIndex,
}

/// One thing that happens to a port.
#[derive(Debug)]
pub enum Input<'a> {
    /// Only time has passed.
    Time,
    /// The device is there, or it is not.
    Line(Line),
    /// Bytes have come from the device.
    Bytes(&'a [u8]),
    /// The kernel has dropped so many bytes in all.
    Overruns(u64),
    /// The connection to the broker was made or lost.
    Broker(bool),
    /// The broker has answered a publish.
    Acknowledged {
        /// The queue.
        lane: Lane,
        /// The attempt.
        ticket: Ticket,
        /// The reason code.
        reason: u8,
    },
    /// A message for the device has come.
    Message(Below, crate::message::Message),
    /// Somebody looks, or nobody does any more.
    Looked(bool),
}

/// The state machine of one port.
pub struct Port {
    config: Arc<config::Port>,
    names: Names,
    line: Line,
    splitter: Splitter,
    deframer: Option<Deframer>,
    units: Option<Units>,
    /// `true` if a turn ended before all that had come was taken.
    is_behind: bool,
    backlog: VecDeque<u8>,
    smp: Packets,
    layer1: Layer1<FreshBoot>,
    plain: PlainLines,
    log: LogGate,
    commands: Commands,
    counts: Counts,
    status: status::Reporter,
    broker: bool,
    is_looked_at: bool,
    fresh: FreshBoot,
    out: Vec<Output>,
}

impl Port {
    /// A port whose device was not looked for yet. `room_bytes` may be held for the broker.
    pub fn new(
        config: Arc<config::Port>,
        names: Names,
        room_bytes: usize,
        mut fresh_boot: impl FnMut() -> Boot + Clone + 'static,
    ) -> Self {
        let limits = Limits {
            room_bytes: room_bytes / 2,
            baud: config.line.baud,
            ..Limits::default()
        };
        let run = fresh_boot();
        Self {
            line: Line::default(),
            splitter: Splitter::new(config.end, config.line_bytes),
            deframer: frames::deframer(&config),
            units: Units::of(&config),
            is_behind: false,
            backlog: VecDeque::new(),
            smp: Packets::default(),
            layer1: Layer1::new(limits, Box::new(fresh_boot.clone())),
            fresh: Box::new(fresh_boot.clone()),
            plain: PlainLines::new(run, Box::new(fresh_boot), room_bytes, limits.in_flight_max),
            log: LogGate::default(),
            commands: Commands::default(),
            counts: Counts::default(),
            status: status::Reporter::default(),
            broker: false,
            is_looked_at: false,
            out: Vec::new(),
            config,
            names,
        }
    }

    /// The port's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Takes one thing that happened, and returns all that is to be done, in order.
    pub fn step(&mut self, now: Now, input: Input<'_>) -> Vec<Output> {
        match input {
            Input::Time => {}
            Input::Line(line) => self.set_line(now, line),
            Input::Bytes(bytes) => self.push_bytes(now, bytes),
            Input::Overruns(total) => self.counts.overruns = total,
            Input::Broker(is_there) => {
                self.broker = is_there;
                self.plain.queue.broker(is_there);
                self.layer1(now, layer1::Input::Broker(is_there));
                self.status.publish_soon(is_there);
                if let Some(units) = &mut self.units {
                    units.publish_soon(is_there);
                }
            }
            Input::Acknowledged {
                lane,
                ticket,
                reason,
            } => self.acknowledged(now, lane, ticket, reason),
            Input::Message(kind, message) => self.message(now, kind, message),
            Input::Looked(is_looked_at) => self.is_looked_at = is_looked_at,
        }
        self.take_lines(now, LINES_A_TURN);
        self.units(now, crate::modbus::Input::Time);
        if self.layer1.due().is_some_and(|at| at <= now.mono) {
            self.layer1(now, layer1::Input::Time);
        }
        self.publish_plain(now.mono);
        self.report(now.mono);
        if self.broker {
            self.report_units(now.mono);
        }
        std::mem::take(&mut self.out)
    }

    /// The next time at which [`Input::Time`] does something.
    pub fn due(&self, now: Mono) -> Option<Mono> {
        let is_behind = self.is_behind || !self.backlog.is_empty();
        let backlog = is_behind.then_some(now);
        let silence = self.deframer.as_ref().and_then(Deframer::due);
        let status = self.status.due().filter(|_| self.broker);
        let units = self.units.as_ref();
        [
            backlog,
            silence,
            self.layer1.due(),
            self.plain.queue.retry_at(),
            status,
            units.and_then(|units| units.due(self.broker)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// `true` if nothing is held that a broker could still take.
    pub fn is_drained(&self) -> bool {
        self.plain.queue.len() == 0 && self.layer1.held_bytes() == 0
    }

    fn set_line(&mut self, now: Now, line: Line) {
        if self.line.is_open() != line.is_open() {
            self.units(now, crate::modbus::Input::Open(line.is_open()));
        }
        if self.line.is_open() && !line.is_open() {
            self.end_frames(now);
            // Half a line at unplugging is noise.
            let rest: Vec<u8> = self.backlog.drain(..).collect();
            self.counts.noise += u64::from(!rest.is_empty() || self.splitter.cut());
            self.splitter.cut();
        }
        self.line = line;
        self.status.publish_soon(true);
    }

    fn push_bytes(&mut self, now: Now, bytes: &[u8]) {
        self.counts.bytes += bytes.len() as u64;
        if self.units.is_some() {
            return self.units(now, crate::modbus::Input::Bytes(bytes));
        }
        self.backlog.extend(bytes);
        while self.backlog.len() > BACKLOG_BYTES_MAX {
            self.take_lines(now, LINES_A_TURN);
        }
    }

    fn acknowledged(&mut self, now: Now, lane: Lane, ticket: Ticket, reason: u8) {
        let is_for_good = NEVER.contains(&reason);
        self.counts.rejected += u64::from(is_for_good);
        // Said again, it would only hold up those behind it.
        let reason = if is_for_good { 0 } else { reason };
        match lane {
            Lane::Layer1 => self.layer1(now, layer1::Input::Acknowledged { ticket, reason }),
            Lane::Plain => {
                self.counts.unheard += u64::from(reason == 0x10);
                self.counts.refused += u64::from(reason >= 0x80);
                self.plain.queue.acknowledged(now.mono, ticket, reason);
                while self.plain.queue.pop_safe().is_some() {
                    self.counts.published += 1;
                }
            }
        }
    }

    fn publish_plain(&mut self, now: Mono) {
        let (names, config, out) = (&self.names, &self.config, &mut self.out);
        self.plain.queue.publish(now, |sent| {
            let id = PublishId {
                port: names.index,
                lane: Lane::Plain,
                ticket: sent.ticket,
            };
            out.push(Output::Publish(Publish {
                id: Some(id),
                topic: sent.content.topic.clone(),
                payload: sent.content.payload.clone(),
                qos: Qos::AtLeastOnce,
                retain: false,
                eid: Some(event_id(
                    &names.bridge,
                    &config.name,
                    sent.boot,
                    sent.number,
                )),
                correlation: None,
            }));
        });
    }

    /// Gives layer 1 something to do, and does what it says.
    fn layer1(&mut self, now: Now, input: layer1::Input<'_>) {
        let before = (self.layer1.state(), self.layer1.boot());
        let mut outputs = VecDeque::from(self.layer1.step(now, input));
        while let Some(output) = outputs.pop_front() {
            match output {
                layer1::Output::Write(bytes) => self.write(bytes, "lines"),
                layer1::Output::Publish {
                    ticket,
                    boot,
                    number,
                    text,
                } => {
                    if let Some(publish) = self.line_event(ticket, boot, number, &text) {
                        self.out.push(Output::Publish(publish));
                        continue;
                    }
                    // Nobody can do anything with it: it must not hold up those behind it.
                    self.counts.undecoded += 1;
                    let input = layer1::Input::Acknowledged { ticket, reason: 0 };
                    outputs.extend(self.layer1.step(now, input));
                }
                layer1::Output::Answered {
                    token,
                    command: _,
                    reply,
                    took_ms,
                } => {
                    let topic = self.topic(Below::Answer);
                    let answer = self.commands.answered(token, reply, took_ms, topic);
                    self.out.extend(answer.into_iter().flatten());
                }
            }
        }
        if before != (self.layer1.state(), self.layer1.boot()) {
            self.status.publish_soon(true);
        }
    }

    fn line_event(
        &mut self,
        ticket: Ticket,
        boot: Boot,
        number: LineNumber,
        text: &[u8],
    ) -> Option<Publish> {
        let event = self.event(text)?;
        Some(Publish {
            id: Some(PublishId {
                port: self.names.index,
                lane: Lane::Layer1,
                ticket,
            }),
            topic: event.topic,
            payload: event.payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            eid: Some(event_id(
                &self.names.bridge,
                &self.config.name,
                boot,
                number,
            )),
            correlation: None,
        })
    }

    fn topic(&self, below: Below) -> String {
        topics::of_port(&self.names.bridge, &self.config.name, below)
    }

    fn write(&mut self, bytes: Vec<u8>, kind: &'static str) {
        self.show(crate::message::Direction::Out, kind, &bytes);
        let port = self.names.index;
        self.out.push(Output::Write { port, bytes });
    }

    fn show(&mut self, direction: crate::message::Direction, kind: &'static str, bytes: &[u8]) {
        if self.is_looked_at {
            self.out.push(Output::Show(crate::message::Shown {
                port: self.names.index,
                direction,
                kind,
                bytes: bytes.to_vec(),
            }));
        }
    }
}

fn event_id(bridge: &str, port: &str, boot: Boot, number: LineNumber) -> String {
    format!("{bridge}/{port}/{}:{}", boot.as_str(), number.0)
}

#[cfg(test)]
mod tests;
