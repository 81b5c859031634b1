//! The retained status of a port: state, device and all counts, on change and each minute.

use super::modbus::Units;
use super::{Counts, Port};
use crate::layer1;
use crate::message::{Output, Publish};
use crate::modbus::Totals;
use crate::time::Mono;
use crate::topics::Below;
use serde::Serialize;

/// A status is published at least this often, and changes at most this often.
const EVERY_MS: u64 = 60_000;
const AT_MOST_EVERY_MS: u64 = 500;

/// States of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No device is there.
    #[default]
    Absent,
    /// Another program has it.
    Busy,
    /// It may not be opened, or not with these settings.
    Denied,
    /// It is open.
    Open,
    /// Its device speaks acknowledged lines.
    Linked,
    /// Its device did, and has been silent for 30 s.
    Silent,
}

/// The device behind a port, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Absent, busy, denied or open.
    pub state: State,
    /// The device's path.
    pub tty: Option<String>,
    /// The reason for any other state than open, with a way out.
    pub why: Option<String>,
}

impl Line {
    /// `true` if bytes can come.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// Decides when a status is due.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    last: Option<Mono>,
    has_changed: bool,
}

impl Reporter {
    pub(super) fn publish_soon(&mut self, soon: bool) {
        self.has_changed |= soon;
    }

    pub(super) fn due(&self) -> Option<Mono> {
        let Some(last) = self.last else {
            return self.has_changed.then_some(Mono(0));
        };
        let wait = if self.has_changed {
            AT_MOST_EVERY_MS
        } else {
            EVERY_MS
        };
        Some(last.after(wait))
    }

    pub(super) fn published(&mut self, now: Mono) {
        self.last = Some(now);
        self.has_changed = false;
    }
}

#[derive(Serialize)]
struct Status<'a> {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<&'a str>,
    held: usize,
    counts: &'a Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Lines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modbus: Option<Totals>,
}

/// Counts of acknowledged lines.
#[derive(Serialize)]
struct Lines {
    good: u64,
    damaged: u64,
    malformed: u64,
    echoes: u64,
    repeated: u64,
    no_room: u64,
    cut_off: u64,
    lost: u64,
    refused: u64,
    unheard: u64,
    unasked: u64,
    boots: u64,
    renamed: u64,
}

impl From<layer1::Counts> for Lines {
    fn from(counts: layer1::Counts) -> Self {
        Self {
            good: counts.good,
            damaged: counts.damaged,
            malformed: counts.malformed,
            echoes: counts.echoes,
            repeated: counts.repeated,
            no_room: counts.no_room,
            cut_off: counts.cut_off,
            lost: counts.lost,
            refused: counts.refused,
            unheard: counts.unheard,
            unasked: counts.unasked,
            boots: counts.boots,
            renamed: counts.renamed,
        }
    }
}

impl Port {
    /// The port's state, which the line's and the link's make together.
    pub fn state(&self) -> State {
        match (self.line.state, self.layer1.state()) {
            (State::Open, layer1::State::Linked) => State::Linked,
            (State::Open, layer1::State::Silent) => State::Silent,
            (state, _) => state,
        }
    }

    pub(super) fn report(&mut self, now: Mono) {
        if !self.broker || self.status.due().is_none_or(|at| at > now) {
            return;
        }
        self.status.published(now);
        let payload = self.status_json();
        let publish = Publish::retained(self.topic(Below::Status), payload);
        self.out.push(Output::Publish(publish));
    }

    /// All that is known of the port, as JSON.
    pub fn status_json(&self) -> Vec<u8> {
        let device = self.layer1.device();
        let counts = self.layer1.counts();
        let boot = self.layer1.boot();
        let status = Status {
            state: self.state(),
            tty: self.line.tty.as_deref(),
            why: self.line.why.as_deref(),
            device: Some(device.name.as_str()).filter(|name| !name.is_empty()),
            fw: device.fw.as_deref(),
            hw: device.hw.as_deref(),
            boot: boot.as_ref().map(|boot| boot.as_str()),
            held: self.plain.queue.bytes() + self.layer1.held_bytes(),
            counts: &self.counts,
            modbus: self.units.as_ref().map(Units::totals),
            lines: (counts != layer1::Counts::default()).then(|| counts.into()),
        };
        // Numbers and texts always can be written.
        serde_json::to_vec(&status).unwrap_or_default()
    }
}
