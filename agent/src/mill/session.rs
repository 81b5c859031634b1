//! The session with the broker that sensors publish to: its connection, acknowledgements that wait
//! for commits, receipts of messages that it may send again, and the subscriptions that it holds.

use crate::commit::receipts::Receipts;
use crate::event::Version;
use crate::event::clock::Now;
use tidemill_base::number::Lsn;

use super::acks::Acks;
use super::output::Output;
use super::stall::Stall;

/// Begins the line of the session's version. Builds that do not know it pass over it, as over any line
/// that begins with no number.
pub(super) const PROTOCOL: &str = "protocol ";

/// The session, as the mill keeps it.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The connection, where there is one.
    pub(super) epoch: Option<u64>,
    /// The version that the latest connection speaks.
    pub(super) spoken: Option<Version>,
    /// The source may subscribe once this commit is durable.
    pub(super) proceed_at: Option<Lsn>,
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
    pub(super) fn release(&mut self, now: Now, durable_lsn: Lsn, out: &mut Vec<Output>) {
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
