//! The listener at the upstream broker: counts messages, keeps the last few and measures their
//! latency from the sensor on.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::latency::{Latencies, Latency};
use crate::event::Event;
use crate::event::clock::Clock;
use crate::source::mqtt::{
    self as source, Coalesce, Flow, Protocol, SourceCommand, SourceControl, SourceHandle,
    SourceReport, SourceSettings,
};
use tidemill_transport::topic::{Subscription, TopicFilter};

/// Number of the last messages of each kind that are kept to be shown.
const SHOWN_MAX: usize = 4;

/// Most bytes of a payload that are kept to be shown.
const SHOWN_BYTES: usize = 300;

/// Messages that have arrived upstream.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrived {
    pub(super) messages: u64,
    /// Topics and payloads.
    pub(super) bytes: u64,
    /// Latencies of the messages that carry their sensor's time; averages do not.
    pub(super) latency: Latency,
    /// The last alerts, topic and payload, the newest first.
    pub(super) alerts: VecDeque<(String, String)>,
    /// The last ones of all others.
    pub(super) others: VecDeque<(String, String)>,
}

#[derive(Debug, Default)]
struct Tally {
    arrived: Arrived,
    latencies: Latencies,
}

/// The part of a sensor's payload that tells when it was made.
#[derive(Deserialize)]
struct Stamped {
    ns: u64,
}

/// The listener's thread and the messages that it has heard.
#[derive(Debug)]
pub(super) struct Cloud {
    tally: Arc<Mutex<Tally>>,
    source: SourceHandle,
}

impl Cloud {
    /// Connects to the broker on `port`, and calls `listening` once every message will be heard.
    pub(super) fn start(
        port: u16,
        clock: Clock,
        epoch: Instant,
        listening: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let filled = Arc::clone(&tally);
        let settings = SourceSettings {
            protocol: Protocol::V311,
            // Time that bytes rest in the socket would be counted as latency.
            coalesce: Coalesce::Fixed(Duration::ZERO),
            ..SourceSettings::new("127.0.0.1", port, "listener", clock)
        };
        let everything = Subscription {
            id: 1,
            filter: TopicFilter::new("#").expect("# is a topic filter"),
        };
        let control = Arc::<OnceLock<SourceControl>>::default();
        let told = Arc::clone(&control);
        let source = source::spawn(settings, Vec::new(), vec![everything], move |report| {
            match report {
                SourceReport::Events(events) => {
                    let now = epoch.elapsed();
                    let mut tally = lock(&filled);
                    events.iter().for_each(|event| tally.enter(event, now));
                    acknowledge(told.get(), &events);
                }
                SourceReport::Subscribed { .. } => listening(),
                _ => {}
            }
            Flow::Taken
        })?;
        // Nothing comes before the subscription, which waits for the word to proceed.
        let _ = control.set(source.control());
        source.proceed(u64::MAX);
        Ok(Self { tally, source })
    }

    /// The messages that have arrived so far.
    pub(super) fn arrived(&self) -> Arrived {
        let tally = lock(&self.tally);
        Arrived {
            latency: tally.latencies.told(),
            ..tally.arrived.clone()
        }
    }

    /// Hangs up.
    pub(super) fn end(self) {
        self.source.command(SourceCommand::Stop);
        // A bad end of the thread does not matter any more: everything was heard.
        let _ = self.source.join();
    }
}

/// Acknowledges events, which need not be sent again.
fn acknowledge(control: Option<&SourceControl>, events: &[Event]) {
    let mut deliveries = events
        .iter()
        .filter_map(|event| event.delivery())
        .peekable();
    if let (Some(control), Some(first)) = (control, deliveries.peek().copied()) {
        let packets = deliveries.map(|delivery| delivery.packet).collect();
        control.acknowledge(first.epoch, packets);
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    fn enter(&mut self, event: &Event, now: Duration) {
        self.arrived.messages += 1;
        self.arrived.bytes += (event.topic.as_str().len() + event.payload.len()) as u64;
        if let Ok(stamped) = serde_json::from_slice::<Stamped>(&event.payload) {
            let took = now.saturating_sub(Duration::from_nanos(stamped.ns));
            self.latencies.enter(took);
        }
        let start = event.payload.get(..SHOWN_BYTES).unwrap_or(&event.payload);
        let payload = String::from_utf8_lossy(start).into_owned();
        let topic = event.topic.to_string();
        let shown = if topic.starts_with("alerts/") {
            &mut self.arrived.alerts
        } else {
            &mut self.arrived.others
        };
        shown.push_front((topic, payload));
        shown.truncate(SHOWN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    #[test]
    fn only_stamped_messages_tell_a_latency_and_the_newest_are_shown() {
        let mut tally = Tally::default();
        for payload in ["{\"ns\":1000}", "41.5", "{\"average\":1}"] {
            let event = Event::new(Topic::new("a/b").unwrap(), payload, 0);
            tally.enter(&event, Duration::from_micros(3));
        }
        for number in 0..20 {
            let event = Event::new(Topic::new("n").unwrap(), number.to_string(), 0);
            tally.enter(&event, Duration::ZERO);
        }
        assert_eq!(tally.arrived.messages, 23);
        assert_eq!(tally.arrived.bytes, 9 + 11 + 4 + 13 + 20 + 30);
        let latency = tally.latencies.told();
        assert_eq!((latency.count, latency.max), (1, Duration::from_micros(2)));
        assert_eq!(tally.arrived.others.len(), SHOWN_MAX);
        assert_eq!(tally.arrived.others.front().unwrap().1, "19");
        assert!(tally.arrived.alerts.is_empty());
    }

    #[test]
    fn an_alert_is_not_pushed_out_by_what_is_not() {
        let mut tally = Tally::default();
        for topic in ["alerts/d001", "averages/d001", "averages/d002"] {
            let event = Event::new(Topic::new(topic).unwrap(), "1", 0);
            (0..9).for_each(|_| tally.enter(&event, Duration::ZERO));
        }
        assert_eq!(tally.arrived.alerts.len(), SHOWN_MAX);
        assert_eq!(tally.arrived.alerts.front().unwrap().0, "alerts/d001");
    }
}
