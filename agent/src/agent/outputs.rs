//! What the mill asks for, carried out: emissions to their destinations, dead letters and log lines
//! to the log, at a rate that a person can read and a card can bear.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::clock::Now;
use crate::config::{Broker, Config};
use crate::destination::mqtt::{
    self as destination, DestinationReport, DestinationSettings, DestinationsHandle, Outgoing,
};
use crate::effects::LogLine;
use crate::install::destination_names;
use crate::mill::{DeadLetter, Output};

/// Lines about one rule in [`SPAN_MS`]; what is more is counted and told once.
const LINES_MAX: u32 = 10;
const SPAN_MS: u64 = 10_000;

/// Bytes of a payload that a log line shows.
const PREVIEW_BYTES: usize = 120;

/// What became of the messages handed to destinations, told at the end.
#[derive(Debug, Default)]
struct Traffic {
    acknowledged: AtomicU64,
    dropped: AtomicU64,
}

/// Hands on what the mill asks for.
pub(super) struct Outputs {
    buffer: Vec<Output>,
    batch: Vec<Outgoing>,
    destinations: Option<DestinationsHandle>,
    names: Vec<String>,
    /// Messages handed to destinations.
    sent: u64,
    traffic: Arc<Traffic>,
    /// Whether each destination's broker is there.
    connected: Arc<[AtomicBool]>,
    told: HashMap<Arc<str>, Told>,
}

/// How much was said about a rule lately.
#[derive(Debug, Default)]
struct Told {
    since_mono_ms: u64,
    lines: u32,
    hidden: u64,
}

impl Told {
    fn tell_hidden(&self, rule: &str) {
        if self.hidden > 0 {
            warn!(%rule, hidden = self.hidden, "more dead letters and lines were not shown");
        }
    }
}

impl Outputs {
    /// Connects to the destinations.
    pub(super) fn start(config: &Config) -> Result<Self, std::io::Error> {
        let names: Vec<String> = destination_names(config)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let brokers = std::iter::once(&config.broker).chain(config.destinations.values());
        let settings = names
            .iter()
            .zip(brokers)
            .map(|(name, broker)| settings(config, name, broker))
            .collect();
        let traffic = Arc::new(Traffic::default());
        let (shared, known) = (Arc::clone(&traffic), names.clone());
        let connected: Arc<[AtomicBool]> = names.iter().map(|_| AtomicBool::new(false)).collect();
        let links = Arc::clone(&connected);
        let destinations = destination::spawn(settings, move |report| {
            hear(&report, &known, &shared, &links)
        })?;
        Ok(Self {
            buffer: Vec::new(),
            batch: Vec::new(),
            destinations: Some(destinations),
            names,
            sent: 0,
            traffic,
            connected,
            told: HashMap::new(),
        })
    }

    /// Where the mill puts what it asks for.
    pub(super) fn buffer(&mut self) -> &mut Vec<Output> {
        &mut self.buffer
    }

    /// Carries out what is in the buffer.
    pub(super) fn hand_on(&mut self, now: Now) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for output in buffer.drain(..) {
            match output {
                Output::Emission(sent) => self.batch.push(Outgoing {
                    destination: sent.port.destination,
                    topic: sent.topic,
                    payload: sent.payload,
                    qos: sent.port.qos,
                    retain: sent.port.retain,
                }),
                Output::DeadLetter(dead) => self.tell_dead_letter(&dead, now),
                Output::Logs {
                    rule,
                    lines,
                    dropped,
                } => self.tell_lines(&rule, &lines, dropped, now),
                Output::Quarantined { rule, for_ms } => {
                    error!(%rule, "too many faults: the rule rests for {} s", for_ms / 1_000);
                }
            }
        }
        self.buffer = buffer;
        if !self.batch.is_empty() {
            self.sent += self.batch.len() as u64;
            let batch = std::mem::take(&mut self.batch);
            if let Some(destinations) = &self.destinations {
                destinations.send(batch);
            }
        }
    }

    /// Whether a broker that is there takes less than is sent: what comes in should wait.
    pub(super) fn are_backed_up(&self) -> bool {
        let Some(destinations) = &self.destinations else {
            return false;
        };
        self.connected.iter().enumerate().any(|(place, connected)| {
            connected.load(Ordering::Relaxed) && destinations.is_half_full(place)
        })
    }

    /// Sends what waits, for at most `grace`.
    pub(super) fn stop(&mut self, grace: Duration) {
        for (rule, told) in self.told.drain() {
            told.tell_hidden(&rule);
        }
        let Some(destinations) = self.destinations.take() else {
            return;
        };
        for (name, unsent) in self.names.iter().zip(destinations.stop(grace)) {
            if unsent > 0 {
                warn!(destination = %name, unsent, "stopped before everything was sent");
            }
        }
        let acknowledged = self.traffic.acknowledged.load(Ordering::Relaxed);
        let dropped = self.traffic.dropped.load(Ordering::Relaxed);
        info!(made = self.sent, acknowledged, dropped, "emissions");
    }

    fn tell_dead_letter(&mut self, dead: &DeadLetter, now: Now) {
        if self.may_tell(&dead.rule, now) {
            let start = dead.payload.get(..PREVIEW_BYTES).unwrap_or(&dead.payload);
            warn!(
                rule = %dead.rule, version = dead.version, topic = %dead.topic, fuel = dead.fuel,
                payload = %String::from_utf8_lossy(start).escape_debug(), "dead letter: {}", dead.reason
            );
        }
    }

    fn tell_lines(&mut self, rule: &Arc<str>, lines: &[LogLine], dropped: u32, now: Now) {
        for line in lines {
            if !self.may_tell(rule, now) {
                continue;
            }
            match line.level {
                ..=0 => error!(%rule, "{}", line.text),
                1 => warn!(%rule, "{}", line.text),
                2 => info!(%rule, "{}", line.text),
                3.. => debug!(%rule, "{}", line.text),
            }
        }
        if dropped > 0 && self.may_tell(rule, now) {
            warn!(%rule, dropped, "the function logs too much");
        }
    }

    /// Whether one more line about a rule may be written now.
    fn may_tell(&mut self, rule: &Arc<str>, now: Now) -> bool {
        let told = self.told.entry(Arc::clone(rule)).or_default();
        if now.mono_ms >= told.since_mono_ms.saturating_add(SPAN_MS) {
            told.tell_hidden(rule);
            *told = Told {
                since_mono_ms: now.mono_ms,
                ..Told::default()
            };
        }
        told.lines += 1;
        let may = told.lines <= LINES_MAX;
        told.hidden += u64::from(!may);
        may
    }
}

/// Client ids: the gateway's id for taking in, `<id>-<destination>` for sending.
fn settings(config: &Config, name: &str, broker: &Broker) -> DestinationSettings {
    let client_id = format!("{}-{name}", config.gateway_id);
    let mut settings = DestinationSettings::new(name, &broker.host, broker.port, &client_id);
    settings.username.clone_from(&broker.username);
    settings.password.clone_from(&broker.password);
    settings.protocol = broker.protocol;
    settings.packet_bytes_max = broker.packet_bytes_max;
    settings
}

fn hear(report: &DestinationReport, names: &[String], traffic: &Traffic, connected: &[AtomicBool]) {
    let link = |destination: usize, is_there: bool| {
        if let Some(link) = connected.get(destination) {
            link.store(is_there, Ordering::Relaxed);
        }
    };
    match report {
        DestinationReport::Connected { destination, .. } => link(*destination, true),
        DestinationReport::Disconnected { destination, .. } => link(*destination, false),
        DestinationReport::Acknowledged { count, .. } => {
            traffic
                .acknowledged
                .fetch_add(*count as u64, Ordering::Relaxed);
        }
        DestinationReport::Dropped {
            destination,
            count,
            why,
        } => {
            traffic.dropped.fetch_add(*count as u64, Ordering::Relaxed);
            let name = names.get(*destination).map_or("?", String::as_str);
            warn!(destination = name, count, "dropped messages: {why}");
        }
    }
}
