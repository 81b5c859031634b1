//! The loop of a run: events of the source and the clock drive the mill, until an end that was
//! asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use super::record::Record;
use crate::cli::Failure;
use crate::cli::results::Results;
use crate::cli::trial::Trial;
use crate::config::Broker;
use crate::event::Event;
use crate::event::clock::{Clock, Now, signed};
use crate::mill::{self, BoundRule, Mill};
use crate::source::mqtt as source;
use tidemill_base::console;
use tidemill_transport::topic::Subscription;

/// Most inputs that wait for the loop. When it is full the source stops reading.
pub(super) const INBOX_MAX: usize = 16;

/// Longest rest of the loop: nobody says when the wall clock is set, or what reads the results goes.
const REST_MAX: Duration = Duration::from_secs(1);

/// Most milliseconds that wall time may run away from monotonic time before the two are brought
/// together again. Two readings of the clocks are never taken at the very same moment.
const DRIFT_MAX_MS: u64 = 100;

/// An input that makes the loop act, besides time and [`Wish`].
#[derive(Debug)]
pub(super) enum Input {
    /// Wakes the loop, which looks around.
    Woken,
    /// The source has something to say.
    Source(source::SourceReport),
}

/// Requests that are looked at before any input.
#[derive(Debug, Default)]
pub(super) struct Wish {
    stop: AtomicBool,
}

impl Wish {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(super) struct Live {
    trial: Trial,
    record: Option<Record>,
    time: Time,
    inbox: Receiver<Input>,
    /// Address of the broker, as shown to people.
    address: String,
    filters: usize,
    began: Now,
    /// The latest moment that anything happened at.
    last: Now,
    ends_mono_ms: Option<u64>,
    was_connected: bool,
    source_ended: Arc<AtomicBool>,
    events: u64,
    retained: u64,
}

impl Live {
    pub(super) fn start(
        rule: BoundRule,
        filters: Vec<Subscription>,
        results: Results,
        record: Option<Record>,
        clock: Clock,
        inbox: Receiver<Input>,
    ) -> Result<Self, Failure> {
        let mut time = Time::new(clock);
        let began = time.now();
        let count = filters.len();
        Ok(Self {
            trial: Trial::start(Mill::new(), rule, filters, results, began)?,
            record,
            time,
            inbox,
            address: String::new(),
            filters: count,
            began,
            last: began,
            ends_mono_ms: None,
            was_connected: false,
            source_ended: Arc::default(),
            events: 0,
            retained: 0,
        })
    }

    /// Ends the run after this time, counted from its start.
    pub(super) fn run_for(&mut self, ms: Option<u64>) {
        self.ends_mono_ms = ms.map(|ms| self.began.mono_ms.saturating_add(ms));
    }

    /// Starts to listen to the broker. A rule that only a clock drives needs none.
    pub(super) fn listen(
        &mut self,
        broker: &Broker,
        client_id: &str,
        filters: Vec<Subscription>,
        sender: SyncSender<Input>,
    ) -> Result<Option<source::SourceHandle>, Failure> {
        if filters.is_empty() {
            return Ok(None);
        }
        self.address = format!("{}:{}", broker.host, broker.port);
        let clock = self.time.clock.clone();
        let mut settings = source::SourceSettings::of(broker, client_id, clock);
        settings.qos = 0;
        settings.kept = false;
        let end = SayEnd(Arc::clone(&self.source_ended), sender.clone());
        let handle = source::spawn(settings, Vec::new(), filters, move |report| {
            let SayEnd(..) = &end;
            match sender.try_send(Input::Source(report)) {
                Ok(()) => source::Flow::Taken,
                Err(TrySendError::Full(Input::Source(report))) => source::Flow::Full(report),
                Err(_) => source::Flow::Gone,
            }
        })?;
        // No session is lost where none is kept.
        handle.proceed(u64::MAX);
        Ok(Some(handle))
    }

    /// Works until an end that was asked for.
    pub(super) fn work(&mut self, wish: &Wish) -> Result<(), Failure> {
        while !wish.is_stop() && !self.trial.results.are_complete() {
            let now = self.now();
            self.trial.advance(now)?;
            self.trial.step(now, mill::Input::Tick)?;
            if self.ends_mono_ms.is_some_and(|end| now.mono_ms >= end) {
                break;
            }
            // One that has seen enough, such as `head`, is no failure of ours.
            if console::nobody_reads() {
                return Ok(());
            }
            if self.source_ended.load(Ordering::Relaxed) {
                return Err(failed("what listens to the broker has ended by itself"));
            }
            match self.inbox.recv_timeout(self.rest(now)) {
                Ok(Input::Source(report)) => self.hear(report, wish)?,
                Ok(Input::Woken) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed("nothing can come any more"));
                }
            }
        }
        if self.filters > 0 && !self.was_connected && !self.trial.results.are_complete() {
            let why = format!("there never was a connection to {}", self.address);
            return Err(failed(&why));
        }
        Ok(())
    }

    /// The present moment, but none after the end.
    fn now(&mut self) -> Now {
        let now = self.time.now();
        let now = match self.ends_mono_ms {
            Some(end) if now.mono_ms > end => Now {
                mono_ms: end,
                wall_ms: now.wall_at(end),
                ..now
            },
            _ => now,
        };
        self.last = now;
        now
    }

    /// Longest time to wait for an input.
    fn rest(&self, now: Now) -> Duration {
        let until =
            |at: Option<u64>| at.map(|at| Duration::from_millis(at.saturating_sub(now.mono_ms)));
        let due = self.trial.next_due_mono_ms();
        [until(due), until(self.ends_mono_ms)]
            .into_iter()
            .flatten()
            .fold(REST_MAX, Duration::min)
    }

    fn hear(&mut self, report: source::SourceReport, wish: &Wish) -> Result<(), Failure> {
        use source::SourceReport as Report;
        match report {
            Report::Events(events) => {
                for event in events {
                    if wish.is_stop() || self.trial.results.are_complete() {
                        break;
                    }
                    if !self.event(event)? {
                        break;
                    }
                }
            }
            Report::Connected { protocol, .. } => {
                self.was_connected = true;
                say(&format!("connected to {} ({protocol})", self.address))?;
            }
            // At first the session holds nothing.
            Report::Subscribed { held } if held.is_empty() => {}
            Report::Subscribed { held } => {
                let filters: Vec<_> = held.iter().map(|held| held.filter.as_str()).collect();
                say(&format!("listening to {}", filters.join(", ")))?;
            }
            Report::Refused { filter, reason } => {
                let address = &self.address;
                let why = format!("{address} refused the subscription to {filter}: {reason}");
                return Err(failed(&why));
            }
            Report::Disconnected { reason, retry_in } => {
                let (address, seconds) = (&self.address, retry_in.as_secs_f64());
                say(&format!(
                    "no connection to {address}: {reason}; the next attempt comes in {seconds:.1} s"
                ))?;
            }
            Report::Unusable { count, reason } => {
                say(&format!(
                    "left out {count} messages that are of no use: {reason}"
                ))?;
            }
            // Nothing is acknowledged at QoS 0, and what a session lacks that is not kept ends the trial.
            Report::Confirmed(_) | Report::FallsShort(_) => {}
        }
        Ok(())
    }

    /// Works on an event, which counts as having come at the moment of its turn: so a recording
    /// says what the rule saw. Returns `true` if there is time for more.
    fn event(&mut self, mut event: Event) -> Result<bool, Failure> {
        let now = self.now();
        if self.ends_mono_ms.is_some_and(|end| now.mono_ms >= end) {
            return Ok(false);
        }
        event.arrival_ms = now.wall_ms;
        let retained = event.retained;
        let copy = self.record.is_some().then(|| event.clone());
        let outcome = self.trial.event(now, event);
        // An event of which the results could not be written is one of the sample all the same.
        if !matches!(outcome, Ok(false)) {
            self.events += 1;
            if let (Some(record), Some(event)) = (&mut self.record, &copy)
                && let Some(news) = record.add(event, now.wall_ms)?
            {
                say(&news)?;
            }
        } else if retained {
            self.retained += 1;
        }
        outcome.map(|_| true)
    }

    /// Says good-bye to the broker.
    pub(super) fn leave(&self, source: Option<source::SourceHandle>) {
        let Some(source) = source else { return };
        source.command(source::SourceCommand::Stop);
        // A source that waits for room stops waiting.
        while self.inbox.try_recv().is_ok() {}
        let _ = source.join();
    }

    /// A summary for people; `again` is the command that runs a recording again.
    pub(super) fn summary(&self, again: &str) -> String {
        let mut text = format!("{} events, {}", self.events, self.trial.results.counted());
        if self.retained > 0 {
            text.push_str(&format!(
                ", {} retained messages that the rule does not ask for",
                self.retained
            ));
        }
        text.push_str(&self.trial.losses());
        if let Some(record) = &self.record {
            text.push('\n');
            text.push_str(&record.summary(again, self.began.wall_ms, self.last.wall_ms));
        }
        text.push('\n');
        text
    }
}

/// The real clock as one that fits itself: between two readings wall time passes as monotonic time does,
/// so that a recording of wall times holds everything that windows and timers went by.
struct Time {
    clock: Clock,
    /// Wall minus monotonic time.
    offset_ms: i64,
}

impl Time {
    fn new(clock: Clock) -> Self {
        let now = clock.now();
        Self {
            clock,
            offset_ms: now.wall_ms.saturating_sub(signed(now.mono_ms)),
        }
    }

    fn now(&mut self) -> Now {
        let mut now = self.clock.now();
        if self.is_off(now) {
            // Nothing but the machine may have come between the two readings.
            now = self.clock.now();
            if self.is_off(now) {
                self.offset_ms = now.wall_ms.saturating_sub(signed(now.mono_ms));
            }
        }
        now.wall_ms = signed(now.mono_ms).saturating_add(self.offset_ms);
        now
    }

    fn is_off(&self, now: Now) -> bool {
        let offset_ms = now.wall_ms.saturating_sub(signed(now.mono_ms));
        offset_ms.abs_diff(self.offset_ms) > DRIFT_MAX_MS
    }
}

/// Lets the loop know when the source's thread has ended, which holds this.
struct SayEnd(Arc<AtomicBool>, SyncSender<Input>);

impl Drop for SayEnd {
    fn drop(&mut self) {
        let Self(ended, sender) = self;
        ended.store(true, Ordering::Relaxed);
        let _ = sender.try_send(Input::Woken);
    }
}

fn failed(why: &str) -> Failure {
    Failure::Failed(anyhow::anyhow!("{why}"))
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(console::stderr(), "{text}")
}
