//! The session with the broker that sensors publish to: its connection, acknowledgements that wait
//! for commits, receipts of messages that it may send again, and the subscriptions that it holds.

use crate::commit::receipts::Receipts;
use crate::event::Version;
use crate::event::clock::Now;
use tidemill_transport::topic::Subscription;

use super::acks::Acks;
use super::durable::Durable;
use super::output::Output;
use super::stall::Stall;

/// Begins the line of the session's version. Builds that do not know it pass over it, as over any line
/// that begins with no number.
const PROTOCOL: &str = "protocol ";

/// The session, as the mill keeps it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The connection, where there is one.
    pub(super) epoch: Option<u64>,
    /// The version that the latest connection speaks.
    spoken: Option<Version>,
    /// The source may subscribe once this commit is durable.
    proceed_at: Option<u64>,
    pub(super) acks: Acks,
    pub(super) stall: Stall,
    pub(super) receipts: Receipts,
    /// Subscriptions that the broker is known to hold: the session's name, the version spoken last,
    /// then `id filter` a line.
    pub(super) subscriptions: String,
}

impl Session {
    /// The session as the last commit left it, without a connection.
    pub(super) fn resume(receipts: Receipts, subscriptions: String) -> Self {
        Self {
            receipts,
            subscriptions,
            ..Self::default()
        }
    }

    /// Subscriptions of the session of this name, in the form in which they are written down.
    pub(super) fn subscriptions_of<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (u32, &'a str)> {
        let mut lines = self.subscriptions.lines();
        let known = lines.next() == Some(name);
        lines.filter(move |_| known).filter_map(|line| {
            let (id, filter) = line.split_once(' ')?;
            Some((id.parse().ok()?, filter))
        })
    }

    /// The version of MQTT in which the session of this name was spoken last, as it is written down.
    pub(super) fn version_of(&self, name: &str) -> Option<Version> {
        let mut lines = self.subscriptions.lines();
        if lines.next() != Some(name) {
            return None;
        }
        Version::of_number(lines.next()?.strip_prefix(PROTOCOL)?)
    }

    /// The connection has ended: what waited for its acknowledgement came on no other.
    pub(super) fn disconnected(&mut self) {
        self.epoch = None;
        self.proceed_at = None;
        self.acks.reset();
    }

    /// Releases what waited for commits that are durable by now.
    pub(super) fn release(&mut self, now: Now, durable_lsn: u64, out: &mut Vec<Output>) {
        let Some(epoch) = self.epoch else { return };
        let may_proceed = self.proceed_at.take_if(|lsn| *lsn <= durable_lsn);
        if may_proceed.is_some() {
            out.push(Output::Proceed { epoch });
        }
        let packets = self.acks.release(durable_lsn);
        if packets.is_empty() {
            return;
        }
        self.stall.released(now.mono_ms);
        for packet in &packets {
            self.receipts.acknowledged(*packet);
        }
        out.push(Output::Acknowledge { epoch, packets });
    }
}

/// A connection that the broker took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connected {
    pub(super) epoch: u64,
    pub(super) protocol: Version,
    pub(super) session_present: bool,
    /// Number of messages that the broker may send ahead of acknowledgements, where that is known.
    pub(super) window: Option<u16>,
}

impl Durable {
    /// Returns `true` if the broker held something for this gateway.
    pub(super) fn had_session(&self) -> bool {
        self.record.generation > 0 && !self.session.subscriptions.is_empty()
    }

    /// A connection began. Of a new session no receipt counts, and the source subscribes only once
    /// that is durable.
    pub(super) fn connected(&mut self, now: Now, connected: Connected) {
        let lsn = self.lsn();
        let session = &mut self.session;
        session.epoch = Some(connected.epoch);
        session.spoken = Some(connected.protocol);
        session.receipts.reconnected(connected.protocol);
        session.acks.reset();
        session.stall.connected(connected.window);
        session.proceed_at = None;
        if !connected.session_present {
            let generation = session.receipts.generation() + 1;
            session.receipts.renew(generation);
            session.proceed_at = Some(lsn);
            // Events of the batch that came in the old session are applied all the same.
            self.batch.receipts.clear();
            self.batch.voided.clear();
            self.batch.open(now);
            self.batch.urgent = true;
        }
    }

    /// The broker has read so many acknowledgements of this connection: their receipts are void.
    pub(super) fn confirmed(&mut self, now: Now, epoch: u64, acknowledged: u64) {
        let session = &mut self.session;
        if session.epoch == Some(epoch)
            && let Some(in_seq) = session.acks.confirm(acknowledged)
        {
            let voided = session.receipts.confirm(in_seq);
            self.voids(now, voided);
        }
    }

    /// The broker's session holds these subscriptions; they are written down where they changed.
    pub(super) fn subscribed(&mut self, now: Now, held: &[Subscription]) {
        let name = self.keeping.session.as_str();
        let lines = held.iter().map(|s| format!("{} {}\n", s.id, s.filter));
        let spoken = self.session.spoken.iter();
        let spoken = spoken.map(|version| format!("{PROTOCOL}{}\n", version.number()));
        let text: String = std::iter::once(format!("{name}\n"))
            .chain(spoken)
            .chain(lines)
            .collect();
        if text != self.session.subscriptions {
            self.batch.subscriptions = Some(text);
            self.batch.open(now);
            self.batch.urgent = true;
        }
    }
}
