//! The gateway's source: a model of its thread around the real decisions about connections and
//! subscriptions. The library below it holds packets that were read and not taken, also when their
//! connection is gone.

mod filters;
mod reading;

use std::collections::VecDeque;

use tidemill::event::{Event, Version};
use tidemill::mill::Input;
use tidemill::source::mqtt::Confirmation;
use tidemill::source::mqtt::epochs::Epochs;
use tidemill::source::mqtt::subscriptions::Subscriptions;
use tidemill_transport::packets::{Inbox, Incoming};
use tidemill_transport::topic::Subscription;

use crate::broker::ToBroker;
use crate::coverage::Sight;
use crate::plan::Moment;
use crate::run::{Happening, Sim};

/// Reports that may wait for the mill.
const REPORTS_MAX: usize = 16;

/// Events of one report.
const BATCH_MAX: usize = 24;

/// The source of one process.
pub(crate) struct Source {
    pub(crate) conn: Option<u64>,
    /// The connection is of MQTT 5.
    pub(crate) five: bool,
    epochs: Epochs,
    subscriptions: Subscriptions,
    pub(crate) wanted: Vec<Subscription>,
    /// Read from the socket and not taken.
    library: VecDeque<Incoming>,
    /// Bytes of the connection that are no whole packet yet.
    inbox: Inbox,
    packet_bytes_max: usize,
    reports: VecDeque<Input>,
    /// The mill may be waiting for reports.
    pub(crate) turn_due: bool,
    poll_due: bool,
    /// Last connection up to which the mill has taken note of lost sessions.
    proceed: u64,
    kept: bool,
    /// To be written as soon as the thread looks.
    acks: VecDeque<(u64, u16)>,
    last_request: u16,
    /// When it looks again to ask the broker.
    asks_at_mono_ms: u64,
}

impl Source {
    pub(crate) fn new(held: Vec<Subscription>, wanted: Vec<Subscription>) -> Self {
        Self {
            conn: None,
            five: true,
            epochs: Epochs::default(),
            subscriptions: Subscriptions::new(held),
            wanted,
            library: VecDeque::new(),
            inbox: Inbox::new(Version::V5, 0),
            packet_bytes_max: 0,
            reports: VecDeque::new(),
            turn_due: false,
            poll_due: false,
            proceed: 0,
            kept: false,
            acks: VecDeque::new(),
            last_request: 0,
            asks_at_mono_ms: 0,
        }
    }

    pub(crate) fn take_report(&mut self) -> Option<Input> {
        self.reports.pop_front()
    }

    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// `true` if the library has something to say. Without a connection it says nothing; of what an earlier
    /// one left it speaks after the broker's welcome.
    fn speaks(&self) -> bool {
        let welcomed = self.epochs.current().is_some();
        let first = self.library.front();
        first.is_some_and(|first| welcomed || matches!(first, Incoming::Connack(_)))
    }

    /// Acknowledgements that the mill has let go and that are not on the wire.
    pub(crate) fn has_acks(&self) -> bool {
        !self.acks.is_empty()
    }

    pub(crate) fn is_settled(&self) -> bool {
        // Pings go on for ever.
        let only_pongs = self
            .library
            .iter()
            .all(|packet| matches!(packet, Incoming::PingAnswered));
        only_pongs && self.reports.is_empty() && self.subscriptions.settled()
    }

    /// Work that is left, for people.
    pub(crate) fn left(&self) -> String {
        let (library, reports) = (self.library.len(), self.reports.len());
        let (settled, acks) = (self.subscriptions.settled(), self.acks.len());
        format!("library {library}, reports {reports}, filters settled {settled}, acks {acks}")
    }

    fn may_subscribe(&self) -> bool {
        self.kept
            || self
                .epochs
                .current()
                .is_some_and(|epoch| epoch <= self.proceed)
    }
}

impl Sim<'_> {
    fn source(&mut self) -> Option<&mut Source> {
        self.process.as_mut().map(|process| &mut process.source)
    }

    pub(crate) fn poll_soon(&mut self) {
        let us = self.random.pick(&[0, 100, 2_000, 5_000]);
        let Some(process) = &mut self.process else {
            return;
        };
        if !std::mem::replace(&mut process.source.poll_due, true) {
            self.agenda.after(us, Happening::SourcePolls(process.id));
        }
    }

    /// The thread looks around.
    pub(crate) fn source_polls(&mut self, process: u64) {
        let Some(source) = self.source_of(process) else {
            return;
        };
        source.poll_due = false;
        self.write_acks();
        let mut batch = Vec::new();
        while let Some(source) = self.source() {
            if source.reports.len() >= REPORTS_MAX {
                break;
            }
            if !source.speaks() {
                break;
            }
            let Some(packet) = source.library.pop_front() else {
                break;
            };
            if let Incoming::Message(received) = packet {
                batch.extend(source.event(received));
                if batch.len() >= BATCH_MAX {
                    self.report_events(&mut batch);
                }
                continue;
            }
            self.report_events(&mut batch);
            self.signal(packet);
        }
        self.report_events(&mut batch);
        // Reports waited: the thread looks again, also for a welcome.
        if let Some(source) = self.source().filter(|source| source.speaks()) {
            source.poll_due = true;
            self.agenda.after(1_000, Happening::SourcePolls(process));
        }
    }

    fn source_of(&mut self, process: u64) -> Option<&mut Source> {
        let process = self.process.as_mut().filter(|p| p.id == process)?;
        Some(&mut process.source)
    }

    fn report_events(&mut self, batch: &mut Vec<Event>) {
        if !batch.is_empty() {
            self.report(Input::Events(std::mem::take(batch)));
        }
    }

    fn report(&mut self, report: Input) {
        if let Some(source) = self.source() {
            source.reports.push_back(report);
        }
        self.turn_soon();
    }

    fn signal(&mut self, packet: Incoming) {
        match packet {
            Incoming::Connack(connack) => self.welcome(connack.session_present),
            Incoming::PingAnswered => {
                let confirmation = self.source().and_then(|s| s.epochs.ping_answered());
                self.confirmed(confirmation);
            }
            Incoming::Subscribed { packet, .. } | Incoming::Unsubscribed { packet, .. } => {
                self.filter_answered(packet);
            }
            other => self.fail("2: packets are read", format!("{other:?}")),
        }
    }

    fn confirmed(&mut self, confirmation: Option<Confirmation>) {
        if let Some(Confirmation {
            epoch,
            acknowledged,
        }) = confirmation
        {
            self.report(Input::Confirmed {
                epoch,
                acknowledged,
            });
            if acknowledged > 0 && self.cut_when_confirmed > 0 {
                self.cut_when_confirmed -= 1;
                self.coverage.see(Sight::CutWhenConfirmed);
                self.cut(true);
            }
        }
    }

    fn welcome(&mut self, session_present: bool) {
        let Some(source) = self.source() else {
            return;
        };
        let (protocol, window) = if source.five {
            (Version::V5, Some(u16::MAX))
        } else {
            (Version::V311, None)
        };
        source.kept = session_present;
        let epoch = source.epochs.connected();
        source.acks.clear();
        source.asks_at_mono_ms = 0;
        let held = (!session_present).then(|| {
            source.subscriptions.lost();
            source.subscriptions.held()
        });
        let may = source.may_subscribe();
        self.say(format_args!(
            "gateway connected, epoch {epoch}, session {session_present}"
        ));
        self.report(Input::Connected {
            epoch,
            protocol,
            session_present,
            window,
        });
        if let Some(held) = held {
            self.report(Input::Subscribed(held));
            self.connack_lost_session = true;
            self.moment(Moment::SessionLost);
        }
        if may {
            self.aim();
        }
        self.ping_later();
    }

    fn ping_later(&mut self) {
        let ms = self.setup.ping_ms;
        let conn = self.source().and_then(|source| source.conn);
        if let Some(conn) = conn {
            self.agenda.after(ms * 1_000, Happening::Ping(conn));
        }
    }

    /// Time for a ping.
    pub(crate) fn ping(&mut self, conn: u64) {
        let Some(source) = self.source().filter(|s| s.conn == Some(conn)) else {
            return;
        };
        source.epochs.ping_sent();
        self.send_to_broker(conn, ToBroker::Ping);
        self.ping_later();
    }

    /// The mill lets acknowledgements go.
    pub(crate) fn queue_acks(&mut self, epoch: u64, packets: Vec<u16>) {
        if let Some(source) = self.source() {
            let packets = packets.into_iter().map(|packet| (epoch, packet));
            source.acks.extend(packets);
        }
        self.poll_soon();
    }

    fn write_acks(&mut self) {
        let mut written = 0;
        while let Some(source) = self.source() {
            let Some((epoch, packet)) = source.acks.pop_front() else {
                break;
            };
            let Some(conn) = source.conn.filter(|_| source.epochs.may_acknowledge(epoch)) else {
                continue;
            };
            source.epochs.acknowledged(1);
            written += 1;
            self.send_to_broker(conn, ToBroker::Puback(packet));
        }
        if written > 0 {
            self.say(format_args!("{written} acknowledgements on the wire"));
            self.moment(Moment::Acknowledged);
        }
        self.ask_the_broker();
    }

    /// Asks if the broker has read the acknowledgements, or looks again when that is due.
    fn ask_the_broker(&mut self) {
        let mono_ms = self.now().mono_ms;
        let Some(process) = &mut self.process else {
            return;
        };
        let (id, source) = (process.id, &mut process.source);
        let Some(conn) = source.conn else {
            return;
        };
        if source.epochs.ask(mono_ms) {
            source.epochs.ping_sent();
            self.send_to_broker(conn, ToBroker::Ping);
        } else if let Some(at) = source.epochs.ask_at_mono_ms()
            && source.asks_at_mono_ms != at
        {
            source.asks_at_mono_ms = at;
            let us = at.saturating_sub(mono_ms) * 1_000;
            self.agenda.after(us, Happening::SourcePolls(id));
        }
    }

    /// The mill has taken note of a lost session.
    pub(crate) fn proceed(&mut self, epoch: u64) {
        let Some(source) = self.source() else {
            return;
        };
        source.proceed = source.proceed.max(epoch);
        if source.epochs.current().is_some() && !source.kept {
            self.aim();
        }
    }

    /// The gateway notices that its connection is gone.
    pub(crate) fn client_notices(&mut self, conn: u64) {
        let mine = self.source().is_some_and(|s| s.conn == Some(conn));
        self.client_gone(conn);
        if !mine {
            return;
        }
        self.say(format_args!("gateway lost connection {conn}"));
        let us = self.random.between(5_000, 300_000);
        let Some(process) = &mut self.process else {
            return;
        };
        let source = &mut process.source;
        source.conn = None;
        let was_connected = source.epochs.current().is_some();
        source.epochs.lost(&mut source.library);
        source.subscriptions.interrupted();
        self.agenda.after(us, Happening::Connects(process.id));
        if was_connected {
            self.report(Input::Disconnected);
        }
    }

    /// The source tries to connect.
    pub(crate) fn connects(&mut self, process: u64) {
        if self.source_of(process).is_none_or(|s| s.conn.is_some()) {
            return;
        }
        if !self.broker.up {
            let us = self.random.between(20_000, 200_000);
            self.agenda.after(us, Happening::Connects(process));
            return;
        }
        let (conn, five) = self.open_link();
        let packet_bytes_max = self.setup.packet_bytes_max();
        if let Some(source) = self.source() {
            source.opens(conn, five, packet_bytes_max);
        }
    }
}
