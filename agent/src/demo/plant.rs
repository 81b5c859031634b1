//! The thread that publishes the sensors' readings, one message at a time and evenly spaced,
//! through the agent's own destination adapter at QoS 1.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::sensors::{self, EVERY_MS, SENSORS, Stamp};
use crate::destination::mqtt::DestinationSettings;
use crate::destination::{self, DestinationReport, Outgoing};
use crate::event::clock::Clock;
use crate::source::mqtt::Protocol;
use tidemill_transport::topic::Topic;

/// The sensors take turns.
const TURN: Duration = Duration::from_micros(EVERY_MS * 1_000 / SENSORS);

/// Interval of status messages.
const STATUS_EVERY: Duration = Duration::from_millis(120);

/// A thread that was held up for longer does not make up for it: that would be a flood.
const BEHIND_MAX: Duration = Duration::from_millis(500);

/// Longest time for the last messages to be acknowledged.
const GRACE: Duration = Duration::from_secs(2);

/// Counts of messages published.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Messages handed to the adapter.
    pub(super) messages: AtomicU64,
    /// Their topics and payloads.
    pub(super) bytes: AtomicU64,
    /// Messages that the adapter gave up.
    pub(super) dropped: AtomicU64,
}

/// A phase of the plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The plant only says that it is there; no rule finds a measurement in that.
    Status,
    /// The sensors measure.
    Readings,
    /// Nothing is published, so that everything published can be counted.
    Quiet,
    /// The plant is done.
    End,
}

/// The plant's thread.
#[derive(Debug)]
pub(super) struct Plant {
    /// Counts of messages published so far.
    pub(super) sent: Arc<Sent>,
    phases: SyncSender<Phase>,
    thread: JoinHandle<()>,
}

impl Plant {
    /// Starts with [`Phase::Status`]. `epoch` is when the demo's clock started.
    pub(super) fn start(port: u16, clock: Clock, epoch: Instant) -> io::Result<Self> {
        let sent = Arc::new(Sent::default());
        let counted = Arc::clone(&sent);
        let settings = DestinationSettings {
            protocol: Protocol::V311,
            ..DestinationSettings::new("plant", "127.0.0.1", port, "sensors")
        };
        let hear = move |report| {
            if let DestinationReport::Dropped { count, .. } = report {
                counted.dropped.fetch_add(count as u64, Ordering::Relaxed);
            }
        };
        let outlet = destination::spawn(vec![settings.into()], hear, || {})?;
        let (phases, receiver) = sync_channel(0);
        let publisher = Publisher {
            outlet,
            sent: Arc::clone(&sent),
            clock,
            epoch,
        };
        let thread = std::thread::Builder::new()
            .name("demo-plant".to_owned())
            .spawn(move || publisher.publish(&receiver))?;
        Ok(Self {
            sent,
            phases,
            thread,
        })
    }

    /// Goes on to the next phase; all messages of the old one were published when this returns.
    pub(super) fn enter(&self, phase: Phase) {
        // It fails only where the thread is gone, which `end` finds out.
        let _ = self.phases.send(phase);
    }

    /// Waits until everything published is acknowledged, for a moment. Tells whether that went well.
    pub(super) fn end(self) -> bool {
        self.enter(Phase::End);
        self.thread.join().is_ok() && self.sent.dropped.load(Ordering::Relaxed) == 0
    }
}

struct Publisher {
    outlet: destination::DestinationsHandle,
    sent: Arc<Sent>,
    clock: Clock,
    epoch: Instant,
}

impl Publisher {
    fn publish(self, phases: &Receiver<Phase>) {
        let mut phase = Phase::Status;
        let mut due = Instant::now();
        let mut turn = 0;
        loop {
            let next = match phase {
                Phase::Quiet => phases.recv().map_err(RecvTimeoutError::from),
                _ => phases.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Phase::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(next) => {
                    phase = next;
                    due = Instant::now();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if due.elapsed() > BEHIND_MAX {
                due = Instant::now();
            }
            if phase == Phase::Readings {
                due += TURN;
                self.publish_reading(turn);
                turn += 1;
            } else {
                due += STATUS_EVERY;
                self.send(
                    "sensors/plant/env",
                    "{\"device\":\"plant\",\"status\":\"up\"}",
                );
            }
        }
        let unsent: usize = self.outlet.stop(GRACE).unsent.iter().sum();
        self.sent
            .dropped
            .fetch_add(unsent as u64, Ordering::Relaxed);
    }

    fn publish_reading(&self, turn: u64) {
        let stamp = Stamp {
            ts_ms: self.clock.now().wall_ms,
            ns: u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX),
        };
        let (sensor, at_ms) = (turn % SENSORS, turn * EVERY_MS / SENSORS);
        if let Some(payload) = sensors::payload(sensor, at_ms, stamp) {
            self.send(&format!("sensors/{}/env", sensors::name(sensor)), &payload);
        }
    }

    fn send(&self, topic: &str, payload: &str) {
        let bytes = topic.len() + payload.len();
        let topic = Topic::new(topic).expect("names of sensors have no wildcards");
        self.sent.messages.fetch_add(1, Ordering::Relaxed);
        self.sent.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.outlet.send(vec![Outgoing {
            destination: 0,
            topic,
            payload: payload.to_owned().into(),
            qos: 1,
            retain: false,
        }]);
    }
}
