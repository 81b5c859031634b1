//! Units of a port: what they answer becomes events, and how they fare is published beside.

use super::status::Reporter;
use super::{Port, config};
use crate::message::{Direction, Output, Publish};
use crate::modbus::{self, Event, Health, Poller, Tally, Totals};
use crate::time::{Mono, Now};
use crate::topics;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// The bus of a port.
pub(super) struct Units {
    poller: Poller,
    /// When each unit's status is due.
    reporters: Vec<Reporter>,
}

#[derive(Serialize)]
struct UnitStatus<'a> {
    state: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    id: u8,
    counts: Tally,
}

impl Units {
    pub(super) fn of(config: &config::Port) -> Option<Self> {
        let bus = config.modbus.as_ref()?;
        Some(Self {
            reporters: bus.units.iter().map(|_| Reporter::default()).collect(),
            poller: Poller::new(Arc::clone(bus)),
        })
    }

    /// The next time at which there is something to do; statuses only while there is a `broker`.
    pub(super) fn due(&self, broker: bool) -> Option<Mono> {
        let reports = self.reporters.iter().filter_map(Reporter::due);
        let reports = reports.min().filter(|_| broker);
        self.poller.due().into_iter().chain(reports).min()
    }

    pub(super) fn publish_soon(&mut self, soon: bool) {
        for reporter in &mut self.reporters {
            reporter.publish_soon(soon);
        }
    }

    #[cfg(test)]
    pub(super) fn unit(&self, unit: usize) -> Option<(Health, Option<&str>, Tally)> {
        self.poller.unit(unit)
    }

    pub(super) fn totals(&self) -> Totals {
        self.poller.totals()
    }
}

impl Port {
    /// Gives the bus something to do, and does what it says.
    pub(super) fn units(&mut self, now: Now, input: modbus::Input<'_>) {
        let config = Arc::clone(&self.config);
        let (Some(mut units), Some(bus)) = (self.units.take(), &config.modbus) else {
            return;
        };
        let name = |unit: usize| bus.units.get(unit).map_or("", |unit| unit.name.as_str());
        for event in units.poller.step(now.mono, input) {
            match event {
                Event::Asked(unit, bytes) => {
                    let said = format!("{} {}", name(unit), hex(&bytes));
                    self.show(Direction::Out, "poll", said.as_bytes());
                    let port = self.names.index;
                    self.out.push(Output::Write { port, bytes });
                }
                Event::Answered(unit, bytes) => {
                    let said = format!("{} {}", name(unit), hex(&bytes));
                    self.show(Direction::In, "answer", said.as_bytes());
                }
                Event::Refused(unit, exception) => {
                    let said = format!("{} {exception}", name(unit));
                    self.show(Direction::In, "exception", said.as_bytes());
                }
                Event::Failed(unit, why) => {
                    let said = format!("{} {why}", name(unit));
                    self.show(Direction::In, "failed", said.as_bytes());
                }
                Event::Stray(bytes) => {
                    self.show(Direction::In, "stray", hex(&bytes).as_bytes());
                }
                Event::Polled(unit, payload) => {
                    let said = [name(unit).as_bytes(), b" ", &payload].concat();
                    self.show(Direction::In, "event", &said);
                    let topic = bus.units.get(unit).map(|unit| &unit.topic);
                    let event = self.at_topic(topic.unwrap_or(&config.topic), payload);
                    self.counts.dropped += self.plain.push(event, 0);
                }
                Event::Changed(unit) => {
                    if let Some(reporter) = units.reporters.get_mut(unit) {
                        reporter.publish_soon(true);
                    }
                    self.status.publish_soon(true);
                }
            }
        }
        (self.counts.frame_bytes, self.counts.stray_bytes, _) = units.poller.bytes();
        self.units = Some(units);
    }

    /// Publishes the statuses that are due.
    pub(super) fn report_units(&mut self, now: Mono) {
        let (Some(units), Some(bus)) = (&mut self.units, &self.config.modbus) else {
            return;
        };
        for (index, (reporter, unit)) in units.reporters.iter_mut().zip(&bus.units).enumerate() {
            let Some((state, why, counts)) = units.poller.unit(index) else {
                continue;
            };
            if reporter.due().is_none_or(|at| at > now) {
                continue;
            }
            reporter.published(now);
            let status = UnitStatus {
                state,
                why,
                id: unit.id.0,
                counts,
            };
            let topic = topics::of_unit(&self.names.bridge, &self.config.name, &unit.name);
            // Numbers and texts always can be written.
            let payload = serde_json::to_vec(&status).unwrap_or_default();
            self.out
                .push(Output::Publish(Publish::retained(topic, payload)));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let space = if out.is_empty() { "" } else { " " };
        // Writing to a String does not fail.
        let _ = write!(out, "{space}{byte:02X}");
    }
    out
}
