//! The world of one seed: device, line, bridge, broker and receiver, driven by one queue of things to happen.

use crate::broker::Receiver;
use crate::ends::{End, Out};
use crate::scenario::{MS, Micros, SECOND, Scenario, covers};
use crate::weak::Weak;
use crate::wire::{Sent, Wire};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use tidemill_bridge::layer1::{CommandToken, Input, Layer1, Limits, Mono, Now, Output, Ticket};
use tidemill_lines::{Boot, CommandId, Input as Device};
use tidemill_tests::Random;

/// All has to be drained so long after the faults have stopped.
const DRAIN: Micros = 60 * SECOND;

/// A broken invariant, with its time.
#[derive(Debug)]
pub(crate) struct Violation(pub(crate) String);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Event,
    DeviceWakes,
    DeviceHears(u64),
    BridgeHears(u64),
    BridgeWakes,
    Kill,
    BridgeStarts,
    Reset,
    BrokerGoes,
    BrokerComes,
    Noise,
    AtBroker(u64),
    Puback {
        connection: u64,
        ticket: u64,
        reason: u8,
    },
    Command(u64),
    CommandDone {
        life: usize,
        command: u32,
    },
    Over,
}

/// The end of a device's life.
pub(crate) enum Ended {
    Reset,
    Over,
}

struct Bridge {
    layer1: Layer1<Box<dyn FnMut() -> Boot>>,
    wire_in: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Publish {
    connection: u64,
    ticket: Ticket,
    boot: Boot,
    number: u32,
    text: Vec<u8>,
}

/// Events of one life of the device.
#[derive(Debug, Default, Clone)]
struct Life {
    said: Vec<u64>,
    may_lack: u64,
    carried_out: HashSet<u32>,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    random: Random,
    weak: Option<Weak>,
    pub(crate) now: Micros,
    queue: BinaryHeap<Reverse<(Micros, u64, What)>>,
    order: u64,
    chunks: HashMap<u64, Sent>,
    last_up: u64,
    up: Wire,
    down: Wire,
    device_wakes_at: Micros,
    bridge: Option<Bridge>,
    bridge_wakes_at: Micros,
    given: Vec<Boot>,
    broker_is_up: bool,
    connection: u64,
    to_broker: HashMap<u64, Publish>,
    broker_arrival: Micros,
    in_flight: HashSet<u64>,
    receiver: Receiver,
    lives: Vec<Life>,
    serial: u64,
    /// Commands that were not answered yet, and what became of the others.
    open_commands: Vec<u64>,
    sent_numbers: HashSet<u32>,
    /// Counts of each thing that was met, for the report.
    pub(crate) met: HashMap<&'static str, u64>,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, weak: Option<Weak>, trace: bool) -> Self {
        let (scenario, random) = Scenario::of(seed);
        let mut world = Self {
            random,
            weak,
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            chunks: HashMap::new(),
            last_up: 0,
            up: Wire::default(),
            down: Wire::default(),
            device_wakes_at: 0,
            bridge: None,
            bridge_wakes_at: Micros::MAX,
            given: Vec::new(),
            broker_is_up: true,
            connection: 0,
            to_broker: HashMap::new(),
            broker_arrival: 0,
            in_flight: HashSet::new(),
            receiver: Receiver::default(),
            lives: Vec::new(),
            serial: 0,
            open_commands: Vec::new(),
            sent_numbers: HashSet::new(),
            met: HashMap::new(),
            trace,
            scenario,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        let s = self.scenario.clone();
        self.at(0, What::BridgeStarts);
        self.at(0, What::Event);
        for kill in &s.kills {
            self.at(kill.start, What::Kill);
            self.at(kill.end, What::BridgeStarts);
        }
        for reset in &s.resets {
            self.at(*reset, What::Reset);
        }
        for outage in &s.outages {
            self.at(outage.start, What::BrokerGoes);
            self.at(outage.end, What::BrokerComes);
        }
        for (index, at) in s.commands.iter().enumerate() {
            self.at(*at, What::Command(index as u64 + 1));
        }
        if s.bursts {
            for round in 0..=s.end / (10 * SECOND) {
                self.at(round * 10 * SECOND + 10 * MS, What::Noise);
            }
        }
        self.at(s.end + DRAIN, What::Over);
    }

    fn at(&mut self, at: Micros, what: What) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, what)));
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    fn clock(&self) -> u32 {
        self.scenario.clock.wrapping_add((self.now / MS) as u32)
    }

    /// The device's clock at its reset.
    pub(crate) fn device_clock(&self) -> u32 {
        self.clock()
    }

    /// Runs the world through one life of the device.
    pub(crate) fn live(&mut self, device: &mut dyn End) -> Result<Ended, Violation> {
        self.lives.push(Life::default());
        self.sent_numbers.clear();
        self.up.busy_until = self.up.busy_until.max(self.now);
        self.device_wakes_at = Micros::MAX;
        self.wake_device(device);
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            self.now = at;
            match what {
                What::Reset => {
                    self.meet("reset");
                    self.reset(device);
                    return Ok(Ended::Reset);
                }
                What::Over => {
                    self.judge(device)?;
                    return Ok(Ended::Over);
                }
                what => self.happen(device, what)?,
            }
        }
        Ok(Ended::Over)
    }

    fn happen(&mut self, device: &mut dyn End, what: What) -> Result<(), Violation> {
        match what {
            What::Event => self.say_event(device),
            What::DeviceWakes if self.device_wakes_at == self.now => {
                self.device_wakes_at = Micros::MAX;
                self.wake_device(device);
            }
            What::DeviceHears(chunk) => self.device_hears(device, chunk)?,
            What::BridgeHears(chunk) => {
                if let Some(sent) = self.chunks.remove(&chunk) {
                    self.bridge_hears(sent.bytes)?;
                }
            }
            What::BridgeWakes if self.bridge_wakes_at == self.now => {
                self.bridge_wakes_at = Micros::MAX;
                self.tell_bridge(Input::Time)?;
            }
            What::Kill => self.kill(),
            What::BridgeStarts => self.start_bridge()?,
            What::BrokerGoes => {
                self.meet("outage");
                self.disconnect();
                self.broker_is_up = false;
                self.tell_bridge(Input::Broker(false))?;
            }
            What::BrokerComes => {
                let was_up = self.broker_is_up;
                self.broker_is_up = !covers(&self.scenario.outages, self.now);
                if self.broker_is_up && !was_up {
                    self.tell_bridge(Input::Broker(true))?;
                }
            }
            What::Noise => self.noise(),
            What::AtBroker(publish) => self.at_broker(publish)?,
            What::Puback {
                connection,
                ticket,
                reason,
            } if connection == self.connection => {
                self.in_flight.remove(&ticket);
                let ticket = Ticket(ticket);
                self.tell_bridge(Input::Acknowledged { ticket, reason })?;
            }
            What::Command(command) => {
                self.open_commands.push(command);
                self.give_command(command)?;
            }
            What::CommandDone { life, command } if life == self.lives.len() => {
                let ok = !command.is_multiple_of(5);
                let command = CommandId(command);
                let text = if ok { &b""[..] } else { b"no such command" };
                device.step(self.clock(), Device::Answer { command, ok, text });
                self.wake_device(device);
            }
            _ => {}
        }
        Ok(())
    }

    fn reset(&mut self, device: &mut dyn End) {
        let held = u64::from(device.held()) + u64::from(device.lost());
        if let Some(life) = self.lives.last_mut() {
            life.may_lack = held;
        }
        // The line that is being written breaks off.
        if self.up.busy_until > self.now
            && let Some(sent) = self.chunks.get_mut(&self.last_up)
        {
            let (span, left) = (sent.to - sent.from, sent.to.saturating_sub(self.now));
            let gone = sent.bytes.len() as u64 * left / span.max(1);
            sent.bytes.truncate(sent.bytes.len() - gone as usize);
            self.up.busy_until = self.now;
        }
        let boot_text = b"ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET)\r\n".to_vec();
        self.send_up(boot_text);
    }

    fn say_event(&mut self, device: &mut dyn End) {
        self.serial += 1;
        let serial = self.serial;
        let pad = self.random.within(0..self.scenario.text_bytes) as usize;
        let text = format!("{serial} {}", "x".repeat(pad));
        device.step(self.clock(), Device::Line(text.as_bytes()));
        if let Some(life) = self.lives.last_mut() {
            life.said.push(serial);
        }
        let burst = self.random.one_in(3);
        let wait = if burst {
            0
        } else {
            self.random.within(0..3 * self.scenario.event_every)
        };
        if self.now + wait < self.scenario.end {
            self.at(self.now + wait, What::Event);
        }
        self.wake_device(device);
    }

    fn wake_device(&mut self, device: &mut dyn End) {
        if self.up.busy_until > self.now {
            return self.wake_device_at(self.up.busy_until);
        }
        match device.step(self.clock(), Device::Room) {
            Out::Send(line) => {
                self.note_sent(&line);
                if self.weak == Some(Weak::NoHelloAtRto) && line.starts_with(b"\n@") {
                    self.without_hello_at_rto(device, line);
                } else {
                    self.send_up(line);
                }
                self.wake_device_at(self.up.busy_until);
            }
            Out::Wait(ms) => self.wake_device_at(self.now + u64::from(ms.max(1)) * MS),
            _ => {}
        }
    }

    /// A hello in front of a line that was sent before comes from the retransmission timer: it is left out.
    fn without_hello_at_rto(&mut self, device: &mut dyn End, hello: Vec<u8>) {
        let has_boot = device.boot().is_some();
        let before = self.sent_numbers.clone();
        match device.step(self.clock(), Device::Room) {
            Out::Send(line) => {
                let is_again = number_of(&line).is_some_and(|number| before.contains(&number));
                self.note_sent(&line);
                if !(is_again && has_boot) {
                    self.send_up(hello);
                }
                self.send_up(line);
            }
            _ => self.send_up(hello),
        }
    }

    fn note_sent(&mut self, line: &[u8]) {
        if let Some(number) = number_of(line)
            && !self.sent_numbers.insert(number)
        {
            self.meet("sent again");
        }
    }

    fn wake_device_at(&mut self, at: Micros) {
        if at < self.device_wakes_at || self.device_wakes_at <= self.now {
            self.device_wakes_at = at;
            self.at(at, What::DeviceWakes);
        }
    }

    fn send_up(&mut self, bytes: Vec<u8>) {
        self.trace("device", &bytes);
        let sent = self
            .up
            .send(self.now, bytes, &self.scenario, &mut self.random);
        let arrival = sent.arrival;
        self.order += 1;
        self.last_up = self.order;
        self.chunks.insert(self.order, sent);
        self.at(arrival, What::BridgeHears(self.last_up));
    }

    fn send_down(&mut self, bytes: Vec<u8>) {
        self.trace("bridge", &bytes);
        let sent = self
            .down
            .send(self.now, bytes, &self.scenario, &mut self.random);
        let arrival = sent.arrival;
        self.order += 1;
        let chunk = self.order;
        self.chunks.insert(chunk, sent);
        self.at(arrival, What::DeviceHears(chunk));
    }

    fn trace(&self, who: &str, bytes: &[u8]) {
        if self.trace {
            let text = String::from_utf8_lossy(bytes);
            println!("{:>12} {who:<7} {}", self.now, text.trim_matches('\n'));
        }
    }

    fn noise(&mut self) {
        self.meet("noise");
        for up in [true, false] {
            let count = self.random.within(3..60);
            let bytes = (0..count).map(|_| self.random.bits() as u8).collect();
            if up {
                // Noise takes no time of the device's own transmitter.
                let busy_until = self.up.busy_until;
                let last = self.last_up;
                self.send_up(bytes);
                (self.up.busy_until, self.last_up) = (busy_until, last);
            } else {
                self.send_down(bytes);
            }
        }
    }

    fn device_hears(&mut self, device: &mut dyn End, chunk: u64) -> Result<(), Violation> {
        let Some(mut sent) = self.chunks.remove(&chunk) else {
            return Ok(());
        };
        if let Some(weak) = self.weak {
            sent.bytes = weak.to_device(sent.bytes, device.boot(), &self.given);
        }
        for byte in sent.bytes {
            if let Out::Command(id, text) = device.step(self.clock(), Device::Byte(byte)) {
                self.carry_out(id, &text)?;
            }
        }
        self.wake_device(device);
        Ok(())
    }

    fn carry_out(&mut self, id: CommandId, text: &[u8]) -> Result<(), Violation> {
        self.meet("command carried out");
        if text != b"set led" {
            return Err(self.violation(format!("command {} came as {text:?}", id.0)));
        }
        let life = self.lives.len();
        if let Some(last) = self.lives.last_mut()
            && !last.carried_out.insert(id.0)
        {
            return Err(self.violation(format!("command {} was carried out twice", id.0)));
        }
        if !id.0.is_multiple_of(7) {
            let at = self.now + self.random.within(0..200) * MS;
            self.at(
                at,
                What::CommandDone {
                    life,
                    command: id.0,
                },
            );
        }
        Ok(())
    }

    fn start_bridge(&mut self) -> Result<(), Violation> {
        if self.bridge.is_some() || covers(&self.scenario.kills, self.now) {
            return Ok(());
        }
        let limits = Limits {
            room_bytes: self.scenario.room_bytes,
            beyond_max: self.scenario.beyond_max,
            in_flight_max: if self.weak == Some(Weak::ManyInFlight) {
                300
            } else {
                64
            },
            baud: self.scenario.baud,
        };
        let mut boots = Random::new(self.random.bits());
        let twice = self.weak == Some(Weak::BootTwice);
        let boots: Box<dyn FnMut() -> Boot> = Box::new(move || {
            Boot::from_bits(if twice {
                0x5f3a_91c2_d07b_e844
            } else {
                boots.bits()
            })
        });
        self.bridge = Some(Bridge {
            layer1: Layer1::new(limits, boots),
            wire_in: Vec::new(),
        });
        if self.broker_is_up {
            self.tell_bridge(Input::Broker(true))?;
        }
        for command in self.open_commands.clone() {
            self.give_command(command)?;
        }
        Ok(())
    }

    fn kill(&mut self) {
        if self.bridge.take().is_some() {
            self.meet("kill");
            self.disconnect();
            // The kernel may still write what it was given, or not.
            if self.random.one_in(2) {
                let now = self.now;
                self.chunks
                    .retain(|_, chunk| chunk.from <= now || chunk.to <= now);
                self.down.busy_until = now;
            }
        }
    }

    /// Of what is on its way to the broker, a first part may still arrive; answers do not.
    fn disconnect(&mut self) {
        self.connection += 1;
        self.in_flight.clear();
        let mut underway: Vec<u64> = self.to_broker.keys().copied().collect();
        underway.sort_unstable();
        let keep = self.random.within(0..underway.len() as u64 + 1) as usize;
        for gone in &underway[keep..] {
            self.to_broker.remove(gone);
        }
    }

    fn bridge_hears(&mut self, mut bytes: Vec<u8>) -> Result<(), Violation> {
        let Some(bridge) = &mut self.bridge else {
            return Ok(());
        };
        if let Some(weak) = self.weak {
            bytes = weak.to_bridge(bytes, bridge.layer1.boot(), &self.given);
        }
        bridge.wire_in.extend(bytes);
        while let Some(bridge) = &mut self.bridge
            && let Some(end) = bridge.wire_in.iter().position(|byte| *byte == b'\n')
        {
            let line: Vec<u8> = bridge.wire_in.drain(..=end).collect();
            let line = &line[..end];
            if line.len() > 9 && line[line.len() - 9] == b'*' && b"@#<".contains(&line[0]) {
                self.tell_bridge(Input::Line(line))?;
            }
        }
        Ok(())
    }

    fn give_command(&mut self, command: u64) -> Result<(), Violation> {
        self.tell_bridge(Input::Command {
            token: CommandToken(command),
            command: CommandId(command as u32),
            text: b"set led",
        })
    }

    fn tell_bridge(&mut self, input: Input<'_>) -> Result<(), Violation> {
        let Some(bridge) = &mut self.bridge else {
            return Ok(());
        };
        let ms = self.now / MS;
        let now = Now {
            mono: Mono(ms),
            wall_ms: (ms > 5_000).then_some(1_764_000_000_000 + ms),
        };
        let outputs = bridge.layer1.step(now, input);
        let due = bridge.layer1.due();
        for output in outputs {
            self.carry(output)?;
        }
        let at = due.map_or(Micros::MAX, |due| (due.0 * MS).max(self.now + MS));
        if at < self.bridge_wakes_at || self.bridge_wakes_at <= self.now {
            self.bridge_wakes_at = at;
            if at < Micros::MAX {
                self.at(at, What::BridgeWakes);
            }
        }
        self.check_bounds()
    }

    fn carry(&mut self, output: Output) -> Result<(), Violation> {
        match output {
            Output::Write(bytes) => {
                if let Some(new) = bytes.strip_prefix(b"\n@new boot=") {
                    self.given.extend(new.get(..16).and_then(Boot::read));
                }
                self.send_down(bytes);
            }
            Output::Publish {
                ticket,
                boot,
                number,
                text,
            } => {
                self.order += 1;
                let publish = Publish {
                    connection: self.connection,
                    ticket,
                    boot,
                    number: number.0,
                    text: text.to_vec(),
                };
                self.in_flight.insert(ticket.0);
                self.to_broker.insert(self.order, publish);
                let latency = self.random.within(1..20) * MS / 2;
                self.broker_arrival = self.broker_arrival.max(self.now + latency);
                self.at(self.broker_arrival, What::AtBroker(self.order));
            }
            Output::Answered { token, reply, .. } => {
                self.meet(if reply.is_ok() {
                    "command answered"
                } else {
                    "command given up"
                });
                let open = self.open_commands.iter().position(|open| *open == token.0);
                let Some(open) = open else {
                    return Err(self.violation(format!("command {} was answered twice", token.0)));
                };
                self.open_commands.remove(open);
            }
        }
        Ok(())
    }

    fn at_broker(&mut self, publish: u64) -> Result<(), Violation> {
        let Some(publish) = self.to_broker.remove(&publish) else {
            return Ok(());
        };
        let is_refused = covers(&self.scenario.refusals, self.now)
            && self.random.one_in(self.scenario.refuse_one_in);
        let reason = if is_refused {
            self.meet("refused");
            self.receiver.refused(publish.boot, publish.number);
            0x97
        } else {
            let taken = self
                .receiver
                .take(publish.boot, publish.number, &publish.text);
            taken.map_err(|why| self.violation(why))?;
            if self.random.one_in(50) { 0x10 } else { 0 }
        };
        let at = self.now + self.random.within(0..10) * MS / 2;
        self.broker_arrival = self.broker_arrival.max(self.now);
        let (connection, ticket) = (publish.connection, publish.ticket.0);
        self.at(
            at,
            What::Puback {
                connection,
                ticket,
                reason,
            },
        );
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), Violation> {
        let Some(bridge) = &self.bridge else {
            return Ok(());
        };
        let held = bridge.layer1.held_bytes();
        if held > self.scenario.room_bytes {
            return Err(self.violation(format!("{held} bytes are held")));
        }
        if bridge.layer1.beyond() > self.scenario.beyond_max {
            return Err(self.violation("too many lines beyond a gap".to_owned()));
        }
        if self.weak.is_none() && self.in_flight.len() > 64 {
            return Err(self.violation(format!("{} publishes in flight", self.in_flight.len())));
        }
        Ok(())
    }

    fn violation(&self, why: String) -> Violation {
        Violation(format!("at {} ms: {why}", self.now / MS))
    }

    /// Looks whether all that was said has come or was declared lost, and all is drained.
    fn judge(&mut self, device: &mut dyn End) -> Result<(), Violation> {
        let (held, lost) = (device.held(), u64::from(device.lost()));
        if held > 0 {
            return Err(self.violation(format!("{held} lines are still held by the device")));
        }
        let Some(bridge) = &self.bridge else {
            return Err(self.violation("there is no bridge".to_owned()));
        };
        if bridge.layer1.held_bytes() > 0 {
            return Err(self.violation("lines are still held by the bridge".to_owned()));
        }
        let declared = bridge.layer1.counts().lost;
        if let Some(open) = self.open_commands.first() {
            return Err(self.violation(format!("command {open} was never answered")));
        }
        if let Some(life) = self.lives.last_mut() {
            life.may_lack = lost;
        }
        let lives = self.lives.len();
        for (index, life) in self.lives.iter().enumerate() {
            let is_missing = |serial: &&u64| !self.receiver.counted.contains(*serial);
            let missing = life.said.iter().filter(is_missing).count() as u64;
            if missing > life.may_lack {
                let (may, number) = (life.may_lack, index + 1);
                let why =
                    format!("life {number} of {lives} lacks {missing}, at most {may} are declared");
                return Err(self.violation(why));
            }
            if index + 1 == lives && missing > declared {
                return Err(self.violation(format!("{missing} are missing, {declared} declared")));
            }
        }
        for (what, count) in [("lost", lost), ("events", self.serial)] {
            *self.met.entry(what).or_default() += count;
        }
        Ok(())
    }
}

/// The number of a line with `#`.
fn number_of(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(b"\n#")?;
    let digits = digits.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
