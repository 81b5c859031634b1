//! The MQTT source against a real mosquitto, and against scripted brokers for what mosquitto will not
//! do. Here is what the tests share.

mod acknowledging;
mod confirming;
mod connecting;
mod falling_short;
mod large;
pub(crate) mod script;
mod subscribing;
mod taking_in;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tidemill::event::Event;
use tidemill::event::clock::Clock;
use tidemill::source::mqtt::{
    self, Flow, Protocol, SourceCommand, SourceHandle, SourceReport, SourceSettings, Subscription,
    Version,
};
use tidemill_transport::topic::TopicFilter;

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// A source and what it reported.
pub(crate) struct Source {
    pub(crate) handle: SourceHandle,
    reports: Receiver<SourceReport>,
    /// Says what the agent would say: to proceed, and that what was seen is done.
    answers: bool,
}

impl Source {
    pub(crate) fn start(
        port: u16,
        protocol: Protocol,
        held: &[(u32, &str)],
        wanted: &[(u32, &str)],
    ) -> Self {
        Self::with(settings(port, protocol), held, wanted, 1_000)
    }

    pub(crate) fn with(
        settings: SourceSettings,
        held: &[(u32, &str)],
        wanted: &[(u32, &str)],
        room: usize,
    ) -> Self {
        let (sender, reports) = sync_channel(room);
        let handle = mqtt::spawn(settings, list(held), list(wanted), offer(sender)).unwrap();
        Self {
            handle,
            reports,
            answers: true,
        }
    }

    /// One that nothing is said to but what the test says.
    pub(crate) fn silent(
        settings: SourceSettings,
        held: &[(u32, &str)],
        wanted: &[(u32, &str)],
    ) -> Self {
        Self {
            answers: false,
            ..Self::with(settings, held, wanted, 1_000)
        }
    }

    /// One that nothing is said to, with a thread that is broken before its first report.
    #[cfg(feature = "sabotage")]
    pub(crate) fn breaking(settings: SourceSettings, wreck: impl Fn() + Send + 'static) -> Self {
        let (sender, reports) = sync_channel(1_000);
        let mut offer = offer(sender);
        let report = move |report| {
            wreck();
            offer(report)
        };
        Self {
            handle: mqtt::spawn(settings, Vec::new(), Vec::new(), report).unwrap(),
            reports,
            answers: false,
        }
    }

    pub(crate) fn next(&self) -> SourceReport {
        let report = self.reports.recv_timeout(PATIENCE).unwrap();
        match &report {
            SourceReport::Connected { epoch, .. } if self.answers => self.handle.proceed(*epoch),
            SourceReport::Events(events) if self.answers => self.acknowledge(events),
            _ => {}
        }
        report
    }

    /// All in their order.
    pub(crate) fn acknowledge(&self, events: &[Event]) {
        for event in events {
            if let Some(delivery) = event.delivery() {
                self.handle
                    .acknowledge(delivery.epoch, vec![delivery.packet]);
            }
        }
    }

    /// Waits for a report that `pick` takes, and drops all before it.
    pub(crate) fn until<T>(&self, mut pick: impl FnMut(SourceReport) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.next()) {
                return picked;
            }
        }
    }

    pub(crate) fn until_held(&self, count: usize) -> Vec<Subscription> {
        self.until(|report| match report {
            SourceReport::Subscribed { held } if held.len() == count => Some(held),
            _ => None,
        })
    }

    pub(crate) fn until_connected(&self) -> (Version, bool) {
        self.until(|report| match report {
            SourceReport::Connected {
                protocol,
                session_present,
                ..
            } => Some((protocol, session_present)),
            _ => None,
        })
    }

    pub(crate) fn until_disconnected(&self) -> String {
        self.until(|report| match report {
            SourceReport::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// Waits until the broker is said to fall short in nothing, or else in this.
    pub(crate) fn until_falls_short(&self, of: Option<&str>) -> Vec<String> {
        self.until(|report| match (report, of) {
            (SourceReport::FallsShort(all), None) => all.is_empty().then_some(all),
            (SourceReport::FallsShort(all), Some(of)) => {
                all.iter().any(|words| words.contains(of)).then_some(all)
            }
            _ => None,
        })
    }

    /// All events up to one whose payload is `last`, that one not included.
    pub(crate) fn events_until(&self, last: &str) -> Vec<Event> {
        let mut all = Vec::new();
        self.until(|report| {
            if let SourceReport::Events(events) = report {
                all.extend(events);
            }
            all.iter()
                .any(|event: &Event| event.payload == last)
                .then_some(())
        });
        all.retain(|event| event.payload != last);
        all
    }

    pub(crate) fn command(&self, wanted: &[(u32, &str)]) {
        self.handle
            .command(SourceCommand::Subscriptions(list(wanted)));
    }

    pub(crate) fn stop(self) {
        self.handle.command(SourceCommand::Stop);
        assert!(self.handle.join(), "the source's thread panicked");
    }
}

pub(crate) fn settings(port: u16, protocol: Protocol) -> SourceSettings {
    let mut settings = SourceSettings::new("127.0.0.1", port, "gateway", Clock::new(0));
    settings.protocol = protocol;
    settings
}

pub(crate) fn offer(sender: SyncSender<SourceReport>) -> impl FnMut(SourceReport) -> Flow {
    move |report| match sender.try_send(report) {
        Ok(()) => Flow::Taken,
        Err(TrySendError::Full(report)) => Flow::Full(report),
        Err(TrySendError::Disconnected(_)) => Flow::Gone,
    }
}

pub(crate) fn list(filters: &[(u32, &str)]) -> Vec<Subscription> {
    filters
        .iter()
        .map(|(id, filter)| Subscription {
            id: *id,
            filter: TopicFilter::new(filter).unwrap(),
        })
        .collect()
}

pub(crate) fn payloads(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .map(|event| std::str::from_utf8(&event.payload).unwrap())
        .collect()
}
