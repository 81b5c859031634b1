//! Outputs of the mill beyond the disk: rows and volatile messages to their destinations, dead
//! letters and log lines to the log, at a rate that a person can read and a card can bear.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::wake::Waker;
use crate::config::Config;
use crate::destination::{
    self, DestinationReport, DestinationStatus, DestinationsHandle, Outgoing,
};
use crate::event::clock::Now;
use crate::event::emission::LaneReport;
use crate::function::effects::LogLine;
use crate::install::destination_names;
use crate::mill::{DeadLetter, Output};
use tidemill_base::heartbeat::Heartbeats;
use tidemill_base::text::{shown, shown_within};

/// Most lines about one rule in [`SPAN_MS`]; further ones are counted and told once.
const LINES_MAX: u32 = 10;
const SPAN_MS: u64 = 10_000;

/// Bytes of a payload that a log line shows.
const PREVIEW_BYTES: usize = 120;

/// Most bytes of a reason that a line shows: it may quote a key or a topic, or the words of a
/// broker.
const REASON_BYTES: usize = 512;

/// Counts of volatile messages by outcome, told at the end.
#[derive(Debug, Default)]
struct Traffic {
    acknowledged: AtomicU64,
    dropped: AtomicU64,
}

/// Hands on the mill's outputs.
pub(super) struct Outputs {
    /// Messages of volatile rules.
    batch: Vec<Outgoing>,
    destinations: Option<DestinationsHandle>,
    names: Vec<String>,
    /// Volatile messages handed to destinations.
    sent: u64,
    traffic: Arc<Traffic>,
    told: HashMap<Arc<str>, Told>,
}

/// Recent log lines about a rule.
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
    pub(super) fn start(
        config: &Config,
        incarnation: &str,
        heartbeats: &Heartbeats,
        waker: &Waker,
    ) -> Result<Self, std::io::Error> {
        let names: Vec<String> = destination_names(config)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let settings = destination::configured(config, incarnation);
        let traffic = Arc::new(Traffic::default());
        let (shared, known) = (Arc::clone(&traffic), names.clone());
        let waker = waker.clone();
        let heard = waker.clone();
        let hear = move |report| {
            hear(&report, &known, &shared);
            heard.wake();
        };
        let wake = move || waker.wake();
        let destinations = destination::spawn_watched(settings, heartbeats, hear, wake)?;
        Ok(Self {
            batch: Vec::new(),
            destinations: Some(destinations),
            names,
            sent: 0,
            traffic,
            told: HashMap::new(),
        })
    }

    /// Carries one output out; messages of volatile rules wait for [`Outputs::flush`].
    pub(super) fn carry_out(&mut self, output: Output, now: Now) {
        match output {
            Output::Emission(sent) => self.batch.push(Outgoing {
                destination: sent.port.destination,
                topic: sent.topic,
                payload: sent.payload,
                qos: sent.port.qos,
                retain: sent.port.retain,
            }),
            Output::Ship(shipment) => {
                if let Some(destinations) = &self.destinations {
                    let (to, lane) = (shipment.destination, shipment.priority);
                    if shipment.stands_still {
                        destinations.ship_after_rest(to, lane, shipment.rows);
                    } else {
                        destinations.ship(to, lane, shipment.rows);
                    }
                }
            }
            // A lane that is full drops with every commit.
            Output::Dropped { lane, count } if self.may_tell(&lane.destination, now) => {
                warn!(%lane, count, "there was no room for all rows, or they became too old");
            }
            Output::Refused {
                lane,
                count,
                reason,
            } if self.may_tell(&lane.destination, now) => {
                warn!(%lane, count, "dead letters: the destination refused them: {}", shown_within(&reason, REASON_BYTES));
            }
            Output::DeadLetter(dead) => self.tell_dead_letter(&dead, now),
            Output::Logs {
                rule,
                lines,
                dropped,
            } => self.tell_lines(&rule, &lines, dropped, now),
            Output::Silenced { producer, n, mark } => self.tell_silenced(&producer, n, mark, now),
            Output::BadTime {
                rule,
                topic,
                reason,
            } if self.may_tell(&rule, now) => {
                let (topic, reason) = (shown(topic.as_str()), shown_within(&reason, REASON_BYTES));
                warn!(%rule, "the time of an event from {topic} is bad, the ledger counts others: {reason}");
            }
            Output::NoRoom { rule, what } => warn!(%rule, "{what}"),
            Output::StateForgotten { rule, keys, why } => {
                warn!(%rule, keys, "the state of the rule, which went away, is forgotten: {why}");
            }
            Output::Quarantined { rule, for_ms } => {
                error!(%rule, "too many faults: the rule rests for {} s", for_ms / 1_000);
            }
            Output::QuarantineLifted { rule } => {
                warn!(%rule, "the rule was changed: it rests no more");
            }
            _ => {}
        }
    }

    /// Hands the messages of volatile rules over, all at once.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.sent += self.batch.len() as u64;
        let batch = std::mem::take(&mut self.batch);
        if let Some(destinations) = &self.destinations {
            destinations.send(batch);
        }
    }

    /// Reports on rows since the last call.
    pub(super) fn take_lane_reports(&self) -> Vec<LaneReport> {
        let destinations = self.destinations.as_ref();
        destinations.map_or_else(Vec::new, DestinationsHandle::take_lane_reports)
    }

    /// The status of each destination, by its name.
    pub(super) fn status(&self) -> impl Iterator<Item = (&str, DestinationStatus)> {
        let destinations = self.destinations.as_ref();
        let statuses = destinations.map_or_else(Vec::new, DestinationsHandle::status);
        self.names.iter().map(String::as_str).zip(statuses)
    }

    /// Returns `true` if a connected broker takes fewer volatile messages than are sent: the source
    /// should wait.
    pub(super) fn are_backed_up(&self) -> bool {
        let Some(destinations) = &self.destinations else {
            return false;
        };
        (0..self.names.len())
            .any(|place| destinations.is_half_full(place) && destinations.is_connected(place))
    }

    /// Sends everything that waits, for at most `grace`; returns the reports on rows of that time.
    pub(super) fn stop(&mut self, grace: Duration) -> Vec<LaneReport> {
        for (rule, told) in self.told.drain() {
            told.tell_hidden(&rule);
        }
        let Some(destinations) = self.destinations.take() else {
            return Vec::new();
        };
        let left = destinations.stop(grace);
        for (name, unsent) in self.names.iter().zip(left.unsent) {
            if unsent > 0 {
                warn!(destination = %name, unsent, "stopped before all volatile messages were sent");
            }
        }
        if self.sent > 0 {
            let acknowledged = self.traffic.acknowledged.load(Ordering::Relaxed);
            let dropped = self.traffic.dropped.load(Ordering::Relaxed);
            info!(
                made = self.sent,
                acknowledged, dropped, "volatile emissions"
            );
        }
        left.lanes
    }

    fn tell_dead_letter(&mut self, dead: &DeadLetter, now: Now) {
        if self.may_tell(&dead.rule, now) {
            let start = dead.payload.get(..PREVIEW_BYTES).unwrap_or(&dead.payload);
            warn!(
                rule = %dead.rule, version = dead.version, topic = %shown(dead.topic.as_str()), fuel = dead.fuel,
                payload = %String::from_utf8_lossy(start).escape_debug(), "dead letter: {}",
                shown_within(&dead.reason, REASON_BYTES)
            );
        }
    }

    fn tell_silenced(&mut self, producer: &str, n: u64, mark: u64, now: Now) {
        if self.may_tell(&"event ids".into(), now) {
            warn!(
                producer,
                n,
                mark,
                "its events are not applied, their numbers are old: if it counts anew, run \
                 `tidemill event-ids forget`"
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

    /// Counts a line about a rule; returns `true` if it may be written now.
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

fn hear(report: &DestinationReport, names: &[String], traffic: &Traffic) {
    match report {
        DestinationReport::Connected { .. } | DestinationReport::Disconnected { .. } => {}
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::sync::Mutex;

    use super::*;
    use crate::event::clock::Quality;
    use tidemill_transport::topic::Topic;

    #[test]
    fn a_line_about_a_dead_letter_is_short_whatever_came() {
        let mut outputs = Outputs {
            batch: Vec::new(),
            destinations: None,
            names: Vec::new(),
            sent: 0,
            traffic: Arc::default(),
            told: HashMap::new(),
        };
        let topic = format!("s/a\nb/{}", "t".repeat(60_000));
        let dead = DeadLetter {
            rule: "r".into(),
            version: 1,
            topic: Topic::new(&topic).unwrap(),
            payload: vec![0xff; 60_000].into(),
            properties: bytes::Bytes::new(),
            volatile: false,
            reason: format!("key {topic:?} is too long"),
            fuel: 0,
            at_ms: 0,
        };
        let now = Now {
            mono_ms: 20_000,
            wall_ms: 0,
            quality: Quality::Synced,
        };
        let mut file = tempfile::tempfile().unwrap();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Mutex::new(file.try_clone().unwrap()))
            .finish();
        tracing::subscriber::with_default(log, || outputs.tell_dead_letter(&dead, now));
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 2_000, "{} bytes", text.len());
        assert!(text.contains("topic=s/a\\nb/ttt") && text.contains("… (60006 bytes)"));
        assert!(text.contains("dead letter: key \"s/a"));
    }
}
