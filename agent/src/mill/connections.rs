//! Connections of the broker's session, as they come and go: what each changes of everything durable.

use crate::event::Version;
use crate::event::clock::Now;
use tidemill_transport::topic::Subscription;

use super::durable::Durable;
use super::session::PROTOCOL;

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
